//! Coded latents: those of each stream are decoded in the order of the stream, before anything else is done with them.

use std::{sync::Arc, thread};

use bytes::Bytes;
use latent::{
    codec::{CodecError, Header, VERSION},
    prior::Prior,
    stream::StreamDecoder,
};
use patchwire_proto::{
    limits::check_id,
    v1::{EncodedFrame, Welcome},
};
use prometheus_client::metrics::gauge::Gauge;
use prost::Message as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::validate::GRPC_PREFIX;
use crate::frame::{Arrival, Travelled, TravelledLatents};

/// The part of the codec that all streams share.
pub(super) struct Codec {
    priors: Vec<Arc<Prior>>,
    /// Most bytes of one stream's table of references.
    table_bytes: usize,
    /// Bytes that all tables together may still take.
    tables: Arc<Semaphore>,
    /// Frames that may still be decoded at the same time, one on each core.
    cores: Arc<Semaphore>,
}

/// The largest frames that a stream may bring.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) max_message_bytes: usize,
    pub(super) max_pixels: u64,
}

/// Decodes the latents of one stream.
pub(super) struct StreamCodec {
    /// Absent while it decodes.
    decoder: Option<StreamDecoder>,
    table: Table,
    cores: Arc<Semaphore>,
}

/// The memory of a stream's table, as it counts among that of all tables.
struct Table {
    tables: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    gauge: Gauge,
}

impl Codec {
    /// `table_bytes` is the most that the table of one stream takes, `all_tables_bytes` the most that all take
    /// together.
    pub(super) fn new(
        priors: Vec<Arc<Prior>>,
        table_bytes: usize,
        all_tables_bytes: usize,
    ) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            priors,
            table_bytes,
            tables: Arc::new(Semaphore::new(all_tables_bytes)),
            cores: Arc::new(Semaphore::new(cores)),
        }
    }

    /// The codec of a stream, and its offer in the welcome. There is no table when the tables of other streams leave
    /// too little memory. `gauge` counts the bytes of all tables.
    pub(super) fn open(&self, welcome: &mut Welcome, gauge: Gauge) -> StreamCodec {
        let fits = self.tables.available_permits() >= self.table_bytes;
        let table_bytes = if fits { self.table_bytes } else { 0 };
        let ids = self.priors.iter().map(|prior| prior.id().0);
        welcome.codec_versions = vec![VERSION.into()];
        welcome.prior_ids = ids.map(|id| Bytes::copy_from_slice(&id)).collect();
        welcome.reference_bytes = table_bytes as u64;
        StreamCodec {
            decoder: Some(StreamDecoder::new(self.priors.iter().cloned(), table_bytes)),
            table: Table {
                tables: self.tables.clone(),
                held: None,
                gauge,
            },
            cores: self.cores.clone(),
        }
    }
}

/// How a frame arrived, and the bytes of its latents once they are decoded. Nothing is allocated for that.
///
/// # Errors
/// The status that ends the stream: both kinds of latents, or coded ones of a camera whose id is not valid, with a
/// header that is not valid, or of a frame that is larger than the welcome allows.
pub(super) fn arrival(frame: &EncodedFrame, bounds: Bounds) -> Result<(Arrival, usize), Status> {
    let wire_bytes = (frame.encoded_len() + GRPC_PREFIX) as u64;
    let coded = &frame.coded_latents;
    if coded.is_empty() {
        let bytes = frame.latents.len();
        let latents = (bytes > 0).then_some(TravelledLatents {
            how: Travelled::Plain,
            bytes: bytes as u64,
        });
        let arrival = Arrival {
            wire_bytes,
            latents,
        };
        return Ok((arrival, bytes));
    }
    if !frame.latents.is_empty() {
        let sentence = "a frame has both latents and coded latents";
        return Err(Status::invalid_argument(sentence));
    }
    // The table of references keeps it.
    let camera = check_id("camera_id", &frame.camera_id);
    camera.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let header = Header::read(coded);
    let header = header.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let pixels = u64::from(header.width) * u64::from(header.height);
    if pixels > bounds.max_pixels {
        let max = bounds.max_pixels;
        return Err(Status::invalid_argument(format!(
            "coded latents are of a frame of {pixels} pixels, more than the {max} that the welcome allows"
        )));
    }
    let original = frame.original.as_ref().map_or(0, |o| o.data.len());
    let bytes = header.container_bytes();
    if bytes + original > bounds.max_message_bytes {
        let max = bounds.max_message_bytes;
        return Err(Status::invalid_argument(format!(
            "coded latents decode to {bytes} bytes, with the original more than the {max} that the welcome allows"
        )));
    }
    let how = match header.referenced {
        true => Travelled::Reference,
        false => Travelled::Intra,
    };
    let latents = TravelledLatents {
        how,
        bytes: coded.len() as u64,
    };
    let arrival = Arrival {
        wire_bytes,
        latents: Some(latents),
    };
    Ok((arrival, bytes))
}

