//! PostgreSQL, NATS and an S3 server as child processes, each in a temporary folder of its own and killed when dropped.
//! `.ci/engines` installs them.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{client, eventually, proxy::Proxy};

const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Whether all three are installed; where `CI` is set they must be.
pub fn installed() -> bool {
    let missing: Vec<_> = [nats_server(), postgres("initdb"), moto()]
        .into_iter()
        .filter(|program| !program.exists())
        .collect();
    if missing.is_empty() {
        return true;
    }
    let sentence = format!("{missing:?} not installed; .ci/engines does it");
    assert!(std::env::var_os("CI").is_none(), "{sentence}");
    eprintln!("NOT TESTED: {sentence}");
    false
}

/// Where Debian puts it, or else the first one of the path.
fn nats_server() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join("nats-server"));
    let mut found = found.filter(|program| program.exists());
    found.next().unwrap_or_else(|| "nats-server".into())
}

/// A program of the newest PostgreSQL that is installed as Debian does.
fn postgres(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let newest: Option<u32> = versions.max();
    let folder = newest.map_or_else(PathBuf::new, |version| {
        format!("/usr/lib/postgresql/{version}/bin").into()
    });
    folder.join(program)
}

/// Where `.ci/engines` puts it.
fn moto() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("target/engines/bin/moto_server")
}

/// A child process that is killed when dropped.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        let spawned = command.stdin(Stdio::null()).spawn();
        Self(spawned.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    fn signal(&self, signal: &str) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status();
        assert!(sent.expect("kill starts").success(), "kill {signal} {id}");
    }

    fn end(mut self, signal: &str) {
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

fn log(folder: &Path) -> Stdio {
    let mut file = File::options();
    file.create(true).append(true);
    file.open(folder.join("log")).expect("a log").into()
}

/// A port that was free just now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A PostgreSQL server, reached through a socket in its folder, or at a port.
pub struct Postgres {
    process: Option<Process>,
    folder: TempDir,
    port: u16,
    user: Option<(u32, u32)>,
    databases: u32,
}

impl Postgres {
    /// Makes a new cluster and starts it. PostgreSQL does not run as root: for root it runs as `postgres`.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let number = |of: &str, user: &[&str]| -> u32 {
            let said = Command::new("id").arg(of).args(user).output().expect("id");
            let said = String::from_utf8(said.stdout).expect("text");
            said.trim().parse().expect("a number")
        };
        let user = (number("-u", &[]) == 0)
            .then(|| (number("-u", &["postgres"]), number("-g", &["postgres"])));
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid)).expect("the folder is ours");
        }
        let mut server = Self {
            process: None,
            folder,
            port: free_port(),
            user,
            databases: 0,
        };
        let mut init = server.command("initdb");
        init.args(["--auth=trust", "--username=postgres", "--no-sync", "-D"])
            .arg(server.folder.path().join("data"));
        let made = init.output().expect("initdb starts");
        assert!(made.status.success(), "{made:?}");
        server.restart().await;
        server
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(postgres(program));
        command.current_dir(self.folder.path());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Starts the server anew, which must have been killed.
    pub async fn restart(&mut self) {
        let folder = self.folder.path();
        let mut command = self.command("postgres");
        command
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "max_connections=200", "-p", &self.port.to_string()])
            .arg("-k")
            .arg(folder)
            .arg("-D")
            .arg(folder.join("data"))
            .stdout(log(folder))
            .stderr(log(folder));
        self.process = Some(Process::start(&mut command));
        let ready = async || {
            self.psql("postgres", "SELECT 1")
                .status
                .success()
                .then_some(())
        };
        eventually("PostgreSQL starts", STARTS_WITHIN, ready).await;
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        let process = self.process.take().expect("it runs");
        // SIGQUIT ends its children too, so that a new one may begin at once; nothing is written down either way.
        process.end("-QUIT");
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        let mut psql = self.command("psql");
        psql.arg("-h").arg(self.folder.path());
        psql.args(["-p", &self.port.to_string(), "-U", "postgres", "-q"]);
        psql.args(["-d", database, "-c", sql]);
        psql.output().expect("psql starts")
    }

    /// Runs SQL in the database that was made last.
    pub fn run(&self, sql: &str) {
        let ran = self.psql(&format!("test{}", self.databases), sql);
        assert!(ran.status.success(), "{ran:?}");
    }

    /// Makes a database and gives its address.
    pub fn database(&mut self) -> String {
        self.databases += 1;
        let name = format!("test{}", self.databases);
        let made = self.psql("postgres", &format!("CREATE DATABASE {name}"));
        assert!(made.status.success(), "{made:?}");
        let (port, folder) = (self.port, self.folder.path().display());
        format!("postgres://postgres@localhost:{port}/{name}?host={folder}")
    }

    /// What `pg_dump` writes of the database that was made last.
    pub fn dump(&self) -> Vec<u8> {
        let mut dump = self.command("pg_dump");
        dump.arg("-h").arg(self.folder.path());
        dump.args(["-p", &self.port.to_string(), "-U", "postgres"]);
        dump.arg(format!("test{}", self.databases));
        let dumped = dump.output().expect("pg_dump starts");
        assert!(dumped.status.success(), "{dumped:?}");
        dumped.stdout
    }

    /// Drops the database that was made last, makes it anew, and puts what was dumped into it.
    pub fn restore(&self, dump: &[u8]) {
        let name = format!("test{}", self.databases);
        for sql in [
            format!("DROP DATABASE {name} WITH (FORCE)"),
            format!("CREATE DATABASE {name}"),
        ] {
            let ran = self.psql("postgres", &sql);
            assert!(ran.status.success(), "{ran:?}");
        }
        let sql = std::str::from_utf8(dump).expect("a dump is text");
        let file = self.folder.path().join("dump.sql");
        fs::write(&file, sql).expect("the dump is written");
        let include = format!("\\i {}", file.display());
        let ran = self.psql(&name, &include);
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success() && !told.contains("ERROR"), "{told}");
    }

    /// Where it listens beside its socket.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
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

    /// The same with a proxy between each two servers, which know of no other way to each other, nor tell clients of one.
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
        let mut command = Command::new(nats_server());
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

