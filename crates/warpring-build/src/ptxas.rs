//! NVIDIA's assembler: what an architecture makes of a module. It comes with the CUDA toolkit, and nothing needs it at run time.

use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the assembler, where it is not on the path.
pub const VARIABLE: &str = "WARPRING_PTXAS";

/// The assembler.
#[derive(Clone, Debug)]
pub struct Ptxas {
    path: PathBuf,
}

/// What a function needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its symbol.
    pub name: String,
    /// Registers of a thread; ptxas tells them for entries.
    pub registers: Option<u32>,
    /// Bytes of stack for a thread: of the function, or of all that it calls, where ptxas tells that.
    pub stack_bytes: u32,
    /// Bytes of spilled registers that are stored.
    pub spill_store_bytes: u32,
    /// Bytes of spilled registers that are loaded.
    pub spill_load_bytes: u32,
}

impl Usage {
    /// Spilled bytes, stored and loaded.
    pub const fn spill_bytes(&self) -> u32 {
        self.spill_store_bytes.saturating_add(self.spill_load_bytes)
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", crate::check::demangled(&self.name))?;
        if let Some(registers) = self.registers {
            write!(f, "{registers} registers, ")?;
        }
        let Self { stack_bytes, spill_store_bytes, spill_load_bytes, .. } = self;
        write!(f, "{stack_bytes} bytes of stack, {spill_store_bytes} bytes of spill stores, {spill_load_bytes} of loads")
    }
}

/// Why nothing was assembled.
#[derive(Debug)]
#[non_exhaustive]
pub enum PtxasError {
    /// There is none.
    Missing,
    /// The variable [`VARIABLE`] names no file.
    NoFile(PathBuf),
    /// It could not be started.
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It refuses the module.
    Refused {
        /// For this architecture.
        arch: String,
        /// What it said.
        said: String,
    },
    /// It told no figures, or in a form that is not known here.
    Unreadable {
        /// What it said.
        said: String,
    },
}

impl fmt::Display for PtxasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there is no `ptxas`"),
            Self::NoFile(path) => write!(f, "{VARIABLE} names {}, which is no file", path.display()),
            Self::Start { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Refused { arch, said } => write!(f, "ptxas refuses the module for {arch}: {said}"),
            Self::Unreadable { said } => write!(f, "ptxas tells no figures: {said}"),
        }
    }
}

impl std::error::Error for PtxasError {}

impl PtxasError {
    /// What to do about it, where something can be done.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::NoFile(_) => {
                Some("install the CUDA toolkit, or name the program in WARPRING_PTXAS; only this check needs it")
            }
            Self::Refused { .. } => Some("a new architecture needs a new ptxas"),
            Self::Start { .. } | Self::Unreadable { .. } => None,
        }
    }
}

impl Ptxas {
    /// Looks in [`VARIABLE`], on the path, and in the toolkit that `CUDA_HOME` or `CUDA_PATH` names.
    ///
    /// # Errors
    /// [`PtxasError::Missing`], [`PtxasError::NoFile`].
    pub fn find() -> Result<Self, PtxasError> {
        if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            let path = PathBuf::from(path);
            return if path.is_file() { Ok(Self { path }) } else { Err(PtxasError::NoFile(path)) };
        }
        let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
        let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os).map(|home| PathBuf::from(home).join("bin"));
        let name = format!("ptxas{}", env::consts::EXE_SUFFIX);
        let mut found = on_path.into_iter().chain(toolkits).map(|dir| dir.join(&name)).filter(|path| path.is_file());
        found.next().map(Self::at).ok_or(PtxasError::Missing)
    }

    /// The program in this file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Assembles a file for an architecture, keeps nothing of the result, and tells what each function needs.
    ///
    /// # Errors
    /// [`PtxasError`].
    pub fn assemble(&self, ptx: &Path, arch: &str) -> Result<Vec<Usage>, PtxasError> {
        let null = if cfg!(windows) { "NUL" } else { "/dev/null" };
        let mut command = Command::new(&self.path);
        command.arg("-v").arg(format!("-arch={arch}")).arg(ptx).args(["-o", null]);
        let output = command.output().map_err(|error| PtxasError::Start { path: self.path.clone(), error })?;
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        if !output.status.success() {
            return Err(PtxasError::Refused { arch: arch.to_owned(), said: said.trim().to_owned() });
        }
        parse(&said).ok_or(PtxasError::Unreadable { said })
    }
}

