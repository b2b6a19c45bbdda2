//! Compiles a kernel crate to PTX, by rustc's own `nvptx64-nvidia-cuda` target, and checks what comes out.
//!
//! The kernel crate stays a library for stable Rust. A generated *entry crate* depends on it, holds the nightly features and the
//! entries of the module, and is compiled by a nightly toolchain inside the build:
//! `rustup toolchain install nightly --component rust-src`. The variable `WARPRING_NIGHTLY` names another toolchain.
//!
//! The build script of a kernel crate:
//!
//! ```no_run
//! // build.rs
//! fn main() -> Result<(), warpring_build::Error> {
//!     warpring_build::kernels()?.arch("sm_80").build()?;
//!     Ok(())
//! }
//! ```
//!
//! and in its `src/lib.rs`, for a package called `my-kernels`:
//!
//! ```ignore
//! warpring::export! {
//!     ptx = include_str!(concat!(env!("OUT_DIR"), "/my-kernels.ptx"));
//!     Account { Deposit => Balance }
//! }
//! ```
//!
//! The text is the same for the same source, toolchain and architecture, wherever the source lies, so it may as well be committed.
//! [`ptxas`] tells what an architecture makes of it, and [`budget`] keeps that within limits.

mod canonical;
mod check;
mod entry;
mod error;
mod metadata;
mod ptx;
mod toolchain;

pub mod budget;
pub mod ptxas;

pub use check::{Finding, Rule, check};
pub use error::Error;

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::metadata::Crate;
use crate::ptx::Ptx;
use crate::toolchain::Toolchain;

/// The target that rustc compiles for.
const TARGET: &str = "nvptx64-nvidia-cuda";
/// The architecture that is compiled for where none is named: the oldest that has what the worker loop needs. Its PTX runs on all
/// later ones.
pub const DEFAULT_ARCH: &str = "sm_70";
/// Most registers of a lane: sixteen warps of so many fill a multiprocessor.
pub const REGISTERS: u32 = 128;

/// A kernel crate, and how it is to be compiled.
#[derive(Clone, Debug)]
pub struct Kernels {
    dir: PathBuf,
    arch: String,
    features: Vec<String>,
    out: Option<PathBuf>,
    scratch: Option<PathBuf>,
    block_teams: bool,
}

/// PTX that was compiled and passed the checks.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The package.
    pub package: String,
    /// The module.
    pub text: String,
    /// What is in it.
    pub report: Report,
    /// Where the entry crate and all that was compiled for it are kept.
    pub scratch: PathBuf,
}

/// PTX that was compiled, passed the checks and was written.
#[derive(Clone, Debug)]
pub struct Built {
    /// The file. In the device's own build of a crate that builds itself it is not written, and nothing may read it.
    pub ptx: PathBuf,
    /// What is in it.
    pub report: Report,
}

/// What a module holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The names of its entries.
    pub entries: Vec<String>,
    /// Functions beside the entries.
    pub functions: usize,
    /// Lines of text.
    pub lines: usize,
    /// What compiled it.
    pub compiler: String,
    /// Functions of the kernel crate that copy byte by byte: see [`slow_copy`].
    pub slow: Vec<String>,
}

/// The crate whose build script this is.
///
/// # Errors
/// [`Error::NoVariable`] outside of a build script.
pub fn kernels() -> Result<Kernels, Error> {
    let dir = env::var_os("CARGO_MANIFEST_DIR").ok_or(Error::NoVariable("CARGO_MANIFEST_DIR"))?;
    Ok(Kernels::new(PathBuf::from(dir)))
}