/// An S3 server, moto's, which keeps objects in memory.
pub struct S3 {
    process: Process,
    _folder: TempDir,
    /// Its address.
    pub endpoint: String,
    buckets: u32,
}

impl S3 {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        let mut command = Command::new(moto());
        command
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdout(log(folder.path()))
            .stderr(log(folder.path()));
        let process = Process::start(&mut command);
        let told = folder.path().join("log");
        let endpoint = eventually("the S3 server starts", STARTS_WITHIN, async || {
            let told = fs::read_to_string(&told).unwrap_or_default();
            let line = told.split("Running on ").nth(1)?;
            let (address, _) = line.split_once('\n')?;
            Some(address.trim().to_owned())
        })
        .await;
        Self {
            process,
            _folder: folder,
            endpoint,
            buckets: 0,
        }
    }

    /// Lets it answer nobody until [`Self::go_on`]. It keeps what it has, which a kill would not.
    pub fn stall(&self) {
        self.process.signal("-STOP");
    }

    /// Ends a stall.
    pub fn go_on(&self) {
        self.process.signal("-CONT");
    }

    /// Makes a bucket and gives the address of a prefix in it.
    pub async fn bucket(&mut self) -> String {
        self.buckets += 1;
        let name = format!("test{}", self.buckets);
        let made = client().put(format!("{}/{name}", self.endpoint)).send();
        let made = made.await.expect("the S3 server answers");
        assert!(made.status().is_success(), "{made:?}");
        format!("s3://{name}/frames")
    }

    /// Keys of all objects in the bucket that was made last.
    pub async fn keys(&self) -> Vec<String> {
        let bucket = format!("{}/test{}", self.endpoint, self.buckets);
        let mut keys: Vec<String> = Vec::new();
        loop {
            let after = keys.last().map(String::as_str).unwrap_or_default();
            let list = client().get(format!("{bucket}?list-type=2&start-after={after}"));
            let list = list.send().await.expect("the S3 server answers").text();
            let list = list.await.expect("a list");
            let more = list.split("<Key>").skip(1);
            let more = more.filter_map(|rest| rest.split_once('<'));
            let before = keys.len();
            keys.extend(more.map(|(key, _)| key.to_owned()));
            if keys.len() == before {
                return keys;
            }
        }
    }

    /// An object of that bucket.
    pub async fn get(&self, key: &str) -> Vec<u8> {
        let got = self.object(reqwest::Method::GET, key).send().await;
        let got = got.expect("the S3 server answers");
        assert!(got.status().is_success(), "{key}: {got:?}");
        got.bytes().await.expect("its bytes").into()
    }

    /// Puts an object into that bucket, or deletes it.
    pub async fn set(&self, key: &str, bytes: Option<Vec<u8>>) {
        let method = match bytes {
            Some(_) => reqwest::Method::PUT,
            None => reqwest::Method::DELETE,
        };
        let set = self.object(method, key).body(bytes.unwrap_or_default());
        let set = set.send().await.expect("the S3 server answers");
        assert!(set.status().is_success(), "{key}: {set:?}");
    }

    fn object(&self, method: reqwest::Method, key: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/test{}/{key}", self.endpoint, self.buckets);
        // It looks for a signature, and not at it.
        client()
            .request(method, url)
            .header("authorization", "AWS test:test")
    }

    /// How the object whose key has `part` in it is encrypted, in the bucket that was made last.
    pub async fn encryption(&self, part: &str) -> Option<String> {
        let bucket = format!("{}/test{}", self.endpoint, self.buckets);
        let list = client().get(format!("{bucket}?list-type=2")).send().await;
        let list = list.expect("the S3 server answers").text().await;
        let list = list.expect("a list");
        let mut keys = list.split("<Key>").filter_map(|rest| rest.split_once('<'));
        let (key, _) = keys.find(|(key, _)| key.contains(part)).expect("the key");
        // It looks for a signature, and not at it.
        let head = client().head(format!("{bucket}/{key}"));
        let head = head.header("authorization", "AWS test:test").send().await;
        let head = head.expect("the S3 server answers");
        let header = head.headers().get("x-amz-server-side-encryption")?;
        Some(header.to_str().expect("text").to_owned())
    }

    /// Variables of a client that it lets in.
    pub fn variables() -> [(&'static str, &'static str); 3] {
        [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
        ]
    }
}
