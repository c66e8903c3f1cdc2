//! Certificates and tokens of a site, made by the commands that operators use, and exchanged while it runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{caller::Tokens, place::owned, service::Settings};

/// Name of the harness as a holder of tokens.
const HOLDER: &str = "harness";
const CLOUD: &str = "cloud";
const CLOUD_TOKENS: &str = "cloud-tokens";
const EDGE_TOKENS: &str = "edge-tokens";
const NODE_TOKEN: &str = "node.token";

/// A folder of secrets.
pub(crate) struct Secrets {
    binaries: PathBuf,
    folder: PathBuf,
    node: String,
}

impl Secrets {
    /// Makes all that a cloud and the edge nodes of one name need.
    pub(crate) fn make(binaries: &Path, folder: &Path, node: &str) -> Result<(Self, Tokens)> {
        let secrets = Self {
            binaries: binaries.to_owned(),
            folder: folder.to_owned(),
            node: node.to_owned(),
        };
        fs::create_dir_all(folder)?;
        secrets.certificates(folder)?;
        let tokens = secrets.tokens()?;
        Ok((secrets, tokens))
    }

    /// The authority's certificate.
    pub(crate) fn ca(&self) -> Result<Vec<u8>> {
        Ok(fs::read(self.folder.join("ca.pem"))?)
    }

    /// Settings of an edge node for these secrets.
    pub(crate) fn of_edge(&self) -> Settings {
        let own = |ending: &str| self.path(&format!("{}.{ending}", self.node));
        owned(&[
            ("EDGE_NODE_TLS__CERT", &own("pem")),
            ("EDGE_NODE_TLS__KEY", &own("key")),
            ("EDGE_NODE_AUTH__TOKENS", &self.path(EDGE_TOKENS)),
            ("EDGE_NODE_UPLINK__TOKEN_FILE", &self.path(NODE_TOKEN)),
            ("EDGE_NODE_UPLINK__TLS__CA", &self.path("ca.pem")),
            ("EDGE_NODE_UPLINK__TLS__CERT", &own("pem")),
            ("EDGE_NODE_UPLINK__TLS__KEY", &own("key")),
        ])
    }

    /// Settings of the cloud for these secrets.
    pub(crate) fn of_cloud(&self) -> Settings {
        owned(&[
            ("CLOUD_DECODER_TLS__CERT", &self.path("cloud.pem")),
            ("CLOUD_DECODER_TLS__KEY", &self.path("cloud.key")),
            ("CLOUD_DECODER_AUTH__TOKENS", &self.path(CLOUD_TOKENS)),
            ("CLOUD_DECODER_GRPC__CLIENT_CA", &self.path("ca.pem")),
        ])
    }

    /// Adds another token for each holder beside the old one.
    pub(crate) fn tokens(&self) -> Result<Tokens> {
        let node = self.token("cloud-decoder", "node", &self.node, CLOUD_TOKENS)?;
        let fresh = self.folder.join("node.token.new");
        fs::write(&fresh, node)?;
        fs::rename(&fresh, self.folder.join(NODE_TOKEN))?;
        Ok(Tokens {
            sender: self.token("edge-node", "sender", HOLDER, EDGE_TOKENS)?,
            edge_viewer: self.token("edge-node", "viewer", HOLDER, EDGE_TOKENS)?,
            cloud_viewer: self.token("cloud-decoder", "viewer", HOLDER, CLOUD_TOKENS)?,
        })
    }

    /// Revokes all tokens but the last of each holder.
    pub(crate) fn revoke_old_tokens(&self) -> Result<()> {
        for name in [CLOUD_TOKENS, EDGE_TOKENS] {
            let path = self.folder.join(name);
            let text = fs::read_to_string(&path)?;
            let holder = |line: &str| {
                let mut words = line.split(' ').map(str::to_owned);
                (words.next(), words.next())
            };
            let lines: Vec<_> = text.lines().collect();
            let last = lines.iter().enumerate().filter(|(index, line)| {
                let mut later = lines[index + 1..].iter();
                later.all(|other| holder(other) != holder(line))
            });
            let kept: Vec<_> = last.map(|(_, line)| format!("{line}\n")).collect();
            let fresh = path.with_extension("new");
            fs::write(&fresh, kept.concat())?;
            fs::rename(&fresh, &path)?;
        }
        Ok(())
    }

    /// Puts new certificates and keys of the same authority in the place of the old ones.
    pub(crate) fn exchange_certificates(&self) -> Result<()> {
        let fresh = tempfile::tempdir_in(&self.folder)?;
        for name in ["ca.pem", "ca.key"] {
            fs::copy(self.folder.join(name), fresh.path().join(name))?;
        }
        self.certificates(fresh.path())?;
        for name in [CLOUD, &self.node] {
            for ending in ["key", "pem"] {
                let name = format!("{name}.{ending}");
                fs::rename(fresh.path().join(&name), self.folder.join(&name))?;
            }
        }
        Ok(())
    }

    fn certificates(&self, folder: &Path) -> Result<()> {
        let made = Command::new(self.binaries.join("patchwire"))
            .arg("certs")
            .arg(folder)
            .args(["--cloud", "localhost", "--node", &self.node])
            .output()
            .context("patchwire does not start")?;
        let told = String::from_utf8_lossy(&made.stderr);
        ensure!(made.status.success(), "patchwire certs: {told}");
        Ok(())
    }

    fn token(&self, binary: &str, kind: &str, holder: &str, file: &str) -> Result<String> {
        let made = Command::new(self.binaries.join(binary))
            .args(["token", kind, holder, "--add-to", &self.path(file)])
            .output()
            .with_context(|| format!("{binary} does not start"))?;
        let told = String::from_utf8_lossy(&made.stderr);
        ensure!(made.status.success(), "{binary} token: {told}");
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}
