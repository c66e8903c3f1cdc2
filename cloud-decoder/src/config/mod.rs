//! Configuration: a TOML file, then the environment, then flags; later ones win.

mod policies;
mod sections;
mod settings;

pub use daemon::{
    config::{ConfigError, Log, LogFormat},
    tls::Tls,
    tokens::{Auth, Kind},
    trace::Trace,
};
pub use policies::{Analysis, Retention};
pub use sections::{Catalogue, Decode, Grpc, Http, Objects, Queue};
pub use settings::{Config, Role};

/// The kinds of tokens that the service knows.
pub const TOKENS: [Kind; 2] = [Kind::Node, Kind::Viewer];
