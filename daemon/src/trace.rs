//! Traces with OpenTelemetry: spans of this process go to a collector over OTLP, and a frame's trace continues from
//! process to process as a W3C `traceparent` (<https://www.w3.org/TR/trace-context/>).
//!
//! Nothing is sent unless `trace.otlp_endpoint` is set. Spans are sent in batches from a thread of their own. When the
//! collector is slow or unreachable, spans are dropped; frames do not wait.

use std::{collections::HashMap, time::Duration};

use opentelemetry::{KeyValue, propagation::TextMapPropagator as _, trace::TracerProvider as _};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracer, SdkTracerProvider},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{
    config::{ConfigError, wrong},
    secrets::hide,
};

/// Header, and field of a frame, that carries a trace.
pub const TRACEPARENT: &str = "traceparent";
/// Longest time for one export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);

/// Section `trace`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Trace {
    /// Collector that spans are sent to, OTLP over gRPC, `http://HOST:PORT`; no spans when absent.
    pub otlp_endpoint: Option<String>,
    /// Share of new traces that are recorded, 0 to 1; a trace that comes with a request decides for itself.
    pub share: f64,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            share: 1.0,
        }
    }
}

impl Trace {
    /// Checks the values.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for the first that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(0.0..=1.0).contains(&self.share) {
            return Err(wrong("trace.share", self.share, "0 to 1"));
        }
        let Some(endpoint) = &self.otlp_endpoint else {
            return Ok(());
        };
        let uri = endpoint.parse::<axum::http::Uri>().ok();
        match uri.filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some()) {
            Some(_) => Ok(()),
            None => {
                let allowed = "addresses of the form http://HOST:PORT";
                Err(wrong("trace.otlp_endpoint", hide(endpoint), allowed))
            }
        }
    }
}

/// The connection to the collector; remaining spans are sent when it is dropped.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    /// Drives the connection.
    _runtime: Runtime,
}

impl Traces {
    /// Opens the connection, if one is configured.
    ///
    /// # Errors
    /// No thread can be started, or the endpoint is not usable.
    pub(crate) fn open(config: &Trace, service: &str) -> anyhow::Result<Option<Self>> {
        let Some(endpoint) = &config.otlp_endpoint else {
            return Ok(None);
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()?;
        let _entered = runtime.enter();
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()?;
        let sampler = Sampler::TraceIdRatioBased(config.share);
        let resource = Resource::builder_empty()
            .with_attributes([KeyValue::new("service.name", service.to_owned())]);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(resource.build())
            .build();
        drop(_entered);
        Ok(Some(Self {
            provider,
            _runtime: runtime,
        }))
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.provider.tracer("patchwire")
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // An unreachable collector is no reason for an error.
        if let Err(error) = self.provider.shutdown_with_timeout(EXPORT_TIMEOUT) {
            tracing::debug!(%error, "the last spans were not sent");
        }
    }
}

/// Makes a span the child of the one that a `traceparent` names. A malformed one has no effect.
pub fn continues(span: &Span, traceparent: &str) {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    // Without a collector there is nothing to set.
    span.set_parent(context).ok();
}

/// The `traceparent` that names a span; empty when no collector is configured.
pub fn traceparent(span: &Span) -> String {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(TRACEPARENT).unwrap_or_default()
}

/// Whether a text has the form of a `traceparent` of version 00.
pub fn is_traceparent(text: &str) -> bool {
    let lengths = [2, 32, 16, 2];
    let parts: Vec<&str> = text.split('-').collect();
    let hex = |part: &str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    parts.len() == lengths.len()
        && parts
            .iter()
            .zip(lengths)
            .all(|(part, length)| part.len() == length && hex(part))
        && parts[0] == "00"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_a_traceparent() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(good));
        for bad in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}
