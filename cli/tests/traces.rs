//! One trace from a camera's request to the reconstruction, over both real services, seen by a real OTLP receiver; and
//! log lines that name the frame.

mod common;
mod services;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value as Any,
    trace::v1::Span,
};
use serde_json::Value;
use services::Service;
use testing::eventually;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

const PATIENCE: Duration = Duration::from_secs(120);
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CAMERA_SPAN: &str = "00f067aa0ba902b7";

/// Spans received, each with its service.
type Received = Arc<Mutex<Vec<(String, Span)>>>;

/// A collector.
struct Collector {
    address: SocketAddr,
    received: Received,
}

struct Receiver(Received);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut received = self.0.lock().expect("lock");
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            let named = attributes.into_iter().find(|a| a.key == "service.name");
            let service = match named.and_then(|a| a.value).and_then(|v| v.value) {
                Some(Any::StringValue(name)) => name,
                other => panic!("the service's name is {other:?}"),
            };
            let spans = resource.scope_spans.into_iter().flat_map(|s| s.spans);
            received.extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let received = Received::default();
        let service = TraceServiceServer::new(Receiver(received.clone()));
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(serving);
        Self { address, received }
    }

    /// Spans of the camera's trace.
    fn spans(&self) -> Vec<(String, Span)> {
        let received = self.received.lock().expect("lock");
        let ours = received
            .iter()
            .filter(|(_, span)| hex(&span.trace_id) == TRACE);
        ours.cloned().collect()
    }

    async fn until(&self, service: &str, name: &str) -> Span {
        eventually(
            &format!("span {name:?} of {service}"),
            PATIENCE,
            async || {
                let spans = self.spans();
                let found = spans
                    .into_iter()
                    .find(|(of, span)| of == service && span.name == name);
                found.map(|(_, span)| span)
            },
        )
        .await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn post(edge: &Service) -> String {
    let photograph = fs::read(&common::photographs()[0]).expect("a sample");
    let response = testing::client()
        .post(format!("http://{}/v1/frames?camera=gate", edge.http))
        .header("content-type", "image/jpeg")
        .header("traceparent", format!("00-{TRACE}-{CAMERA_SPAN}-01"))
        .body(photograph)
        .send()
        .await
        .expect("the edge node answers");
    assert_eq!(response.status(), 202);
    let answer: Value = response.json().await.expect("JSON");
    answer["frame_id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn one_trace_spans_camera_edge_and_cloud_also_through_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (spool, data) = (folder.path().join("spool.sqlite"), folder.path().join("d"));
    let collector = Collector::start().await;
    let endpoint = format!("http://{}", collector.address);
    let edge_settings = [
        ("EDGE_NODE_TRACE__OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];
    let cloud_settings = [
        ("CLOUD_DECODER_TRACE__OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
    ];

    // There is no cloud yet: the trace waits in the spool, and outlives the process that put it there.
    let edge = Service::edge_with(&spool, "127.0.0.1:1", &edge_settings, Stdio::inherit()).await;
    let frame = post(&edge).await;
    let accepted = collector.until("edge-node", "accept frame").await;
    assert_eq!(hex(&accepted.parent_span_id), CAMERA_SPAN);
    for child in ["encode", "spool"] {
        let span = collector.until("edge-node", child).await;
        assert_eq!(span.parent_span_id, accepted.span_id, "{child}");
    }
    edge.kill().await;

    let cloud = Service::cloud_with(&data, "127.0.0.1:0", &cloud_settings, Stdio::inherit()).await;
    let _edge = Service::edge_with(&spool, &cloud.grpc, &edge_settings, Stdio::inherit()).await;
    let delivered = collector.until("edge-node", "deliver frame").await;
    assert_eq!(delivered.parent_span_id, accepted.span_id);
    let ingested = collector.until("cloud-decoder", "ingest frame").await;
    assert_eq!(ingested.parent_span_id, delivered.span_id);
    let decoded = collector.until("cloud-decoder", "decode frame").await;
    assert_eq!(decoded.parent_span_id, ingested.span_id);
    for child in ["reconstruct", "measure"] {
        let span = collector.until("cloud-decoder", child).await;
        assert_eq!(span.parent_span_id, decoded.span_id, "{child}");
    }
    for span in [accepted, delivered, ingested, decoded] {
        let named = span.attributes.iter().find(|a| a.key == "frame");
        let value = named.and_then(|a| a.value.clone()).and_then(|v| v.value);
        assert_eq!(
            value,
            Some(Any::StringValue(frame.clone())),
            "{}",
            span.name
        );
    }
    let services: BTreeSet<_> = collector.spans().into_iter().map(|(s, _)| s).collect();
    assert_eq!(services.len(), 2, "{services:?}");
}

#[tokio::test]
async fn log_lines_are_json_and_name_the_frame() {
    let folder = tempfile::tempdir().expect("a folder");
    let (spool, data) = (folder.path().join("spool.sqlite"), folder.path().join("d"));
    let (edge_log, cloud_log) = (folder.path().join("edge"), folder.path().join("cloud"));
    let to = |path| Stdio::from(File::create(path).expect("a log"));
    let settings = [
        ("CLOUD_DECODER_LOG__FORMAT", "json"),
        ("CLOUD_DECODER_LOG__FILTER", "cloud_decoder=debug,info"),
    ];
    let cloud = Service::cloud_with(&data, "127.0.0.1:0", &settings, to(&cloud_log)).await;
    let settings = [
        ("EDGE_NODE_LOG__FORMAT", "json"),
        ("EDGE_NODE_LOG__FILTER", "edge_node=debug,info"),
    ];
    let edge = Service::edge_with(&spool, &cloud.grpc, &settings, to(&edge_log)).await;
    let frame = post(&edge).await;
    for (log, message) in [
        (&edge_log, "frame accepted"),
        (&edge_log, "ack"),
        (&cloud_log, "frame decoded"),
    ] {
        eventually(message, PATIENCE, async || {
            let text = fs::read_to_string(log).expect("the log");
            // The last line may be half written.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let mut lines = whole.lines().map(|line| {
                serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}"))
            });
            lines
                .any(|l| {
                    l["fields"]["message"] == message && l["fields"]["frame"] == frame.as_str()
                })
                .then_some(())
        })
        .await;
    }
}
