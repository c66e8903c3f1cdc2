//! Child processes.

use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

pub(super) const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A child process that is killed when dropped.
pub(super) struct Process(Child);

impl Process {
    pub(super) fn start(command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::null()).spawn();
        Self(spawned.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    pub(super) fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill starts").success(), "kill {signal} {id}");
    }

    pub(super) fn end(mut self, signal: &str) {
        self.signal(signal);
        self.0.wait().expect("the child ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed before.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

pub(super) fn log(folder: &Path) -> Stdio {
    let mut file = File::options();
    file.create(true).append(true);
    file.open(folder.join("log")).expect("a log").into()
}

/// A port that was free just now.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}
