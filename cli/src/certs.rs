//! `certs`: a certificate authority of one's own, and certificates by it for the cloud and its nodes.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::args::{CertsArgs, Named};
use crate::terminal;

/// How long the authority's own certificate is good.
const CA_DAYS: u32 = 3650;
/// Clocks of edge nodes may be behind by so much.
const SKEW: Duration = Duration::from_secs(86_400);
/// Permissions of a key: only its owner reads it.
const KEY: u32 = 0o600;
/// Permissions of a certificate: everyone reads it.
const CERTIFICATE: u32 = 0o644;
/// Every certificate is good for this machine too.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// `patchwire certs`. Existing files stay, so that nodes can be added later.
pub(crate) fn run(args: &CertsArgs) -> Result<()> {
    check_nodes(&args.nodes)?;
    let folder = &args.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let authority = Authority::of(folder)?;
    authority.certificate(folder, "cloud", &args.cloud, args.days, KEY)?;
    for node in &args.nodes {
        authority.certificate(folder, &node.name, &node.names(), args.days, KEY)?;
    }
    Ok(())
}

/// Checks that no node's files would be those of something else.
pub(crate) fn check_nodes(nodes: &[Named]) -> Result<()> {
    for Named { name, .. } in nodes {
        let known = !["ca", "cloud", "ca.pem", "ca.key", ".", ".."].contains(&name.as_str());
        ensure!(known, "a node cannot be called {name} here");
    }
    Ok(())
}

/// An authority that signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(crate) pem: String,
}

impl Authority {
    /// The one in the folder; a new one if there is none.
    pub(crate) fn of(folder: &Path) -> Result<Self> {
        let (cert, key) = (folder.join("ca.pem"), folder.join("ca.key"));
        if !cert.exists() && !key.exists() {
            let pair = KeyPair::generate()?;
            let mut params = params("Patchwire development CA", &[], CA_DAYS)?;
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            write(&key, KEY, &pair.serialize_pem())?;
            write(&cert, CERTIFICATE, &params.self_signed(&pair)?.pem())?;
        }
        let read = |path: &Path| {
            fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
        };
        let pair = KeyPair::from_pem(&read(&key)?)
            .with_context(|| format!("{} is not a private key", key.display()))?;
        let pem = read(&cert)?;
        let issuer = Issuer::from_ca_cert_pem(&pem, pair)
            .with_context(|| format!("{} is not a certificate", cert.display()))?;
        Ok(Self { issuer, pem })
    }

    /// Makes NAME.pem and NAME.key, for servers and clients alike, unless they are there. The certificate is for
    /// `names` and this machine, the key's file has `mode`.
    pub(crate) fn certificate(
        &self,
        folder: &Path,
        name: &str,
        names: &[String],
        days: u32,
        mode: u32,
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
        let names: Vec<_> = names.iter().map(String::as_str).chain(HERE).collect();
        let mut params = params(name, &names, days)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        write(&key, mode, &pair.serialize_pem())?;
        let signed = params.signed_by(&pair, &self.issuer)?;
        write(&cert, CERTIFICATE, &signed.pem())
    }
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

/// Writes a file with this mode, independent of the user's mask, and prints its path.
pub(crate) fn write(path: &Path, mode: u32, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    options
        .open(path)
        .and_then(|mut file| {
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(text.as_bytes())
        })
        .with_context(|| format!("{} cannot be written", path.display()))?;
    terminal::out(format!("made {}", path.display()))?;
    Ok(())
}
