//! An S3 server: moto.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::process::{Process, STARTS_WITHIN, log};
use crate::{client, eventually};

/// The server's program, where `.ci/engines` installs it.
pub(super) fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.join("target/engines/bin/moto_server")
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
        let mut command = Command::new(program());
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

    /// Encryption of the object whose key contains `part`, in the newest bucket.
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
