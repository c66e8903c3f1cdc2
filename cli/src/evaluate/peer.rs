//! Another codec at one rate: its row in PEERS/peers.json, and its figures.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::figures::MeanFigures;
use crate::frames::read_bounded;

/// Most bytes of peers.json: room for some 100,000 pictures.
const MAX_LIST_BYTES: u64 = 8 << 20;
/// Most characters of a codec's name.
const MAX_NAME: usize = 32;

/// The data that a codec spends its bytes on.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Unit {
    /// A frame as a whole.
    Frame,
    /// Each patch alone, at a constant bitrate.
    Patch,
    /// Frames of a video, also by those before them.
    Video,
}

/// A codec at one rate, measured.
#[derive(Serialize)]
pub(super) struct Peer {
    pub(super) codec: String,
    pub(super) unit: Unit,
    /// Budget in bits per patch; of a video, our rate whose PSNR the codec has.
    pub(super) bits: u32,
    #[serde(flatten)]
    pub(super) video: Option<PeerVideo>,
    #[serde(flatten)]
    pub(super) mean: MeanFigures,
}

/// A codec's stream of a video.
#[derive(Serialize)]
pub(super) struct PeerVideo {
    /// Options of ffmpeg that made it.
    pub(super) options: String,
    pub(super) kbit_s: f64,
}

/// A row of peers.json, which names a codec.
pub(super) trait Named {
    /// The codec's name.
    fn codec(&self) -> &str;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List<T> {
    peers: Vec<T>,
}

/// The rows of `peers`/peers.json. Names of codecs can be parts of a path.
pub(super) fn list<T: DeserializeOwned + Named>(peers: &Path) -> Result<Vec<T>> {
    let path = peers.join("peers.json");
    let bytes = read_bounded(&path, MAX_LIST_BYTES)?;
    let list: List<T> = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is not a list of peers", path.display()))?;
    for codec in list.peers.iter().map(T::codec) {
        ensure!(
            (1..=MAX_NAME).contains(&codec.len())
                && codec
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
            "{} names a codec {codec:?}, and names are 1 to {MAX_NAME} characters of a-z, 0-9 and '-'",
            path.display()
        );
    }
    Ok(list.peers)
}
