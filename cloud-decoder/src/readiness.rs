//! Whether the process can do the work of its role, as the HTTP probes and gRPC health report it.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::config::Role;

/// Services whose health follows readiness, and their roles; the empty name is the server as a whole.
const SERVICES: [(&str, Option<Role>); 3] = [
    ("", None),
    ("patchwire.v1.Uplink", Some(Role::Ingest)),
    ("patchwire.v1.Catalogue", Some(Role::Web)),
];

/// Readiness, as the probes tell it.
#[derive(Clone, Debug)]
pub(crate) enum Readiness {
    WarmingUp,
    Ready,
    Broken(String),
}

/// Reports the service as ready until it must stop.
pub(crate) async fn serve_until(
    ready: watch::Sender<Readiness>,
    health: Health,
    stop: CancellationToken,
) {
    ready.send_replace(Readiness::Ready);
    health.set(ServingStatus::Serving).await;
    stop.cancelled().await;
    health.set(ServingStatus::NotServing).await;
}

/// The health of those gRPC services that a role has.
pub(crate) struct Health {
    pub(crate) reporter: HealthReporter,
    pub(crate) role: Role,
}

impl Health {
    pub(crate) async fn set(&self, status: ServingStatus) {
        for (service, role) in SERVICES {
            if role.is_none_or(|role| self.role.does(role)) {
                self.reporter.set_service_status(service, status).await;
            }
        }
    }
}
