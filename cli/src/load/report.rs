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
    let f = figures;
    let latency = |value| figure(value, 1);
    let rate = |value| format!("{value:.1}");
    let mut table = terminal::table(&["load", "", "per second"], 1);
    for (name, value, rate) in [
        ("nodes", grouped(f.nodes.into()), None),
        ("seconds", format!("{:.0}", f.seconds), None),
        (
            "frames offered",
            grouped(f.offered),
            Some(rate(f.offered_per_s)),
        ),
        ("acknowledged", grouped(f.acked), Some(rate(f.acked_per_s))),
        ("  a second time", grouped(f.duplicates), None),
        ("refused", grouped(f.refused), None),
        ("without an ack", grouped(f.unacked), None),
        ("overflowed their node", grouped(f.overflowed), None),
        ("ack latency p50, ms", latency(f.latency_ms.p50), None),
        ("ack latency p99, ms", latency(f.latency_ms.p99), None),
        ("ack latency max, ms", latency(f.latency_ms.max), None),
        ("missed heartbeats", grouped(f.missed_heartbeats), None),
        ("longest silence, s", rate(f.longest_silence_s), None),
        ("streams lost", grouped(f.streams_lost), None),
        ("reconnects", grouped(f.reconnects), None),
        ("drained", grouped(f.drained), None),
    ] {
        table.add_row([name.to_owned(), value, rate.unwrap_or_default()]);
    }
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
