//! NATS with JetStream.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;

use super::process::{Process, STARTS_WITHIN, free_port, log};
use crate::{eventually, proxy::Proxy};

/// The server's program: the first one in the path, or where Debian installs it.
pub(super) fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join("nats-server"));
    let mut found = found.filter(|program| program.exists());
    found.next().unwrap_or_else(|| "nats-server".into())
}

/// The way from one server of a cluster to another.
pub struct Route<'a> {
    /// Number of the server that connects.
    pub from: usize,
    /// Number of the server that it connects to.
    pub to: usize,
    /// Between them.
    pub proxy: &'a Proxy,
}

/// A NATS server with JetStream.
pub struct Nats {
    process: Option<Process>,
    folder: TempDir,
    port: u16,
    cluster: Vec<String>,
}

impl Nats {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::with(free_port(), Vec::new()).await
    }

    /// Starts a cluster of so many, which may still be electing when this returns.
    pub async fn cluster(servers: usize) -> Vec<Self> {
        let routes: Vec<_> = (0..servers).map(|_| free_port()).collect();
        let others = routes.iter().map(|port| format!("nats://127.0.0.1:{port}"));
        let others = others.collect::<Vec<_>>().join(",");
        let mut started = Vec::new();
        for (number, route) in routes.iter().enumerate() {
            let arguments = [
                format!("--name=n{number}"),
                "--cluster_name=test".to_owned(),
                format!("--cluster=nats://127.0.0.1:{route}"),
                format!("--routes={others}"),
            ];
            // The first ones only come up with the rest.
            started.push(Self::begin(free_port(), arguments.to_vec()));
        }
        for server in &started {
            server.answers().await;
        }
        started
    }

    /// The same with a proxy between each two servers, which know of no other way to each other, nor tell clients of
    /// one.
    pub async fn cluster_through(servers: usize, ways: &[Route<'_>]) -> Vec<Self> {
        let ports: Vec<_> = (0..servers).map(|_| free_port()).collect();
        for way in ways {
            let target = (Ipv4Addr::LOCALHOST, ports[way.to]);
            way.proxy.set_targets(vec![target.into()]);
        }
        let begin = |number: usize| {
            let routes = ways.iter().filter(|way| way.from == number);
            let routes = routes.map(|way| format!("nats://{}", way.proxy.address));
            let routes = routes.collect::<Vec<_>>().join(",");
            let arguments = [
                format!("--name=n{number}"),
                "--cluster_name=test".to_owned(),
                format!("--cluster=nats://127.0.0.1:{}", ports[number]),
                format!("--routes={routes}"),
                "--no_advertise=true".to_owned(),
                // Nobody listens there.
                "--cluster_advertise=127.0.0.1:1".to_owned(),
            ];
            Self::begin(free_port(), arguments.to_vec())
        };
        let started: Vec<_> = (0..servers).map(begin).collect();
        for server in &started {
            server.answers().await;
        }
        started
    }

    async fn with(port: u16, cluster: Vec<String>) -> Self {
        let server = Self::begin(port, cluster);
        server.answers().await;
        server
    }

    fn begin(port: u16, cluster: Vec<String>) -> Self {
        let mut server = Self {
            process: None,
            folder: tempfile::tempdir().expect("temporary folder"),
            port,
            cluster,
        };
        server.run();
        server
    }

    fn run(&mut self) {
        let folder = self.folder.path();
        let mut command = Command::new(program());
        command
            .args([
                "-js",
                "-a",
                "127.0.0.1",
                "-p",
                &self.port.to_string(),
                "-sd",
            ])
            .arg(folder.join("store"))
            .args(&self.cluster)
            .stdout(log(folder))
            .stderr(log(folder));
        self.process = Some(Process::start(&mut command));
    }

    async fn answers(&self) {
        let address = ("127.0.0.1", self.port);
        eventually("NATS starts", STARTS_WITHIN, async || {
            tokio::net::TcpStream::connect(address).await.ok()
        })
        .await;
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.take().expect("it runs").end("-KILL");
    }

    /// Ends it in its own time, everything written down.
    pub fn stop(&mut self) {
        self.process.take().expect("it runs").end("-TERM");
    }

    /// The folder that a stream's messages are in; what its consumers know is beside it.
    pub fn messages(&self, stream: &str) -> PathBuf {
        let streams = self.folder.path().join("store/jetstream/$G/streams");
        streams.join(stream).join("msgs")
    }

    /// Forgets everything that a server held which was killed.
    pub fn wipe(&self) {
        fs::remove_dir_all(self.folder.path().join("store")).expect("a store");
    }

    /// Starts it anew on the same port, after it was killed.
    pub async fn restart(&mut self) {
        self.run();
        self.answers().await;
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}
