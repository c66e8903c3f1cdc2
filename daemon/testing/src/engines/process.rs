//! Child processes.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

pub(super) const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// Ports that are looked at.
const MOST_TRIED: u32 = 100;

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

/// A port that was free just now, and below those that systems give to connections: between this look and the child's
/// start, nobody takes it by chance.
pub(super) fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut ports = (0..MOST_TRIED).map(|_| rand::random_range(20_000..32_000));
    ports.find(free).expect("a free port")
}
