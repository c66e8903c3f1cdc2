//! Messages of errors.

use std::{error::Error, fmt::Display};

/// Most characters of a message on one line.
const MAX_CHARS: usize = 300;

/// A foreign error's message on one line of bounded length.
pub fn one_line(error: &(impl Display + ?Sized)) -> String {
    let text = error.to_string();
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_CHARS).collect()
}

/// The innermost cause of an error, which says most: the outer ones of a transport say "transport error".
pub fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
