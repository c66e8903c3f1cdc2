//! Results of a load.

use std::time::Duration;

use serde::Serialize;

use super::stats::Stats;
use crate::args::LoadArgs;
use crate::terminal::{self, figure, grouped};

/// The figures, as `--json` writes them.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    nodes: u32,
    /// From the last connection until the last frame was due.
    seconds: f64,
    offered: u64,
    offered_per_s: f64,
    /// Accepted or duplicate.
    acked: u64,
    acked_per_s: f64,
    /// Frames that the cloud had already, because they were sent again.
    duplicates: u64,
    refused: u64,
    /// Frames without an ack when the load ended, sent or waiting.
    unacked: u64,
    /// Frames that their node had no room for.
    overflowed: u64,
    /// From the time when a frame was due to its ack.
    latency_ms: Latency,
    missed_heartbeats: u64,
    /// Longest silence of the cloud on a connection; both sides ping after 20 s.
    longest_silence_s: f64,
    /// Streams that broke or could not be opened.
    streams_lost: u64,
    reconnects: u64,
    /// Streams that the cloud asked to end.
    drained: u64,
    first_refusal: Option<String>,
    first_loss: Option<String>,
}

/// `None` without an ack.
#[derive(Debug, Serialize)]
struct Latency {
    p50: Option<f64>,
    p99: Option<f64>,
    max: Option<f64>,
}

/// The figures of a load whose frames were due over the time `span`.
pub(super) fn figures(args: &LoadArgs, span: Duration, stats: &Stats) -> Figures {
    let counts = stats.counts();
    let seconds = span.as_secs_f64();
    let acked = counts.accepted + counts.duplicates;
    let latency = |quantile| {
        let latency = &counts.latency;
        (!latency.is_empty()).then(|| latency.value_at_quantile(quantile) as f64 / 1e3)
    };
    Figures {
        nodes: args.nodes,
        seconds,
        offered: counts.offered,
        offered_per_s: counts.offered as f64 / seconds,
        acked,
        acked_per_s: acked as f64 / seconds,
        duplicates: counts.duplicates,
        refused: counts.refused,
        unacked: counts.offered - counts.overflowed - acked - counts.refused,
        overflowed: counts.overflowed,
        latency_ms: Latency {
            p50: latency(0.5),
            p99: latency(0.99),
            max: latency(1.0),
        },
        missed_heartbeats: counts.missed_heartbeats,
        longest_silence_s: counts.longest_silence.as_secs_f64(),
        streams_lost: counts.streams_lost,
        reconnects: counts.reconnects,
        drained: counts.drained,
        first_refusal: counts.first_refusal,
        first_loss: counts.first_loss,
    }
}

/// The figures, for people.
pub(super) fn table(figures: &Figures) -> String {
    let mut table = terminal::table(&["load", "", "per second"], 1);
    let mut row = |name: &str, value: String, rate: Option<f64>| {
        let rate = rate.map_or(String::new(), |rate| format!("{rate:.1}"));
        table.add_row([name.to_owned(), value, rate]);
    };
    let count = |value| grouped(value);
    row("nodes", count(figures.nodes.into()), None);
    row("seconds", format!("{:.0}", figures.seconds), None);
    row(
        "frames offered",
        count(figures.offered),
        Some(figures.offered_per_s),
    );
    row(
        "acknowledged",
        count(figures.acked),
        Some(figures.acked_per_s),
    );
    row("  a second time", count(figures.duplicates), None);
    row("refused", count(figures.refused), None);
    row("without an ack", count(figures.unacked), None);
    row("overflowed their node", count(figures.overflowed), None);
    row(
        "ack latency p50, ms",
        figure(figures.latency_ms.p50, 1),
        None,
    );
    row(
        "ack latency p99, ms",
        figure(figures.latency_ms.p99, 1),
        None,
    );
    row(
        "ack latency max, ms",
        figure(figures.latency_ms.max, 1),
        None,
    );
    row("missed heartbeats", count(figures.missed_heartbeats), None);
    row(
        "longest silence, s",
        format!("{:.1}", figures.longest_silence_s),
        None,
    );
    row("streams lost", count(figures.streams_lost), None);
    row("reconnects", count(figures.reconnects), None);
    row("drained", count(figures.drained), None);
    let mut text = table.to_string();
    for (name, why) in [
        ("stream lost", &figures.first_loss),
        ("frame refused", &figures.first_refusal),
    ] {
        if let Some(why) = why {
            text += &format!("\nthe first {name}: {why}");
        }
    }
    text
}