impl Kernels {
    /// The kernel crate in this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            arch: DEFAULT_ARCH.to_owned(),
            features: Vec::new(),
            out: None,
            scratch: None,
            block_teams: false,
        }
    }

    /// Compiles for this architecture; [`DEFAULT_ARCH`] otherwise. The PTX runs on it and on later ones.
    #[must_use]
    pub fn arch(mut self, arch: impl Into<String>) -> Self {
        self.arch = arch.into();
        self
    }

    /// Features of the kernel crate, beside its default ones.
    #[must_use]
    pub fn features<F: Into<String>>(mut self, features: impl IntoIterator<Item = F>) -> Self {
        self.features = features.into_iter().map(Into::into).collect();
        self
    }

    /// The file to write; `$OUT_DIR/<package>.ptx` otherwise, or in the scratch directory where there is no `OUT_DIR`.
    #[must_use]
    pub fn out(mut self, path: impl Into<PathBuf>) -> Self {
        self.out = Some(path.into());
        self
    }

    /// Where the entry crate and all that is compiled for it are kept; below `$OUT_DIR` otherwise, or below the target directory of
    /// the crate's workspace. Builds that share one wait for each other, and compile `core` once for each architecture.
    #[must_use]
    pub fn scratch(mut self, dir: impl Into<PathBuf>) -> Self {
        self.scratch = Some(dir.into());
        self
    }

    /// Compiles, checks and writes the file. In a build script, cargo is told to run it again when a source has changed. When cargo
    /// builds the same crate for the device, inside of this call, it returns at once.
    ///
    /// # Errors
    /// [`Error`].
    pub fn build(&self) -> Result<Built, Error> {
        if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "nvptx64") {
            return Ok(Built { ptx: self.out.clone().unwrap_or_default(), report: Report::default() });
        }
        let compiled = self.compile()?;
        let ptx = match (&self.out, env::var_os("OUT_DIR")) {
            (Some(out), _) => out.clone(),
            (None, Some(dir)) if in_build_script() => PathBuf::from(dir).join(format!("{}.ptx", compiled.package)),
            (None, _) => compiled.scratch.join(format!("{}.ptx", compiled.package)),
        };
        write(&ptx, &compiled.text)?;
        Ok(Built { ptx, report: compiled.report })
    }

    /// With teams of a block: the lanes of a whole block execute a handler together, instead of those of a warp.
    #[must_use]
    pub fn block_teams(mut self) -> Self {
        self.block_teams = true;
        self
    }

    /// Compiles and checks.
    ///
    /// # Errors
    /// [`Error`].
    pub fn compile(&self) -> Result<Compiled, Error> {
        if !is_arch(&self.arch) {
            return Err(Error::Arch(self.arch.clone()));
        }
        let toolchain = Toolchain::find()?;
        let krate = metadata::read(&toolchain, &self.dir, &self.features)?;
        if in_build_script() {
            println!("cargo::rerun-if-env-changed={}", toolchain::VARIABLE);
            let sources = krate.local.iter().filter(|package| package.source.is_none()).flat_map(|package| &package.sources);
            let lock = krate.workspace.join("Cargo.lock");
            let lock = [lock].into_iter().filter(|lock| lock.is_file());
            sources.cloned().chain(lock).for_each(|path| println!("cargo::rerun-if-changed={}", path.display()));
        }
        let scratch = self.scratch_below(&krate.target);
        let inner = Inner { kernels: self, toolchain, krate, scratch };
        inner.compile()
    }

    fn scratch_below(&self, target: &Path) -> PathBuf {
        match (&self.scratch, env::var_os("OUT_DIR")) {
            (Some(scratch), _) => scratch.clone(),
            (None, Some(dir)) if in_build_script() => PathBuf::from(dir).join("warpring"),
            (None, _) => match env::var_os("CARGO_TARGET_DIR") {
                Some(dir) => env::current_dir().unwrap_or_default().join(dir).join("warpring"),
                None => target.join("warpring"),
            },
        }
    }
}

/// Cargo sets what the target is like for build scripts alone.
fn in_build_script() -> bool {
    env::var_os("CARGO_CFG_TARGET_ARCH").is_some() && env::var_os("OUT_DIR").is_some()
}

/// `sm_90`, `sm_90a`.
fn is_arch(name: &str) -> bool {
    let Some(number) = name.strip_prefix("sm_") else { return false };
    let digits = number.trim_end_matches(|c: char| c.is_ascii_lowercase());
    (2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && number.len() <= digits.len() + 1
}

/// What there is to say of a function that copies byte by byte.
pub fn slow_copy() -> &'static str {
    "copies a value of more than 128 bytes, which LLVM does byte by byte on the GPU: send it in parts, or use it where it is, in an \
     `async move` block"
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let io = |error| Error::Io { path: path.to_owned(), error };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(io)?;
    }
    fs::write(path, text).map_err(io)
}

/// A compilation.
struct Inner<'a> {
    kernels: &'a Kernels,
    toolchain: Toolchain,
    krate: Crate,
    scratch: PathBuf,
}

