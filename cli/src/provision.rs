//! `provision`: for each host a folder with all that its service needs: certificates, tokens, configuration.
//!
//! The services run as a user who owns nothing, so what is in a host's folder may be read by all who reach it; the
//! folder around them lets nobody in but its owner.

use std::{
    fs::{self, Permissions},
    net::Ipv6Addr,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use daemon::tokens::{self, Kind};

use crate::{
    args::{Named, ProvisionArgs},
    certs::{self, Authority},
    terminal,
};

/// For its owner alone.
const PRIVATE: u32 = 0o600;
/// For the service's user too.
const SHARED: u32 = 0o644;
/// The cloud's folder, which is also the name of its certificate.
const CLOUD: &str = "cloud";
/// File of a service's holders of tokens.
const HOLDERS: &str = "tokens";

/// `patchwire provision`. Existing files stay, so that nodes can be added later.
pub(crate) fn run(args: &ProvisionArgs) -> Result<()> {
    certs::check_nodes(&args.nodes)?;
    let all = &args.folder;
    folder(all, 0o700)?;
    let mode = fs::metadata(all)?.permissions().mode();
    ensure!(
        mode & 0o077 == 0,
        "{0} is open to others of this machine, and has keys that its services must read: chmod 700 {0}",
        all.display()
    );
    let authority = Authority::of(all)?;
    cloud(args, &authority)?;
    for node in &args.nodes {
        edge(args, node, &authority)?;
    }
    Ok(())
}

fn cloud(args: &ProvisionArgs, authority: &Authority) -> Result<()> {
    let all = &args.folder;
    let own = all.join(CLOUD);
    folder(&own, 0o755)?;
    authority.certificate(&own, CLOUD, &args.cloud, args.days, SHARED)?;
    file(&own.join("ca.pem"), SHARED, || Ok(authority.pem.clone()))?;
    let viewer = all.join("cloud.viewer.token");
    token(&own, Kind::Viewer, "ops", &viewer, PRIVATE)?;
    file(&own.join("cloud-decoder.toml"), SHARED, || {
        Ok(include_str!("provision/cloud-decoder.toml").to_owned())
    })
}

fn edge(args: &ProvisionArgs, node: &Named, authority: &Authority) -> Result<()> {
    let (all, name) = (&args.folder, &node.name);
    let own = all.join(name);
    folder(&own, 0o755)?;
    authority.certificate(&own, name, &node.names(), args.days, SHARED)?;
    file(&own.join("ca.pem"), SHARED, || Ok(authority.pem.clone()))?;
    let uplink = own.join("uplink.token");
    token(&all.join(CLOUD), Kind::Node, name, &uplink, SHARED)?;
    for (kind, holder, of) in [
        (Kind::Sender, "camera", "camera"),
        (Kind::Viewer, "ops", "viewer"),
    ] {
        let path = all.join(format!("{name}.{of}.token"));
        token(&own, kind, holder, &path, PRIVATE)?;
    }
    file(&own.join("edge-node.toml"), SHARED, || {
        let cloud = match args.cloud[0].parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]"),
            Err(_) => args.cloud[0].clone(),
        };
        let text = include_str!("provision/edge-node.toml");
        Ok(text
            .replace("{node}", name)
            .replace("{cloud}", &format!("{cloud}:{}", args.uplink_port)))
    })
}

/// Makes a token in the file `path`, and a line for its holder in the service's folder, unless the token is there.
fn token(service: &Path, kind: Kind, holder: &str, path: &Path, mode: u32) -> Result<()> {
    file(path, mode, || {
        let (token, holder) = tokens::generate(kind, holder).map_err(anyhow::Error::msg)?;
        let holders = service.join(HOLDERS);
        let told = || format!("{} cannot be written", holders.display());
        tokens::append(&holders, &holder).with_context(told)?;
        fs::set_permissions(&holders, Permissions::from_mode(SHARED)).with_context(told)?;
        Ok(format!("{token}\n"))
    })
}

/// Makes a file with the text of `text`, unless it exists.
fn file(path: &Path, mode: u32, text: impl FnOnce() -> Result<String>) -> Result<()> {
    if path.exists() {
        terminal::out(format!("kept {}", path.display()))?;
        return Ok(());
    }
    certs::write(path, mode, &text()?)
}

fn folder(path: &Path, mode: u32) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))
        .with_context(|| format!("cannot make {}", path.display()))
}
