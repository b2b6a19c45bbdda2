//! `warpring accept`: whether a backend does what it must, in one run of at most six minutes.
//!
//! Each step runs in a process of its own, which is this command with `--child STEP`: a step that hangs is killed at its limit, one
//! that crashes takes no other with it, and the next goes on. The child gives its result as one line of JSON.

mod actors;
mod child;
mod conformance;
mod figures;
mod gpu;
mod jobs;
mod report;
mod rows;
mod step;

use crate::backend::{BackendError, Choice, start};
use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use report::{Row, Run};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use step::{On, STEPS, Step};
use warpring::Backend;

/// What all steps together may take.
const BUDGET: Duration = Duration::from_secs(360);

/// Check that a backend does what it must, in at most six minutes
#[derive(Debug, clap::Args)]
pub struct Accept {
    /// What runs the actors
    #[arg(long, value_enum, default_value_t)]
    backend: Choice,
    /// Only this step; may be given several times
    #[arg(long = "step", value_name = "NAME", value_parser = PossibleValuesParser::new(STEPS.iter().map(|step| step.name)))]
    steps: Vec<String>,
    /// Folder of published data (`fraud/`, `kraken/`, `okx/`) that answers are compared with
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Write everything that was found to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Kill each step after so many seconds, instead of at its own limit
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    limit: Option<Duration>,
    /// A worker of a grid handles about so many messages in a launch: for compute-sanitizer and profilers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    messages_per_launch: Option<u64>,
    /// Run one step here and give its result as a line of JSON
    #[arg(long, value_name = "NAME", hide = true, conflicts_with_all = ["steps", "json", "limit"])]
    #[arg(value_parser = PossibleValuesParser::new(STEPS.iter().map(|step| step.name)))]
    child: Option<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wanted = "a number of seconds above 0, at most 360";
    let seconds: f64 = text.parse().map_err(|_| wanted.to_owned())?;
    if seconds > 0.0 && seconds <= BUDGET.as_secs_f64() { Ok(Duration::from_secs_f64(seconds)) } else { Err(wanted.to_owned()) }
}