impl StreamCodec {
    /// Puts the container of a frame in the place of its coded latents. Frames come in the order of the stream, each
    /// after [`arrival`]. Stops early once `stop` is cancelled.
    ///
    /// # Errors
    /// The status that ends the stream.
    pub(super) async fn decode(
        &mut self,
        frame: &mut EncodedFrame,
        stop: &CancellationToken,
    ) -> Result<(), Status> {
        if frame.coded_latents.is_empty() {
            return Ok(());
        }
        let lost = || Status::internal("the latents of a frame could not be decoded");
        let mut decoder = self.decoder.take().ok_or_else(lost)?;
        let core = self.cores.clone().acquire_owned().await;
        let (coded, camera) = (
            std::mem::take(&mut frame.coded_latents),
            frame.camera_id.clone(),
        );
        let stop = stop.clone();
        let decoding = spawn_blocking(move || {
            let _core = core;
            let latents = decoder.decode(&camera, &coded, || !stop.is_cancelled())?;
            Ok((decoder, latents.encode()))
        });
        let decoded: Result<_, CodecError> = decoding.await.map_err(|_| lost())?;
        let (decoder, container) = decoded.map_err(|error| refusal(&error))?;
        frame.latents = container;
        self.table.resize(decoder.table_bytes())?;
        self.decoder = Some(decoder);
        Ok(())
    }
}

/// The status for latents that cannot be decoded: of a prior that the welcome did not offer, or else damaged, or coded
/// with another table than this side has, so that the node sends them again on a stream that begins anew.
fn refusal(error: &CodecError) -> Status {
    let sentence = error.to_string();
    match error {
        CodecError::Prior(_) | CodecError::Bits { .. } => Status::invalid_argument(sentence),
        CodecError::Stopped => Status::unavailable("the service is shutting down"),
        _ => Status::data_loss(sentence),
    }
}

impl Table {
    /// Counts the table as one of so many bytes.
    ///
    /// # Errors
    /// The status that ends the stream when all tables together would take too many bytes.
    fn resize(&mut self, bytes: usize) -> Result<(), Status> {
        let held = self.held();
        if bytes > held {
            let more = u32::try_from(bytes - held).unwrap_or(u32::MAX);
            let more = self.tables.clone().try_acquire_many_owned(more);
            let more = more.map_err(|_| {
                let sentence = "the references of all streams take as much memory as they may";
                Status::resource_exhausted(sentence)
            })?;
            match &mut self.held {
                Some(held) => held.merge(more),
                held => *held = Some(more),
            }
        } else if let Some(permit) = &mut self.held {
            drop(permit.split(held - bytes));
        }
        self.gauge.inc_by(bytes as i64 - held as i64);
        Ok(())
    }

    fn held(&self) -> usize {
        let held = self.held.as_ref();
        held.map_or(0, OwnedSemaphorePermit::num_permits)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.gauge.dec_by(self.held() as i64);
    }
}
