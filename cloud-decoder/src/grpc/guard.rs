//! Asks for tokens before a call is answered or a message of it read.

use std::sync::Arc;

use daemon::tokens::{Authenticator, Kind, Principal, Refusal};
use tonic::{Request, Status, service::Interceptor};

use super::idle::Calls;
use crate::metrics::Metrics;

/// Whose token a call came with; nobody's where none is needed.
#[derive(Clone, Debug)]
pub(crate) struct Guest(pub(crate) Option<Principal>);

/// Lets in calls with a token of one kind.
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
        request.extensions_mut().insert(Guest(holder));
        Ok(request)
    }
}

/// Waits until the token that a call came with is good no more, and gives the status that ends the call.
pub(crate) async fn revoked(gate: Authenticator, guest: Option<Guest>) -> Status {
    let holder = guest.and_then(|Guest(holder)| holder);
    gate.revoked(holder.as_ref()).await;
    Status::unauthenticated(Refusal::Unknown.to_string())
}
