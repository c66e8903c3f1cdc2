//! PostgreSQL, NATS and an S3 server as child processes, each in its own temporary folder and killed when dropped.
//! `.ci/engines` installs them.

mod nats;
mod postgres;
mod process;
mod s3;

pub use self::{
    nats::{Nats, Route},
    postgres::Postgres,
    s3::S3,
};

/// Whether all three are installed; where `CI` is set they must be.
pub fn installed() -> bool {
    let missing: Vec<_> = [nats::program(), postgres::program("initdb"), s3::program()]
        .into_iter()
        .filter(|program| !program.exists())
        .collect();
    if missing.is_empty() {
        return true;
    }
    let sentence = format!("{missing:?} not installed; .ci/engines does it");
    assert!(std::env::var_os("CI").is_none(), "{sentence}");
    eprintln!("NOT TESTED: {sentence}");
    false
}
