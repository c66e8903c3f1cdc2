//! Bearer tokens: who may do what at a service.
//!
//! # The file
//!
//! One holder a line, `KIND NAME sha256:HEX`; empty lines and lines that begin with `#` are skipped. A
//! holder may have several lines, so that a token can be exchanged without a gap; a token whose line is
//! gone is refused.
//!
//! A token is `pw_` and 64 hexadecimal digits: 256 random bits. That many cannot be guessed from their
//! SHA-256, so the file needs no salt and no slow hash, and a check costs a microsecond.

use std::{
    fmt,
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::files::{FileError, Live};

/// What every token begins with, so that scanners for leaked secrets know one.
const PREFIX: &str = "pw_";
/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;
/// Longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 128;
/// Most characters of a holder's name.
const MAX_NAME: usize = 64;

/// Section `auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// File of the tokens' holders; nobody needs a token when absent.
    pub tokens: Option<PathBuf>,
    /// Whether `/metrics` needs no token.
    pub open_metrics: bool,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// An edge node that sends to the cloud under its own name.
    Node,
    /// A camera, or whoever else sends frames to an edge node.
    Sender,
    /// Someone who looks: dashboard, status, metrics, API.
    Viewer,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::Sender => "sender",
            Self::Viewer => "viewer",
        })
    }
}

/// A line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What the token is for.
    pub kind: Kind,
    /// Whose it is.
    pub name: String,
    hash: [u8; 32],
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, hash } = self;
        write!(f, "{kind} {name} sha256:{}", hex::encode(hash))
    }
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It says nothing of who asks.
    #[error("a token is needed here, as \"authorization: Bearer TOKEN\"")]
    Missing,
    /// The token is not in the file.
    #[error("unknown or revoked token")]
    Unknown,
    /// The token is for something else.
    #[error("a {0}'s token is not enough here")]
    Kind(Kind),
}

/// The holders of a service's tokens.
#[derive(Debug, PartialEq, Eq)]
pub struct Holders(Vec<Holder>);

impl Holders {
    /// Reads the file's text; `kinds` are those that the service knows.
    ///
    /// # Errors
    /// The first line that is wrong, as the rest of a sentence that the file's name begins.
    pub fn parse(text: &str, kinds: &[Kind]) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).enumerate();
        let holders = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        holders
            .map(|(index, line)| {
                holder(line, kinds).map_err(|why| format!("is wrong in line {}: {why}", index + 1))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn find(&self, token: &str) -> Option<&Holder> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let hash = digest(token);
        let mut found = None;
        for holder in &self.0 {
            if bool::from(holder.hash.ct_eq(&hash)) {
                found = Some(holder);
            }
        }
        found
    }
}

fn holder(line: &str, kinds: &[Kind]) -> Result<Holder, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [kind, name, hash] = words[..] else {
        return Err("it is not of the form KIND NAME sha256:HEX".into());
    };
    let known = kinds.iter().find(|known| known.to_string() == kind);
    let kind = *known.ok_or_else(|| {
        let kinds: Vec<_> = kinds.iter().map(Kind::to_string).collect();
        format!("its first word is not one of {}", kinds.join(", "))
    })?;
    check_name(name)?;
    let mut bytes = [0; 32];
    hash.strip_prefix("sha256:")
        .and_then(|digits| hex::decode_to_slice(digits, &mut bytes).ok())
        .ok_or("its last word is not sha256: and 64 hexadecimal digits")?;
    Ok(Holder {
        kind,
        name: name.to_owned(),
        hash: bytes,
    })
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "a name has 1 to {MAX_NAME} characters of A-Z a-z 0-9 . _ -"
    ))
}

/// What is kept of a secret of [`random`].
pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// A secret that nobody can guess: 64 hexadecimal digits.
///
/// # Errors
/// The system gives no random bytes.
pub fn random() -> Result<String, String> {
    let mut random = [0; RANDOM_BYTES];
    let filled = crate::tls::provider().secure_random.fill(&mut random);
    filled.map_err(|_| "the system gives no random bytes")?;
    Ok(hex::encode(random))
}

/// Makes a token and the line of its holder.
///
/// # Errors
/// The name is not one, or the system gives no random bytes; a sentence either way.
pub fn generate(kind: Kind, name: &str) -> Result<(String, Holder), String> {
    check_name(name)?;
    let token = format!("{PREFIX}{}", random()?);
    let holder = Holder {
        kind,
        name: name.to_owned(),
        hash: digest(&token),
    };
    Ok((token, holder))
}

/// Appends a holder to the file, which is made if it is not there.
///
/// # Errors
/// The file cannot be written.
pub fn append(path: &Path, holder: &Holder) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(format!("{holder}\n").as_bytes())?;
    file.sync_all()
}

/// Reads a token from a file that has nothing else.
///
/// # Errors
/// The file cannot be read or has something else.
pub fn from_file(path: &Path) -> Result<String, FileError> {
    let bytes = crate::files::read(path)?;
    let token = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if !(1..=MAX_TOKEN).contains(&token.len()) || !plain {
        let reason = format!("is not one token of 1 to {MAX_TOKEN} characters");
        return Err(FileError::Content(path.to_owned(), reason));
    }
    Ok(token.to_owned())
}

/// A door that asks for tokens, or one that does not.
#[derive(Clone, Debug, Default)]
pub struct Gate(Option<Live<Holders>>);

impl Gate {
    /// The door of a service with this section `auth` and these kinds of tokens.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn new(auth: &Auth, kinds: &'static [Kind]) -> Result<Self, FileError> {
        let Some(path) = auth.tokens.clone() else {
            return Ok(Self(None));
        };
        let named = path.clone();
        let make = move |contents: &[Vec<u8>]| {
            let wrong = |why: String| FileError::Content(named.clone(), why);
            let text =
                std::str::from_utf8(&contents[0]).map_err(|_| wrong("is not text".into()))?;
            Holders::parse(text, kinds).map_err(wrong)
        };
        Ok(Self(Some(Live::start(vec![path], make)?)))
    }

    /// Whether nobody needs a token.
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Who asks, by the value of the header `authorization`; nobody in particular at an open door.
    ///
    /// # Errors
    /// No token, one that is not known, or one of another kind than `kinds`.
    pub fn check(
        &self,
        authorization: Option<&[u8]>,
        kinds: &[Kind],
    ) -> Result<Option<Holder>, Refusal> {
        if self.is_open() {
            return Ok(None);
        }
        let token = authorization.and_then(bearer).ok_or(Refusal::Missing)?;
        self.check_token(token, kinds)
    }

    /// The same for a token that came some other way.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_token(&self, token: &str, kinds: &[Kind]) -> Result<Option<Holder>, Refusal> {
        let Some(holders) = &self.0 else {
            return Ok(None);
        };
        let holders = holders.get();
        let holder = holders.find(token).ok_or(Refusal::Unknown)?;
        if !kinds.contains(&holder.kind) {
            return Err(Refusal::Kind(holder.kind));
        }
        Ok(Some(holder.clone()))
    }

    /// Whether a holder that was let in still has a line.
    pub fn knows(&self, holder: &Holder) -> bool {
        self.0
            .as_ref()
            .is_none_or(|holders| holders.get().0.contains(holder))
    }

    /// Waits until a holder that was let in has no line any more.
    pub async fn revoked(&self, holder: Option<&Holder>) {
        match (&self.0, holder) {
            (Some(holders), Some(holder)) => holders.until(|now| !now.0.contains(holder)).await,
            _ => std::future::pending().await,
        }
    }
}

fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
