//! The `warpring` command: data to standard output, everything else to standard error. Exit code 0, 1 where a job failed, 2 for
//! wrong usage.

mod accept;
mod backend;
mod bench;
mod dead_letters;
mod doctor;
mod input;
mod kernels;
mod ptx;
mod run;
mod snapshot;
mod stdout;
#[cfg(test)]
#[path = "../tests/support/data.rs"]
mod test_data;

use clap::{Parser, Subcommand};
use std::borrow::Cow;
use std::process::ExitCode;

/// Ring kernels: persistent GPU actors, written once in plain Rust.
#[derive(Parser)]
#[command(name = "warpring", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a ready-made job
    #[command(subcommand)]
    Run(Job),
    /// List the ready-made kernels
    Kernels(kernels::Kernels),
    DeadLetters(dead_letters::DeadLetters),
    /// Say what this machine has for Warpring, and what is missing
    Doctor(doctor::Doctor),
    Bench(bench::Bench),
    Accept(accept::Accept),
    Ptx(ptx::Ptx),
    Snapshot(snapshot::Snapshots),
}

#[derive(Subcommand)]
enum Job {
    FraudFeatures(run::fraud_features::FraudFeatures),
    MarketBook(run::market_book::MarketBook),
}

fn main() -> ExitCode {
    let text = |hint: &'static str| Cow::Borrowed(hint);
    let done = match Cli::parse().command {
        Command::Run(Job::FraudFeatures(job)) => job.run().map_err(|error| (error.to_string(), error.hint().map(text))),
        Command::Run(Job::MarketBook(job)) => job.run().map_err(|error| (error.to_string(), error.hint().map(text))),
        Command::Kernels(kernels) => kernels.run().map_err(|error| (format!("standard output: {error}"), None)),
        Command::DeadLetters(letters) => letters.run().map_err(|error| (error.to_string(), error.hint().map(text))),
        Command::Bench(bench) => bench.run().map_err(|error| (error.to_string(), error.hint().map(text))),
        Command::Accept(accept) => accept.run().map_err(|error| (error.to_string(), error.hint().map(text))),
        Command::Ptx(ptx) => ptx.run().map_err(|error| (error.to_string(), error.hint().map(Cow::Owned))),
        Command::Snapshot(snapshot) => snapshot.run().map_err(|error| (error.to_string(), error.hint().map(Cow::Owned))),
        Command::Doctor(doctor) => {
            doctor.run();
            Ok(())
        }
    };
    let Err((error, hint)) = done else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
    ExitCode::FAILURE
}
