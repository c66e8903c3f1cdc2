//! `certs`: a certificate authority of one's own, and certificates by it for the cloud and its nodes.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::args::CertsArgs;
use crate::terminal;

/// How long the authority's own certificate is good.
const CA_DAYS: u32 = 3650;
/// Clocks of edge nodes may be behind by so much.
const SKEW: Duration = Duration::from_secs(86_400);
/// Every certificate is good for this machine too.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// `patchwire certs`. What is there stays, so that nodes can be added later.
pub(crate) fn run(args: &CertsArgs) -> Result<()> {
    for node in &args.nodes {
        let known = !["ca", "cloud"].contains(&node.as_str());
        ensure!(known, "a node cannot be called {node} here");
    }
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let issuer = authority(folder)?;
    let mut names: Vec<&str> = args.cloud.iter().map(String::as_str).collect();
    names.extend(HERE);
    certificate(folder, "cloud", &names, args.days, &issuer)?;
    for node in &args.nodes {
        let names = [&[node.as_str()][..], &HERE].concat();
        certificate(folder, node, &names, args.days, &issuer)?;
    }
    Ok(())
}

/// The authority in the folder; a new one if there is none.
fn authority(folder: &Path) -> Result<Issuer<'static, KeyPair>> {
    let (cert, key) = (folder.join("ca.pem"), folder.join("ca.key"));
    if !cert.exists() && !key.exists() {
        let pair = KeyPair::generate()?;
        let mut params = params("Patchwire development CA", &[], CA_DAYS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        write(&key, 0o600, &pair.serialize_pem())?;
        write(&cert, 0o644, &params.self_signed(&pair)?.pem())?;
    }
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let pair = KeyPair::from_pem(&read(&key)?)
        .with_context(|| format!("{} is not a private key", key.display()))?;
    Issuer::from_ca_cert_pem(&read(&cert)?, pair)
        .with_context(|| format!("{} is not a certificate", cert.display()))
}

/// Makes NAME.pem and NAME.key, for servers and clients alike, unless they are there.
fn certificate(
    folder: &Path,
    name: &str,
    names: &[&str],
    days: u32,
    issuer: &Issuer<'_, KeyPair>,
) -> Result<()> {
    let (cert, key) = (
        folder.join(format!("{name}.pem")),
        folder.join(format!("{name}.key")),
    );
    if cert.exists() && key.exists() {
        terminal::out(format!("kept {} and its key", cert.display()))?;
        return Ok(());
    }
    let pair = KeyPair::generate()?;
    let mut params = params(name, names, days)?;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    write(&key, 0o600, &pair.serialize_pem())?;
    write(&cert, 0o644, &params.signed_by(&pair, issuer)?.pem())
}

fn params(common_name: &str, names: &[&str], days: u32) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = SystemTime::now();
    params.not_before = (now - SKEW).into();
    params.not_after = (now + Duration::from_secs(86_400 * u64::from(days))).into();
    Ok(params)
}

fn write(path: &Path, mode: u32, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    terminal::out(format!("made {}", path.display()))?;
    Ok(())
}
