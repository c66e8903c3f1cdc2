//! `patchwire`: the one command for people. Every subcommand is a module; this file only chooses one.
//!
//! It is a library so that it compiles while the services' machine code is still being made; a binary would wait for
//! them.
#![deny(unsafe_code)]

mod args;
mod bench;
mod certs;
mod demo;
mod edge;
mod evaluate;
mod export;
mod fit_prior;
mod frames;
mod http;
mod inspect;
mod latents;
mod load;
mod models;
mod pair;
mod provision;
mod send;
mod terminal;
mod verify;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

/// Runs the subcommand that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Send(args) => send::run(args),
        Command::Encode(args) => latents::encode(&args),
        Command::Decode(args) => latents::decode(&args),
        Command::Verify(args) => return verify::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Export(args) => export::run(&args),
        Command::FitPrior(args) => fit_prior::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Certs(args) => certs::run(&args),
        Command::Provision(args) => provision::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("patchwire: {error:#}");
            ExitCode::FAILURE
        }
    }
}
