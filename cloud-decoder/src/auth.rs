//! The identity of those who call over gRPC.

use daemon::tokens::{Gate, Holder, Refusal};
use tonic::Status;

/// The holder of the token that a call came with; nobody where no token is needed.
#[derive(Clone, Debug)]
pub(crate) struct Caller(pub(crate) Option<Holder>);

/// Waits until the token that a call came with is revoked, and gives the status that ends the call.
pub(crate) async fn revoked(gate: Gate, caller: Option<Caller>) -> Status {
    let holder = caller.and_then(|Caller(holder)| holder);
    gate.revoked(holder.as_ref()).await;
    Status::unauthenticated(Refusal::Unknown.to_string())
}
