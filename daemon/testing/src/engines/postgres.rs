//! PostgreSQL.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::{fs::chown, process::CommandExt as _},
    path::PathBuf,
    process::Command,
};

use tempfile::TempDir;

use super::process::{Process, STARTS_WITHIN, free_port, log};
use crate::eventually;

/// A program of the newest PostgreSQL that is installed as Debian does.
pub(super) fn program(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let newest: Option<u32> = versions.max();
    let folder = newest.map_or_else(PathBuf::new, |version| {
        format!("/usr/lib/postgresql/{version}/bin").into()
    });
    folder.join(program)
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

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(program(name));
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

    /// The output of `pg_dump` for the newest database.
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