impl Inner<'_> {
    fn compile(&self) -> Result<Compiled, Error> {
        let package = self.krate.package.name.clone();
        let io = |path: &Path| {
            let path = path.to_owned();
            |error| Error::Io { path, error }
        };
        // One compilation at a time writes in here.
        fs::create_dir_all(&self.scratch).map_err(io(&self.scratch))?;
        let lock = self.scratch.join("lock");
        let lock_file = File::create(&lock).map_err(io(&lock))?;
        lock_file.lock().map_err(io(&lock))?;

        let text = match self.rustc(false)? {
            Ok(text) => canonical::with_registers(&canonical::canonical(&text), REGISTERS),
            Err(said) => return Err(self.refused(said)),
        };
        // A user's large message is slow to copy, and right all the same; in the worker loop it is neither meant nor bearable.
        let (slow, mut findings): (Vec<_>, Vec<_>) = check(&text, &self.krate.library)
            .into_iter()
            .partition(|found| found.rule == Rule::ByteCopy && check::is_about(found, &self.krate.library));
        if !findings.is_empty() {
            self.find_users(&mut findings);
            let ptx = self.scratch.join(format!("{package}.refused.ptx"));
            write(&ptx, &text)?;
            return Err(Error::Checks { package, findings, ptx });
        }
        let ptx = Ptx::read(&text);
        let report = Report {
            entries: ptx.entries().map(str::to_owned).collect(),
            functions: ptx.functions.iter().filter(|function| !function.entry).count(),
            lines: ptx.lines.len(),
            compiler: self.toolchain.version.clone(),
            slow: slow.iter().filter_map(|found| found.function.clone()).collect::<BTreeSet<_>>().into_iter().collect(),
        };
        if in_build_script() {
            report.slow.iter().for_each(|function| println!("cargo::warning={function}: {}", slow_copy()));
        }
        Ok(Compiled { package, text, report, scratch: self.scratch.clone() })
    }

    /// rustc refuses the crate. If that is for lack of `alloc`, the functions that allocate are looked for.
    fn refused(&self, said: String) -> Error {
        let package = self.krate.package.name.clone();
        if said.contains("can't find crate for `alloc`")
            && let Ok(Ok(text)) = self.rustc(true)
        {
            let findings = check(&text, &self.krate.library);
            let allocation = findings.into_iter().find(|finding| finding.what == entry::ALLOCATION);
            return Error::Allocates { package, functions: allocation.map_or(Vec::new(), |found| found.users), said };
        }
        // Without `std` nothing else is found either, and hundreds of lines say so.
        let said = match said.split_once("\n\n") {
            Some((first, _)) if first.contains("can't find crate for `std`") => first.to_owned(),
            _ => said,
        };
        Error::Compile { package, said }
    }

    /// What breaks a rule may be inlined into an entry. Compiled once more, with little inlined, the user's functions have names.
    fn find_users(&self, findings: &mut [Finding]) {
        let library = &self.krate.library;
        if findings.iter().all(|finding| check::names_crate(finding, library)) {
            return;
        }
        let Ok(Ok(text)) = self.rustc(true) else { return };
        let named: Vec<Finding> = check(&text, library).into_iter().filter(|found| check::names_crate(found, library)).collect();
        for finding in findings.iter_mut().filter(|finding| !check::names_crate(finding, library)) {
            let same =
                |found: &&Finding| found.rule == finding.rule && (found.rule != Rule::Extern || found.what == finding.what);
            let functions = named.iter().filter(same).flat_map(|found| found.function.iter().chain(&found.users));
            let functions: BTreeSet<String> = functions.cloned().collect();
            if !functions.is_empty() {
                finding.users = functions.into_iter().collect();
            }
        }
    }

    /// Runs the compiler: the text, or what it said. In a search, `alloc` is there, and little is inlined.
    fn rustc(&self, search: bool) -> Result<Result<String, String>, Error> {
        let dir = self.scratch.join(if search { "search" } else { "entry" });
        let manifest = dir.join("Cargo.toml");
        write(&manifest, &entry::manifest(&self.krate, &self.kernels.features))?;
        // Written each time, so that cargo compiles it each time, and the text is that of this call.
        write(&dir.join("lib.rs"), &entry::source(search))?;
        // The versions that the host's build uses.
        let lock = self.krate.workspace.join("Cargo.lock");
        if lock.is_file() {
            let copy = dir.join("Cargo.lock");
            fs::copy(&lock, &copy).map_err(|error| Error::Io { path: copy, error })?;
        }
        let text = dir.join("module.s");
        let mut flags = vec![format!("-Ctarget-cpu={}", self.kernels.arch), "-Clinker=true".to_owned()];
        if self.kernels.block_teams {
            flags.extend(["--cfg".to_owned(), "warpring_team=\"block\"".to_owned()]);
        }
        flags.push(entry::remap(&self.toolchain.library(), ""));
        flags.extend(self.krate.registries.iter().map(|dir| entry::remap(dir, "")));
        let mut command = self.toolchain.command(&self.krate.package.dir);
        command
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .args(["rustc", "--quiet", "--color", "never", "--release", "--lib", "--target", TARGET])
            .arg(if search { "-Zbuild-std=core,alloc" } else { "-Zbuild-std=core" })
            .arg("--manifest-path")
            .arg(&manifest)
            .arg("--target-dir")
            // Cargo compiles all again in a directory that saw other flags.
            .arg(self.scratch.join(format!("{}{}", self.kernels.arch, if self.kernels.block_teams { "-block" } else { "" })))
            .arg("--")
            .arg(format!("--emit=asm={}", text.display()))
            .arg(format!("--remap-path-prefix={}=warpring-entry", dir.display()));
        if search {
            command.args(["-Cllvm-args=-inline-threshold=-1000000", "-Cllvm-args=-inlinehint-threshold=-1000000"]);
        }
        let output = command.output().map_err(|error| Error::Io { path: self.scratch.clone(), error })?;
        if !output.status.success() {
            return Ok(Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()));
        }
        fs::read_to_string(&text).map(Ok).map_err(|error| Error::Io { path: text, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_told_from_other_words() {
        for good in ["sm_70", "sm_100", "sm_90a", "sm_120f"] {
            assert!(is_arch(good), "{good}");
        }
        for bad in ["", "sm_", "sm_7", "sm_7000", "90", "sm_90 -C x", "sm_90ab", "compute_90"] {
            assert!(!is_arch(bad), "{bad}");
            assert!(matches!(Kernels::new("nowhere").arch(bad).compile(), Err(Error::Arch(name)) if name == bad));
        }
    }
}
