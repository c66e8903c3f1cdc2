//! The fault harness: runs real services, breaks them and the link between them for a while, and counts what became of
//! each frame. Its ledger is one `name: count` a line; it exits with 0 only when frames were accepted, each of them is
//! there once and as it was, and no service ended by itself. See `docs/reliability.md`.
#![forbid(unsafe_code)]

mod answer_log;
mod audit;
mod caller;
mod clock;
mod disk;
mod engines;
mod fault_counts;
mod feeds;
mod found;
mod judge;
mod known;
mod ledger;
mod load;
mod models;
mod object_reader;
mod pair_faults;
mod pictures;
mod place;
mod random_faults;
mod retention;
mod s3_proxy;
mod scenarios;
mod secrets;
mod service;
mod site;
mod unanswered;
mod watcher;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::scenarios::OnFull;

/// Breaks a real edge node, a real cloud decoder and the link between them, and counts what became of each frame.
#[derive(Parser)]
struct Args {
    /// The scenario to run
    #[arg(long, value_enum, default_value_t = Scenario::Mixed)]
    scenario: Scenario,
    /// How long the scenarios mixed, scaled and rolling go on
    #[arg(long, default_value_t = 2.0, value_parser = minutes)]
    minutes: f64,
    /// Kills of the scenario kill-after-202
    #[arg(long, default_value_t = 1000)]
    kills: u64,
    /// What the spool of the scenario day does when it is full
    #[arg(long, value_enum, default_value_t = OnFull::DropOldest)]
    on_full: OnFull,
    /// Decides pictures, faults and their times
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scenario {
    /// All faults at random
    Mixed,
    /// The edge node is killed right after each 202
    #[value(name = "kill-after-202")]
    KillAfter202,
    /// A day of fifty cameras with the cloud away, then the cloud comes back
    Day,
    /// A scaled cloud on shared servers: faults of processes, servers and the network between them, one at a time
    Scaled,
    /// Backups are taken while it runs; then a half of what the cloud has is lost and restored
    Restore,
    /// A scaled cloud, whose processes are restarted in turn as for an upgrade
    Rolling,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let ledger = match args.scenario {
        Scenario::Mixed => scenarios::mixed(args.minutes, args.seed).await?,
        Scenario::KillAfter202 => scenarios::kills(args.kills, args.seed).await?,
        Scenario::Day => scenarios::day(args.seed, args.on_full).await?,
        Scenario::Scaled => scenarios::scaled(args.minutes, args.seed).await?,
        Scenario::Restore => scenarios::restore(args.seed).await?,
        Scenario::Rolling => scenarios::rolling(args.minutes, args.seed).await?,
    };
    ledger.print();
    println!("seed: {}", args.seed);
    Ok(match ledger.faults().is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn minutes(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(minutes) if (0.1..=1440.0).contains(&minutes) => Ok(minutes),
        _ => Err("allowed are 0.1 to 1440 minutes".into()),
    }
}
