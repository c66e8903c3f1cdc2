//! Authorities, certificates and tokens.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::path::{Path, PathBuf};

use cloud_decoder::config::Tls;
use daemon::tokens::{Kind, append, generate};
use testing::Authority;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// Files of a new certificate of this authority.
pub fn files(authority: &Authority, folder: &Path) -> Tls {
    let (cert, key) = authority.sign();
    Tls {
        cert: Some(write(folder, "cert.pem", &cert)),
        key: Some(write(folder, "cert.key", &key)),
    }
}

/// Of a gRPC client that trusts this authority.
pub fn trusting(authority: &Authority, identity: Option<(String, String)>) -> ClientTlsConfig {
    let config = ClientTlsConfig::new()
        .domain_name("localhost")
        .ca_certificate(Certificate::from_pem(&authority.pem));
    match identity {
        None => config,
        Some((cert, key)) => config.identity(Identity::from_pem(cert, key)),
    }
}

pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("file");
    path
}

/// Adds a holder to the file and gives its token.
pub fn add(file: &Path, kind: Kind, name: &str) -> String {
    let (token, holder) = generate(kind, name).expect("token");
    append(file, &holder).expect("file");
    token
}

/// Takes all lines of a holder out of the file.
pub fn revoke(file: &Path, name: &str) {
    let text = std::fs::read_to_string(file).expect("file");
    let left: Vec<&str> = text
        .lines()
        .filter(|line| !line.split(' ').any(|word| word == name))
        .collect();
    let new = file.with_extension("new");
    std::fs::write(&new, left.join("\n")).expect("file");
    std::fs::rename(new, file).expect("renamed");
}
