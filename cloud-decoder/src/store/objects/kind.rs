//! Kinds of objects and their keys.
//!
//! A key is `KIND/YYYY/MM/DD/FRAME_ID`, with the day that is in the frame's UUIDv7, so that a frame that is sent again
//! has the same keys.

use chrono::DateTime;
use object_store::path::Path;
use uuid::Uuid;

/// The content of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The frame itself: everything that its row needs, and its latents ([`stored_frame`](crate::store::stored_frame)).
    Latents,
    /// The camera's own pixels, PNG or WebP.
    Original,
    /// The reconstruction, PNG.
    Reconstruction,
    /// A small version of the reconstruction, JPEG.
    Thumbnail,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Latents,
        Self::Original,
        Self::Reconstruction,
        Self::Thumbnail,
    ];

    /// Folder and extension.
    pub(super) fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Latents => ("latents", "pwl"),
            Self::Original => ("originals", "img"),
            Self::Reconstruction => ("reconstructions", "png"),
            Self::Thumbnail => ("thumbnails", "jpg"),
        }
    }
}

/// The key of a frame's object.
pub fn key(kind: Kind, frame: Uuid) -> Path {
    let seconds = frame.get_timestamp().map_or(0, |time| time.to_unix().0);
    let created = i64::try_from(seconds)
        .ok()
        .and_then(|s| DateTime::from_timestamp(s, 0));
    let day = created.unwrap_or_default().format("%Y/%m/%d");
    let (folder, extension) = kind.place();
    Path::from(format!("{folder}/{day}/{frame}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_the_day_of_the_frame_id() {
        for (seconds, day) in [
            (0, "1970/01/01"),
            (951_782_400, "2000/02/29"),
            (1_798_761_599, "2026/12/31"),
        ] {
            let id = Uuid::new_v7(uuid::Timestamp::from_unix_time(seconds, 0, 0, 0));
            let want = format!("latents/{day}/{id}.pwl");
            assert_eq!(key(Kind::Latents, id).as_ref(), want);
        }
    }
}
