//! Tables and progress bars in one style.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Writes a line to standard output. That its reader has left, as `head` does, is no error.
pub(crate) fn out(line: impl Display) -> io::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Lines around the header and below the last row.
const STYLE: TableStyle = {
    let line = LineStyle::none().fill('─').junction('─');
    TableStyle::new()
        .top_border(line)
        .header_separator(line)
        .bottom_border(line)
};

/// An empty table; columns from `first_number` on are aligned to the right.
pub(crate) fn table(header: &[&str], first_number: usize) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Shows figures as a table, and writes them as JSON where asked; "-" is standard output, which the table leaves to it.
pub(crate) fn report(
    json: Option<&Path>,
    figures: &impl Serialize,
    table: &impl Display,
) -> Result<()> {
    match json {
        Some(path) if path == Path::new("-") => {
            eprintln!("{table}");
            out(serde_json::to_string_pretty(figures)?)?;
        }
        Some(path) => {
            out(table)?;
            let mut json = serde_json::to_vec_pretty(figures)?;
            json.push(b'\n');
            std::fs::write(path, json)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => out(table)?,
    }
    Ok(())
}

/// A bar on standard error, silent when that is not a terminal.
pub(crate) fn bar(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} {bar:32} {pos}/{len} {eta:>4} left")
        .expect("the template is a constant that parses");
    let bar = ProgressBar::new(length).with_style(style);
    bar.set_message(what);
    bar
}

/// A count on standard error, for work without a known end; silent when that is not a terminal.
pub(crate) fn counter(what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:>12} {pos} frames, {per_sec}")
        .expect("the template is a constant that parses");
    let counter = ProgressBar::new_spinner().with_style(style);
    counter.set_message(what.to_owned());
    counter
}

/// A figure with `digits` decimals, or a dash.
pub(crate) fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// 1048576 as "1,048,576".
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let cases = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_048_576, "1,048,576"),
        ];
        for (value, text) in cases {
            assert_eq!(grouped(value), text);
        }
    }
}
