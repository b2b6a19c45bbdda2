//! `warpring ptx`: a kernel crate as PTX, checked; and whether a committed file is still what the source gives.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use warpring_build::ptxas::{Ptxas, PtxasError};
use warpring_build::{Compiled, DEFAULT_ARCH, Error, Kernels, slow_copy};

/// Compile a kernel crate to PTX, and check it
#[derive(Debug, clap::Args)]
pub struct Ptx {
    /// The kernel crate: the directory of its Cargo.toml
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The architecture to compile for; may stand several times [default: sm_70]
    #[arg(long, value_name = "ARCH")]
    arch: Vec<String>,
    /// Features of the crate, beside its default ones
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    features: Vec<String>,
    /// Whose lanes execute a handler together
    #[arg(long, value_enum, default_value_t)]
    team: Team,
    /// Write the PTX to this file
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<PathBuf>,
    /// Write nothing, but fail if this file is not the PTX of the source
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// Whose lanes execute a handler together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Team {
    /// Those of a warp
    #[default]
    Warp,
    /// Those of a whole block
    Block,
}

/// Why there is no PTX, or not the one that was expected.
#[derive(Debug)]
pub enum PtxError {
    /// One file cannot hold the text of several architectures.
    SeveralArchs,
    /// The crate does not become PTX.
    Build(Error),
    /// The assembler refuses it.
    Assemble(PtxasError),
    /// A file could not be read or written.
    File { path: PathBuf, error: io::Error },
    /// The committed file is not what the source gives.
    Differs { path: PathBuf, line: usize, committed: String, source: String, again: String },
    /// The report could not be printed.
    Stdout(io::Error),
}

impl fmt::Display for PtxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SeveralArchs => f.write_str("one file holds the PTX of one architecture, and several are named"),
            Self::Build(error) => error.fmt(f),
            Self::Assemble(error) => error.fmt(f),
            Self::File { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Differs { path, line, committed, source, .. } => {
                write!(f, "{} is not what the source gives, from line {line} on", path.display())?;
                write!(f, "\n  the file:   {committed}\n  the source: {source}")
            }
            Self::Stdout(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl std::error::Error for PtxError {}

impl PtxError {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::SeveralArchs => Some("name one `--arch` with `--out` or `--check`".to_owned()),
            Self::Build(error) => error.hint(),
            Self::Assemble(error) => error.hint().map(str::to_owned),
            Self::Differs { again, .. } => {
                Some(format!("{again}; another nightly than the one that made the file may be the cause, too"))
            }
            Self::File { .. } | Self::Stdout(_) => None,
        }
    }
}

impl Ptx {
    /// Compiles and checks; writes or compares where that is asked for.
    ///
    /// # Errors
    /// [`PtxError`].
    pub fn run(&self) -> Result<(), PtxError> {
        let archs = if self.arch.is_empty() { vec![DEFAULT_ARCH.to_owned()] } else { self.arch.clone() };
        if archs.len() > 1 && (self.out.is_some() || self.check.is_some()) {
            return Err(PtxError::SeveralArchs);
        }
        // One that is named and is not there is an error; that there is none is not.
        let ptxas = match Ptxas::find() {
            Ok(ptxas) => Some(ptxas),
            Err(PtxasError::Missing) => None,
            Err(error) => return Err(PtxError::Assemble(error)),
        };
        for arch in archs {
            let mut kernels = Kernels::new(&self.dir).arch(&arch).features(&self.features);
            if self.team == Team::Block {
                kernels = kernels.block_teams();
            }
            let compiled = kernels.compile().map_err(PtxError::Build)?;
            if let Some(file) = &self.check {
                self.compare(file, &arch, &compiled)?;
            }
            if let Some(file) = &self.out {
                fs::write(file, &compiled.text).map_err(|error| PtxError::File { path: file.clone(), error })?;
            }
            let text = report(&arch, &compiled, ptxas.as_ref())?;
            crate::stdout::print(&text).map_err(PtxError::Stdout)?;
        }
        Ok(())
    }

    fn compare(&self, file: &Path, arch: &str, compiled: &Compiled) -> Result<(), PtxError> {
        let committed = fs::read_to_string(file).map_err(|error| PtxError::File { path: file.to_owned(), error })?;
        let Some((line, there, here)) = difference(&committed, &compiled.text) else { return Ok(()) };
        let mut again = format!("warpring ptx {} --arch {arch}", self.dir.display());
        if !self.features.is_empty() {
            again.push_str(&format!(" --features {}", self.features.join(",")));
        }
        again.push_str(&format!(" --out {}", file.display()));
        Err(PtxError::Differs { path: file.to_owned(), line, committed: there, source: here, again })
    }
}

/// What the module holds, and what an architecture makes of it where an assembler is at hand.
fn report(arch: &str, compiled: &Compiled, ptxas: Option<&Ptxas>) -> Result<String, PtxError> {
    let held = &compiled.report;
    let mut lines = vec![
        format!("{} for {arch}, by {}", compiled.package, held.compiler),
        format!("  entries    {}", held.entries.join(", ")),
        format!("  functions  {}", held.functions),
        format!("  lines      {}", held.lines),
    ];
    lines.extend(held.slow.iter().map(|function| format!("  slow       {function} {}", slow_copy())));
    if let Some(ptxas) = ptxas {
        let path = compiled.scratch.join(format!("{}.{arch}.ptx", compiled.package));
        fs::write(&path, &compiled.text).map_err(|error| PtxError::File { path: path.clone(), error })?;
        let usages = ptxas.assemble(&path, arch).map_err(PtxError::Assemble)?;
        let entries = usages.iter().filter(|usage| usage.registers.is_some());
        lines.extend(entries.map(|usage| format!("  ptxas      {usage}")));
    } else {
        lines.push("  ptxas      not found: nothing was assembled".to_owned());
    }
    Ok(lines.join("\n"))
}

/// The first line in which two texts differ: its number and what each has there.
fn difference(committed: &str, source: &str) -> Option<(usize, String, String)> {
    if committed == source {
        return None;
    }
    let same = committed.lines().zip(source.lines()).take_while(|(a, b)| a == b).count();
    let at = |text: &str| text.lines().nth(same).unwrap_or("(ends)").trim().to_owned();
    Some((same + 1, at(committed), at(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert_eq!(difference("a\nb\n", "a\n  c\n"), Some((2, "b".to_owned(), "c".to_owned())));
        assert_eq!(difference("a\n", "a\nb\n"), Some((2, "(ends)".to_owned(), "b".to_owned())));
        // Nothing but the last newline.
        assert_eq!(difference("a", "a\n"), Some((2, "(ends)".to_owned(), "(ends)".to_owned())));
    }
}
