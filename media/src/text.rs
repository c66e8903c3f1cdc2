//! Messages of other crates.

use std::fmt::Display;

/// Most characters of a message.
const MAX_CHARS: usize = 300;

/// A foreign error's message on one line of bounded length.
pub(crate) fn one_line(error: &impl Display) -> String {
    let text = error.to_string();
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_CHARS).collect()
}
