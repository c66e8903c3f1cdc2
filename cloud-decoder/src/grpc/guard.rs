//! Checks tokens before a call is answered or a message of it is read.

use std::sync::Arc;

use daemon::tokens::{Authenticator, Kind, Refusal};
use tonic::{Request, Status, service::Interceptor};

use super::idle::Calls;
use crate::{auth::Caller, metrics::Metrics};

/// Admits calls with a token of one kind.
#[derive(Clone)]
pub(super) struct Guard {
    pub(super) gate: Authenticator,
    pub(super) kind: Kind,
    pub(super) metrics: Arc<Metrics>,
}

impl Interceptor for Guard {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let header = request.metadata().get("authorization");
        let holder = self
            .gate
            .check(header.map(|value| value.as_bytes()), &[self.kind])
            .map_err(|refusal| {
                self.metrics.unauthorized.inc();
                let sentence = refusal.to_string();
                match refusal {
                    Refusal::Missing | Refusal::Unknown => Status::unauthenticated(sentence),
                    Refusal::Kind(_) => Status::permission_denied(sentence),
                }
            })?;
        if let Some(calls) = request.extensions().get::<Calls>() {
            calls.known();
        }
        request.extensions_mut().insert(Caller(holder));
        Ok(request)
    }
}
