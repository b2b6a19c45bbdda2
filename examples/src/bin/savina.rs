//! Runs programs of the Savina suite: `savina [--small] [--workers N] [NAME..]`, all of them if none is named.
//!
//! For each it prints the answer, whether that is the right one, the messages, and the messages per second.

use std::process::ExitCode;

use warpring::{Runtime, block_on};
use warpring_examples::savina::{Failure, PROGRAMS, Program, Scale};

const USAGE: &str = "usage: savina [--small] [--workers N] [NAME..]";

struct Arguments {
    scale: Scale,
    workers: Option<u32>,
    programs: Vec<&'static Program>,
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments { scale: Scale::Savina, workers: None, programs: Vec::new() };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--small" => arguments.scale = Scale::Small,
            "--workers" => {
                let workers = words.next().and_then(|n| n.parse().ok());
                arguments.workers = Some(workers.ok_or("`--workers` takes a number")?);
            }
            name => {
                let program = PROGRAMS.iter().find(|program| program.name == name);
                arguments.programs.push(program.ok_or_else(|| {
                    let names: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
                    format!("there is no `{name}`; there are {}", names.join(", "))
                })?);
            }
        }
    }
    if arguments.programs.is_empty() {
        arguments.programs = PROGRAMS.iter().collect();
    }
    Ok(arguments)
}

fn run(program: &Program, scale: Scale, workers: Option<u32>) -> Result<(), Failure> {
    let mut builder = Runtime::builder().module(&warpring_examples::MODULE);
    if let Some(workers) = workers {
        builder = builder.workers(workers);
    }
    let runtime = builder.build()?;
    let outcome = (program.run)(&runtime, scale)?;
    block_on(runtime.shutdown())?;
    let expected = (program.answer)(scale);
    if outcome.answer != expected {
        return Err(format!("the answer is {} instead of {expected}", outcome.answer).into());
    }
    let rate = outcome.messages as f64 / outcome.time.as_secs_f64() / 1e6;
    println!(
        "{:<22} answer {:>10}, right; {:>10} messages, {rate:>8.3} million per second",
        program.name, outcome.answer, outcome.messages
    );
    Ok(())
}

fn main() -> ExitCode {
    let arguments = match arguments(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("savina: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut code = ExitCode::SUCCESS;
    for program in arguments.programs {
        if let Err(error) = run(program, arguments.scale, arguments.workers) {
            eprintln!("savina: {}: {error}", program.name);
            code = ExitCode::FAILURE;
        }
    }
    code
}
