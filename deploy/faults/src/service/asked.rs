//! Signals to a service.

use std::{process::ExitStatus, time::Duration};

use anyhow::{Result, ensure};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{Addresses, PANICKED, Service};

/// Longest that a service may take to end when it is asked to: its own bound is 10 seconds, and the machine may be
/// busy.
const ENDS_WITHIN: Duration = Duration::from_secs(15);
/// The same when it is asked twice.
const ENDS_AT_ONCE_WITHIN: Duration = Duration::from_secs(3);
/// Time in which a service that ends at a SIGHUP has begun to, at least.
const HANGS_UP_WITHIN: Duration = Duration::from_secs(1);

impl Service {
    /// SIGTERM. It has to end within a bound and say that all is well; then it stays down until it is started.
    pub(crate) async fn stop(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        let Some(child) = self.take(&mut process)? else {
            return Ok(());
        };
        signal(&child, "-TERM").await?;
        self.ends(child, ENDS_WITHIN, ExitStatus::success).await
    }

    /// SIGTERM, and another, at which it ends at once, however.
    pub(crate) async fn stop_at_once(&self, between: Duration) -> Result<()> {
        let mut process = self.process.lock().await;
        let Some(mut child) = self.take(&mut process)? else {
            return Ok(());
        };
        signal(&child, "-TERM").await?;
        sleep(between).await;
        if child.try_wait()?.is_none() {
            signal(&child, "-TERM").await?;
        }
        let any = |status: &ExitStatus| status.code() != Some(PANICKED);
        self.ends(child, ENDS_AT_ONCE_WITHIN, any).await
    }

    /// SIGHUP. It goes on, or ends as at a SIGTERM and stays down until it is started.
    pub(crate) async fn hang_up(&self) -> Result<()> {
        let mut process = self.process.lock().await;
        let Some(mut child) = self.take(&mut process)? else {
            return Ok(());
        };
        let listening = self.listening();
        signal(&child, "-HUP").await?;
        let ended = timeout(HANGS_UP_WITHIN, child.wait()).await;
        if ended.is_err() && self.answers(listening).await {
            process.child = Some(child);
            return Ok(());
        }
        self.ends(child, ENDS_WITHIN, ExitStatus::success).await
    }

    /// SIGSTOP for a while, and SIGCONT: it is there and does nothing.
    pub(crate) async fn freeze(&self, length: Duration) -> Result<()> {
        let process = self.process.lock().await;
        if let Some(child) = &process.child {
            signal(child, "-STOP").await?;
            sleep(length).await;
            signal(child, "-CONT").await?;
        }
        Ok(())
    }

    /// Whether something takes connections where it listened.
    async fn answers(&self, listening: Option<Addresses>) -> bool {
        match listening {
            Some(at) => TcpStream::connect(at.http).await.is_ok(),
            None => false,
        }
    }

    /// Waits for an end that was asked for.
    async fn ends(
        &self,
        mut child: Child,
        within: Duration,
        well: impl Fn(&ExitStatus) -> bool,
    ) -> Result<()> {
        let ended = timeout(within, child.wait()).await;
        self.listening.send_replace(None);
        match ended {
            Ok(status) => {
                let status = status?;
                if !well(&status) {
                    self.unexpected(&format!("was asked to end and ended with {status}"));
                }
            }
            Err(_) => {
                self.unexpected(&format!("was asked to end and runs {within:?} later"));
                child.kill().await?;
            }
        }
        Ok(())
    }
}

async fn signal(child: &Child, which: &str) -> Result<()> {
    // Not reaped yet, so that the id is still its own.
    if let Some(id) = child.id() {
        let told = Command::new("kill")
            .args([which, &id.to_string()])
            .status()
            .await?;
        ensure!(told.success(), "kill {which} {id}: {told}");
    }
    Ok(())
}