/// Why a run was not accepted.
#[derive(Debug)]
pub enum AcceptError {
    /// The backend cannot be started.
    Backend(BackendError),
    /// `--messages-per-launch` with a backend that has no launches.
    NoLaunches(&'static str),
    /// The runtime names a backend that this command does not know.
    UnknownBackend(&'static str),
    /// This program cannot start itself again.
    Executable(io::Error),
    /// Steps that failed.
    Failed(Vec<&'static str>),
    /// The report could not be written.
    Report(PathBuf, io::Error),
    /// The result could not be printed.
    Stdout(io::Error),
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(error) => error.fmt(f),
            Self::NoLaunches(name) => {
                write!(f, "`--messages-per-launch` bounds the launches of a grid, and backend {name} has none")
            }
            Self::UnknownBackend(name) => write!(f, "`auto` gave the backend `{name}`, which this command does not know"),
            Self::Executable(error) => write!(f, "this program cannot be started again for a step: {error}"),
            Self::Failed(steps) => write!(f, "not accepted: {} failed", steps.join(", ")),
            Self::Report(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Stdout(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl std::error::Error for AcceptError {}

impl AcceptError {
    /// What to do about it, where something can be done.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Backend(error) => error.hint(),
            Self::Failed(_) => Some("`warpring accept --step NAME` repeats a single step; `--json FILE` keeps what it found"),
            _ => None,
        }
    }
}

impl Accept {
    /// Runs the steps and prints what they found.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn run(&self) -> Result<(), AcceptError> {
        match &self.child {
            Some(name) => self.step_here(name),
            None => self.all(),
        }
    }

    /// One step, in this process.
    fn step_here(&self, name: &str) -> Result<(), AcceptError> {
        let on = On::new(self.bounded(self.backend)?, self.data.clone());
        let Some(step) = STEPS.iter().find(|step| step.name == name) else { return Ok(()) };
        crate::stdout::print(&child::encode(&(step.run)(&on)).to_string()).map_err(AcceptError::Stdout)
    }

    fn all(&self) -> Result<(), AcceptError> {
        let (choice, device) = self.resolve()?;
        let backend = self.bounded(choice)?;
        let not_written = |error| AcceptError::Report(self.json.clone().unwrap_or_default(), error);
        // Before the steps, which take minutes.
        let report = self.json.as_ref().map(File::create).transpose().map_err(not_written)?;
        let executable = std::env::current_exe().map_err(AcceptError::Executable)?;
        let steps: Vec<&Step> =
            STEPS.iter().filter(|step| self.steps.is_empty() || self.steps.iter().any(|name| name == step.name)).collect();
        let longest: Duration = steps.iter().map(|step| self.limit.unwrap_or(step.limit)).sum();
        let mut run = Run::new(name_of(choice), device);
        say(&format!(
            "{}\n{} steps, {:.0} s at most, of a budget of {} s\n",
            run.heading(),
            steps.len(),
            longest.min(BUDGET).as_secs_f64().ceil(),
            BUDGET.as_secs(),
        ))?;
        if let Some([first, again]) = gpu::prepare(&backend).map_err(AcceptError::Backend)? {
            let (first, again) = (first.as_secs_f64(), again.as_secs_f64());
            say(&format!("the kernels start after {first:.1} s at first, and after {again:.1} s again\n"))?;
        }
        let mut arguments = vec!["--backend".to_owned(), name_of(choice).to_owned()];
        arguments.extend(self.messages_per_launch.map(|messages| format!("--messages-per-launch={messages}")));
        let start = Instant::now();
        for step in steps {
            let left = BUDGET.saturating_sub(start.elapsed());
            let limit = self.limit.unwrap_or(step.limit);
            let began = Instant::now();
            let answer = if left.is_zero() {
                Ok(step::Outcome::NotRun { reason: "the budget was used up before it".to_owned() })
            } else {
                child::run(&executable, step.name, &arguments, self.data.as_deref(), limit.min(left))
            };
            let row = Row::new(step.name, began.elapsed(), answer);
            say(&row.to_string())?;
            run.push(row);
        }
        say(&format!("\n{}", run.closing(start.elapsed())))?;
        if let Some(report) = report {
            run.write(report).map_err(not_written)?;
        }
        let failed = run.failed();
        if failed.is_empty() { Ok(()) } else { Err(AcceptError::Failed(failed)) }
    }

    /// A backend, with bounded launches where they are asked for.
    fn bounded(&self, choice: Choice) -> Result<Backend, AcceptError> {
        match (choice.backend(), self.messages_per_launch) {
            (backend, None) => Ok(backend),
            (Backend::Cuda(options), Some(messages)) => Ok(Backend::Cuda(options.messages_per_launch(messages))),
            #[cfg(feature = "sim")]
            (Backend::Sim(options), Some(messages)) => Ok(Backend::Sim(options.messages_per_launch(messages))),
            (_, Some(_)) => Err(AcceptError::NoLaunches(name_of(choice))),
        }
    }

    /// Which backend it is, which must start, and on what device it runs.
    fn resolve(&self) -> Result<(Choice, Option<String>), AcceptError> {
        let runtime = start(self.backend.backend(), Some(1)).map_err(AcceptError::Backend)?;
        let name = runtime.backend();
        let choice = Choice::from_str(name, false).map_err(|_| AcceptError::UnknownBackend(name))?;
        Ok((choice, gpu::device(&runtime)))
    }
}

/// As `--backend` takes it.
fn name_of(choice: Choice) -> &'static str {
    match choice {
        Choice::Auto => "auto",
        Choice::Cpu => "cpu",
        #[cfg(feature = "sim")]
        Choice::Sim => "sim",
        Choice::Cuda => "cuda",
    }
}

fn say(text: &str) -> Result<(), AcceptError> {
    crate::stdout::print(text).map_err(AcceptError::Stdout)
}
