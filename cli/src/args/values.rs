//! Values of arguments.

/// A node, and the names and addresses that it has besides its node_id.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    others: Vec<String>,
}

impl Named {
    /// All that it is called by.
    pub(crate) fn names(&self) -> Vec<String> {
        let others = self.others.iter().cloned();
        std::iter::once(self.name.clone()).chain(others).collect()
    }
}

pub(super) fn parse_node(text: &str) -> Result<Named, String> {
    let (name, others) = text.split_once('=').unwrap_or((text, ""));
    patchwire_proto::limits::check_id("node_id", name).map_err(|error| error.to_string())?;
    let others = others.split(',').map(str::trim);
    Ok(Named {
        name: name.to_owned(),
        others: others
            .filter(|other| !other.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}

/// An environment variable that is empty counts as unset.
pub(super) fn or_default(text: &str, default: &str) -> String {
    let text = if text.is_empty() { default } else { text };
    text.to_owned()
}

pub(super) fn parse_load_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=100_000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number of frames a second from 0 to 100000".to_owned()),
    }
}

pub(super) fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=4096).contains(side));
    let sides = text.split_once('x');
    let sides = sides.and_then(|(width, height)| Some((side(width)?, side(height)?)));
    sides.ok_or_else(|| "a size is like 640x480, of 1 to 4096 pixels a side".to_owned())
}

pub(super) fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("allowed are 0.1 to 600 seconds".to_owned()),
    }
}

pub(super) fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.00001..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("a rate is a number of frames a second from 0.00001 to 1000".to_owned()),
    }
}

/// Frames of a video, from the first to the last, counted from 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

pub(super) fn parse_part(text: &str) -> Result<Part, String> {
    let ends = text.split_once("..");
    let ends = ends.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match ends {
        Some((first, last)) if first <= last => Ok(Part { first, last }),
        _ => Err("a part is like 400..794: its first frame and its last".to_owned()),
    }
}