/// The figures in what `ptxas -v` says; `None` if an entry has none.
pub fn parse(said: &str) -> Option<Vec<Usage>> {
    let mut all: Vec<Usage> = Vec::new();
    // The functions that an entry calls come between it and the next one; the line of registers is the entry's.
    let (mut entry, mut current) = (None, None);
    for line in said.lines() {
        let line = line.strip_prefix("ptxas info").unwrap_or(line).trim_start_matches([' ', ':', '\t']);
        if let Some(rest) = line.strip_prefix("Compiling entry function '") {
            entry = Some(usage_of(&mut all, rest.split('\'').next()?));
        } else if let Some(name) = line.strip_prefix("Function properties for ") {
            current = Some(usage_of(&mut all, name.trim()));
        } else if line.contains("bytes stack frame") {
            let usage = &mut all[current?];
            for part in line.split(',') {
                let bytes = first_number(part)?;
                match part {
                    _ if part.contains("stack frame") => usage.stack_bytes = usage.stack_bytes.max(bytes),
                    _ if part.contains("spill stores") => usage.spill_store_bytes = bytes,
                    _ if part.contains("spill loads") => usage.spill_load_bytes = bytes,
                    _ => {}
                }
            }
        } else if line.starts_with("Used ") {
            let usage = &mut all[entry?];
            for part in line.split(',') {
                let number = first_number(part)?;
                match part {
                    _ if part.contains(" registers") => usage.registers = Some(number),
                    _ if part.contains("cumulative stack") => usage.stack_bytes = usage.stack_bytes.max(number),
                    _ => {}
                }
            }
        }
    }
    all.iter().any(|usage| usage.registers.is_some()).then_some(all)
}

fn usage_of(all: &mut Vec<Usage>, name: &str) -> usize {
    all.iter().position(|usage| usage.name == name).unwrap_or_else(|| {
        all.push(Usage { name: name.to_owned(), ..Usage::default() });
        all.len() - 1
    })
}

fn first_number(text: &str) -> Option<u32> {
    text.split_whitespace().find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
ptxas info    : 16577 bytes gmem, 40 bytes cmem[4]
ptxas info    : Compiling entry function 'warpring_run' for 'sm_70'
ptxas info    : Function properties for warpring_run
    1120 bytes stack frame, 1276 bytes spill stores, 1318 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers, 1136 bytes cumulative stack size, 360 bytes cmem[0], 152 bytes cmem[2]
ptxas info    : Compile time = 1287.826 ms
ptxas info    : Function properties for _RNvNtCsbSE61zFgCyu_4core9panicking9panic_fmt
    8 bytes stack frame, 0 bytes spill stores, 4 bytes spill loads
ptxas info    : Compiling entry function 'warpring_build' for 'sm_70'
ptxas info    : Function properties for warpring_build
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 4 registers, used 0 barriers, 360 bytes cmem[0]
";

    #[test]
    fn figures_are_read() {
        let all = parse(SAID).unwrap();
        let figures: Vec<_> = all.iter().map(|u| (u.registers, u.stack_bytes, u.spill_store_bytes, u.spill_load_bytes)).collect();
        assert_eq!(figures, [(Some(255), 1136, 1276, 1318), (None, 8, 0, 4), (Some(4), 0, 0, 0)]);
        assert_eq!(all[0].spill_bytes(), 2594);
        assert_eq!(all[1].to_string(), "core::panicking::panic_fmt: 8 bytes of stack, 0 bytes of spill stores, 4 of loads");
    }

    #[test]
    fn what_has_no_figures_is_not_read_as_zeros() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("ptxas info : Compiling entry function 'a' for 'sm_70'"), None);
        assert_eq!(parse("ptxas info : Used 4 registers"), None);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let missing = Ptxas::at("/nowhere/ptxas").assemble(Path::new("x.ptx"), "sm_70");
        assert!(matches!(missing, Err(PtxasError::Start { .. })), "{missing:?}");
    }
}
