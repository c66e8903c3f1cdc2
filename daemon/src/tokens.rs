//! Bearer tokens: who may do what at a service.
//!
//! # The file
//!
//! One principal per line, `KIND NAME sha256:HEX`; empty lines and lines that begin with `#` are skipped. A principal
//! may have several lines, so that a token can be exchanged without a gap. A token whose line is removed is refused.
//!
//! A token is `pw_` and 64 hexadecimal digits: 256 random bits. So many bits cannot be guessed from their SHA-256, so
//! the file needs neither salt nor a slow hash, and a check takes a microsecond.

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

/// First characters of every token, by which scanners for leaked secrets recognize one.
const PREFIX: &str = "pw_";
/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;
/// Longest token in bytes.
const MAX_TOKEN: usize = 128;
/// Most characters of a principal's name.
const MAX_NAME: usize = 64;

/// Section `auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// File of the tokens; nobody needs a token when absent.
    pub tokens: Option<PathBuf>,
    /// Whether `/metrics` needs no token.
    pub open_metrics: bool,
}

/// The use of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// An edge node, which sends to the cloud under its own name.
    Node,
    /// A camera or another client that sends frames to an edge node.
    Sender,
    /// A person or program that reads: dashboard, status, metrics, API.
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

/// The owner of a token: a line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The use of the token.
    pub kind: Kind,
    /// Name of the owner.
    pub name: String,
    hash: [u8; 32],
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, hash } = self;
        write!(f, "{kind} {name} sha256:{}", hex::encode(hash))
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is none.
    #[error("a token is needed here, as \"authorization: Bearer TOKEN\"")]
    Missing,
    /// The token is not in the file.
    #[error("unknown or revoked token")]
    Unknown,
    /// The token has another use.
    #[error("a {0}'s token is not enough here")]
    Kind(Kind),
}

/// All principals of a service.
#[derive(Debug, PartialEq, Eq)]
pub struct Principals(Vec<Principal>);

impl Principals {
    /// Reads the file's text; `kinds` are those that the service knows.
    ///
    /// # Errors
    /// The first line that is wrong, as the rest of a sentence that the file's name begins.
    pub fn parse(text: &str, kinds: &[Kind]) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).enumerate();
        let principals = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        principals
            .map(|(index, line)| {
                principal(line, kinds)
                    .map_err(|why| format!("is wrong in line {}: {why}", index + 1))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    fn find(&self, token: &str) -> Option<&Principal> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let hash = digest(token);
        let mut found = None;
        for principal in &self.0 {
            if bool::from(principal.hash.ct_eq(&hash)) {
                found = Some(principal);
            }
        }
        found
    }
}

fn principal(line: &str, kinds: &[Kind]) -> Result<Principal, String> {
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
    Ok(Principal {
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

/// The stored form of a secret of [`random`].
pub fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// A random secret: 64 hexadecimal digits.
///
/// # Errors
/// The system gives no random bytes.
pub fn random() -> Result<String, String> {
    let mut random = [0; RANDOM_BYTES];
    let filled = crate::tls::provider().secure_random.fill(&mut random);
    filled.map_err(|_| "the system gives no random bytes")?;
    Ok(hex::encode(random))
}

/// Makes a token and its principal.
///
/// # Errors
/// The name is not valid, or the system gives no random bytes; a sentence either way.
pub fn generate(kind: Kind, name: &str) -> Result<(String, Principal), String> {
    check_name(name)?;
    let token = format!("{PREFIX}{}", random()?);
    let principal = Principal {
        kind,
        name: name.to_owned(),
        hash: digest(&token),
    };
    Ok((token, principal))
}

/// Appends a principal to the file, which is made if it does not exist.
///
/// # Errors
/// The file cannot be written.
pub fn append(path: &Path, principal: &Principal) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(format!("{principal}\n").as_bytes())?;
    file.sync_all()
}

/// Reads a token from a file that contains nothing else.
///
/// # Errors
/// The file cannot be read or contains anything else.
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

/// Checks tokens, or lets everybody pass where no file is configured.
#[derive(Clone, Debug, Default)]
pub struct Authenticator(Option<Live<Principals>>);

impl Authenticator {
    /// For a service with this section `auth` and these kinds of tokens.
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
            Principals::parse(text, kinds).map_err(wrong)
        };
        Ok(Self(Some(Live::start(vec![path], make)?)))
    }

    /// Whether nobody needs a token.
    pub fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// The principal of a request, by the value of its header `authorization`; `None` where nobody needs a token.
    ///
    /// # Errors
    /// No token, an unknown one, or one of another kind than `kinds`.
    pub fn check(
        &self,
        authorization: Option<&[u8]>,
        kinds: &[Kind],
    ) -> Result<Option<Principal>, Refusal> {
        if self.is_open() {
            return Ok(None);
        }
        let token = authorization.and_then(bearer).ok_or(Refusal::Missing)?;
        self.check_token(token, kinds)
    }

    /// Like [`check`](Self::check), for a token from elsewhere.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_token(&self, token: &str, kinds: &[Kind]) -> Result<Option<Principal>, Refusal> {
        let Some(principals) = &self.0 else {
            return Ok(None);
        };
        let principals = principals.get();
        let principal = principals.find(token).ok_or(Refusal::Unknown)?;
        if !kinds.contains(&principal.kind) {
            return Err(Refusal::Kind(principal.kind));
        }
        Ok(Some(principal.clone()))
    }

    /// Whether a principal still has a line.
    pub fn knows(&self, principal: &Principal) -> bool {
        self.0
            .as_ref()
            .is_none_or(|principals| principals.get().0.contains(principal))
    }

    /// Waits until a principal has no line any more; forever without a principal.
    pub async fn revoked(&self, principal: Option<&Principal>) {
        match (&self.0, principal) {
            (Some(principals), Some(principal)) => {
                principals.until(|now| !now.0.contains(principal)).await
            }
            _ => std::future::pending().await,
        }
    }
}

fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
