//! HTTPS through real sockets: who is served, what a slow or strange client costs, certificates exchanged
//! while the service runs.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use daemon::{
    files::PERIOD,
    health,
    http::{Limits, serve},
    tls::{Acceptor, Protocol, Tls},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use testing::Authority;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);

fn put(folder: &Path, (cert, key): &(String, String)) -> Tls {
    let (cert_path, key_path) = (folder.join("cert.pem"), folder.join("cert.key"));
    std::fs::write(&cert_path, cert).expect("cert");
    std::fs::write(&key_path, key).expect("key");
    Tls {
        cert: Some(cert_path),
        key: Some(key_path),
    }
}

async fn server(tls: &Tls, client_ca: Option<&Path>, limits: Limits) -> SocketAddr {
    let acceptor = Acceptor::new(tls, client_ca, Protocol::Http1).expect("acceptor");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("address");
    let router = Router::new()
        .route("/", get(async || "hello"))
        .route("/readyz", get(async || "ok"));
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, acceptor, router, limits, stop));
    addr
}

const LIMITS: Limits = Limits {
    max_connections: 8,
    head_timeout: Duration::from_secs(60),
    stall_timeout: Duration::from_secs(60),
    drain: Duration::ZERO,
};

fn client(ca: &str, identity: Option<&(String, String)>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM");
    roots.add(root).expect("root");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM")];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
            config.with_client_auth_cert(chain, key).expect("identity")
        }
    };
    TlsConnector::from(Arc::new(config))
}

async fn connect(
    connector: &TlsConnector,
    addr: SocketAddr,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").expect("name");
    timeout(PATIENCE, connector.connect(name, stream))
        .await
        .expect("in time")
}

/// The server's answer to a request; empty if there is none.
async fn hello(connector: &TlsConnector, addr: SocketAddr) -> String {
    let mut answer = Vec::new();
    let exchange = async {
        let mut stream = connect(connector, addr).await?;
        let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await?;
        stream.read_to_end(&mut answer).await
    };
    let read = timeout(PATIENCE, exchange).await.expect("in time");
    if read.is_err() {
        answer.clear();
    }
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served_and_another_leaves() {
    let (ours, other) = (Authority::new(), Authority::new());
    let folder = TempDir::new().expect("folder");
    let addr = server(&put(folder.path(), &ours.sign()), None, LIMITS).await;
    let answer = hello(&client(&ours.pem, None), addr).await;
    assert!(answer.ends_with("hello"), "{answer}");
    let wrong = connect(&client(&other.pem, None), addr).await;
    wrong.expect_err("a certificate of another authority");
    health::check(addr, true).await.expect("ready");
}

#[tokio::test]
async fn with_mutual_tls_only_clients_of_the_authority_are_served() {
    let (ours, clients, other) = (Authority::new(), Authority::new(), Authority::new());
    let folder = TempDir::new().expect("folder");
    let ca = folder.path().join("clients.pem");
    std::fs::write(&ca, &clients.pem).expect("ca");
    let addr = server(&put(folder.path(), &ours.sign()), Some(&ca), LIMITS).await;
    let good = clients.sign();
    let answer = hello(&client(&ours.pem, Some(&good)), addr).await;
    assert!(answer.ends_with("hello"), "{answer}");
    for identity in [None, Some(other.sign()), Some(ours.sign())] {
        let answer = hello(&client(&ours.pem, identity.as_ref()), addr).await;
        assert_eq!(answer, "", "without a certificate of the right authority");
    }
}

#[tokio::test]
async fn whoever_speaks_no_tls_is_not_answered_in_http() {
    let ours = Authority::new();
    let folder = TempDir::new().expect("folder");
    let addr = server(&put(folder.path(), &ours.sign()), None, LIMITS).await;
    let mut stream = TcpStream::connect(addr).await.expect("connect");
    let request = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";
    stream.write_all(request).await.expect("write");
    let mut answer = Vec::new();
    let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("closed in time").ok();
    let text = String::from_utf8_lossy(&answer);
    assert!(!text.contains("HTTP") && !text.contains("hello"), "{text}");
}

#[tokio::test]
async fn a_handshake_that_does_not_go_on_is_given_up() {
    let ours = Authority::new();
    let folder = TempDir::new().expect("folder");
    let limits = Limits {
        head_timeout: Duration::from_secs(2),
        max_connections: 2,
        ..LIMITS
    };
    let addr = server(&put(folder.path(), &ours.sign()), None, limits).await;
    let mut silent = TcpStream::connect(addr).await.expect("connect");
    // It holds up no other.
    let answer = hello(&client(&ours.pem, None), addr).await;
    assert!(answer.ends_with("hello"), "{answer}");
    let closed = timeout(PATIENCE, silent.read(&mut [0; 1])).await;
    assert!(matches!(closed.expect("in time"), Ok(0) | Err(_)));
}

#[tokio::test]
async fn new_files_are_used_and_bad_ones_are_not() {
    let (first, second) = (Authority::new(), Authority::new());
    let folder = TempDir::new().expect("folder");
    let tls = put(folder.path(), &first.sign());
    let addr = server(&tls, None, LIMITS).await;
    let (old, new) = (client(&first.pem, None), client(&second.pem, None));

    let key: PathBuf = tls.key.clone().expect("named");
    std::fs::write(&key, "no key").expect("bad key");
    sleep(2 * PERIOD).await; // Long enough for the service to look at it.
    let answer = hello(&old, addr).await;
    assert!(answer.ends_with("hello"), "the old certificate is in use");

    put(folder.path(), &second.sign());
    let exchanged = async {
        while !hello(&new, addr).await.ends_with("hello") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, exchanged).await.expect("the new one");
    assert_eq!(hello(&old, addr).await, "", "the old one is gone");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let ours = Authority::new();
    let folder = TempDir::new().expect("folder");
    let good = ours.sign();
    for (pair, ca, part) in [
        (
            (good.0.clone(), "x".into()),
            None,
            "cert.key has no private key",
        ),
        (
            ("x".into(), good.1.clone()),
            None,
            "cert.pem has no certificate",
        ),
        (
            (good.0.clone(), ours.sign().1),
            None,
            "cannot be used with its key",
        ),
        (good.clone(), Some("x"), "ca.pem has no certificate"),
    ] {
        let tls = put(folder.path(), &pair);
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, ca.unwrap_or_default()).expect("ca");
        let ca = ca.map(|_| path.as_path());
        let error = Acceptor::new(&tls, ca, Protocol::Http2).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
    }
    let tls = Tls {
        cert: Some("absent.pem".into()),
        key: Some("absent.key".into()),
    };
    let error = Acceptor::new(&tls, None, Protocol::Http1).expect_err("absent");
    assert!(error.to_string().contains("absent.pem cannot be read"));
}
