//! `warpring bench`: the framework's figures on this machine, each against a floor measured in the same run.

use std::fmt;
use std::path::{Path, PathBuf};

use warpring::Backend;
use warpring_bench::ours::{Failed, SUBJECTS, Suite};
use warpring_bench::{Effort, Figure, Floor, Report, Stage, TooFewCpus};

/// Measure this machine's floors and the framework's figures
#[derive(clap::Args)]
pub struct Bench {
    /// Which figures
    #[arg(value_enum, default_value_t)]
    suite: Choice,
    /// What runs the actors
    #[arg(long, value_enum, default_value_t)]
    backend: BackendChoice,
    /// Write the report, raw histograms included, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A smoke test: every exchange takes place and is checked, but the figures are not worth keeping
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Choice {
    /// Round trips
    Ask,
    /// Streams from the host, one way
    Tell,
    /// Between workers
    Mesh,
    /// Many actors
    Actors,
    /// Snapshots and restores
    Snapshots,
    /// All of them
    #[default]
    All,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum BackendChoice {
    /// The best that this build and this machine have
    #[default]
    Auto,
    /// CPU threads
    Cpu,
    /// The warp simulator
    Sim,
    /// An NVIDIA GPU
    Cuda,
}

/// Why there are no figures.
#[derive(Debug)]
pub enum BenchError {
    /// Its time is virtual.
    Simulator,
    /// The figures of a GPU are those of `accept`.
    Gpu,
    /// Floors need two cpus.
    Cpus(TooFewCpus),
    /// A figure could not be measured.
    Figure(Failed),
    /// The report could not be written.
    Report(PathBuf, std::io::Error),
    /// The table could not be printed.
    Stdout(std::io::Error),
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simulator => f.write_str("the simulator has a virtual clock: its figures would say nothing about this machine"),
            Self::Gpu => f.write_str("these figures are of CPU threads, beside floors of CPU threads"),
            Self::Cpus(error) => error.fmt(f),
            Self::Figure(error) => error.fmt(f),
            Self::Report(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Stdout(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl BenchError {
    /// What to do about it, where something can be done.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Simulator => Some("use `--backend cpu`"),
            Self::Gpu => Some("`warpring accept --backend cuda --step figures` measures a GPU, beside its own floors"),
            _ => None,
        }
    }
}

impl Bench {
    /// Measures and prints.
    ///
    /// # Errors
    /// [`BenchError`].
    pub fn run(self) -> Result<(), BenchError> {
        let backend = match self.backend {
            BackendChoice::Auto => Backend::Auto,
            BackendChoice::Cpu => Backend::Cpu,
            BackendChoice::Sim => return Err(BenchError::Simulator),
            BackendChoice::Cuda => return Err(BenchError::Gpu),
        };
        let stage = Stage::new(if self.quick { Effort::quick() } else { Effort::full() }).map_err(BenchError::Cpus)?;
        let mut report = Report::new(&stage.clock);
        for floor in Floor::ALL {
            eprintln!("{}", floor.name());
            report.push(Figure::alone(floor.name(), &stage.floor_alone(floor)));
        }
        for subject in SUBJECTS.iter().filter(|subject| self.suite.has(subject.suite)) {
            eprintln!("{}", subject.name);
            report.push(subject.measure(&stage, &backend, self.quick).map_err(BenchError::Figure)?);
        }
        report.print(&mut std::io::stdout().lock()).map_err(BenchError::Stdout)?;
        match &self.json {
            Some(path) => write(&report, path),
            None => Ok(()),
        }
    }
}

fn write(report: &Report, path: &Path) -> Result<(), BenchError> {
    report.write_json(path).map_err(|error| BenchError::Report(path.to_owned(), error))
}

impl Choice {
    fn has(self, suite: Suite) -> bool {
        match self {
            Self::Ask => suite == Suite::Ask,
            Self::Tell => suite == Suite::Tell,
            Self::Mesh => suite == Suite::Mesh,
            Self::Actors => suite == Suite::Actors,
            Self::Snapshots => suite == Suite::Snapshots,
            Self::All => true,
        }
    }
}
