//! The gRPC service of the uplink.

use std::sync::Arc;

use daemon::{metrics::Raised, tokens::Authenticator};
use patchwire_proto::v1::{CloudMessage, EdgeMessage, uplink_server::Uplink};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    coded::Codec,
    sequence::Sequencer,
    session::Session,
    shared::{Limits, Shared},
};
use crate::{
    auth::Caller, cluster::NodeRegistry, decode::Decoders, metrics::Metrics, store::FrameStore,
};

/// Bytes of frames that all streams together hold while they are stored.
const IN_FLIGHT_BYTES: u32 = 512 << 20;

/// Opens streams.
pub(crate) struct UplinkService {
    shared: Arc<Shared>,
}

impl UplinkService {
    pub(crate) fn new(
        store: FrameStore,
        metrics: Arc<Metrics>,
        nodes: NodeRegistry,
        decoders: Arc<Decoders>,
        limits: Limits,
        gate: Authenticator,
        shutdown: CancellationToken,
    ) -> Self {
        let codec = Codec::new(
            decoders.priors().to_vec(),
            limits.reference_bytes,
            limits.all_reference_bytes,
        );
        let in_flight = IN_FLIGHT_BYTES.max(limits.max_message_bytes as u32);
        let sequencer = Sequencer {
            store,
            metrics,
            decoders,
            max_pixels: limits.max_pixels,
            max_message_bytes: limits.max_message_bytes,
            window: limits.window as usize,
            in_flight: Arc::new(Semaphore::new(in_flight as usize)),
        };
        let shared = Shared {
            sequencer: Arc::new(sequencer),
            nodes,
            codec,
            streams: Arc::new(Semaphore::new(limits.max_streams)),
            limits,
            gate,
            shutdown,
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

#[async_trait]
impl Uplink for UplinkService {
    type StreamStream = ReceiverStream<Result<CloudMessage, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<EdgeMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let shared = self.shared.clone();
        let caller = request.extensions().get::<Caller>().cloned();
        let Ok(slot) = shared.streams.clone().try_acquire_owned() else {
            return Err(Status::resource_exhausted(format!(
                "{} uplink streams are open, which is the most allowed",
                shared.limits.max_streams
            )));
        };
        // Besides the acks there are a welcome and a drain.
        let (answers, outbound) = mpsc::channel(shared.limits.window as usize + 2);
        tokio::spawn(async move {
            let raised = Raised::new(&shared.sequencer.metrics.uplinks);
            let session = Session {
                shared: &shared,
                answers: answers.clone(),
                inbound: request.into_inner(),
            };
            if let Err(status) = session.run(caller).await {
                tracing::info!(%status, "uplink ended");
                // A node that is gone has no use for the status.
                answers.send(Err(status)).await.ok();
            }
            drop((slot, raised));
        });
        Ok(Response::new(ReceiverStream::new(outbound)))
    }
}
