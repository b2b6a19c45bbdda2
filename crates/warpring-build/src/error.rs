//! Why there is no PTX, and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::check::Finding;

/// Why a kernel crate did not become PTX. `Debug` prints it as `Display` does, with the hint, so that a build script's `main` may
/// return it.
#[non_exhaustive]
pub enum Error {
    /// `rustup` could not be started.
    NoRustup(io::Error),
    /// The nightly toolchain is not installed, or cannot say where it lies.
    NoNightly {
        /// Its name.
        toolchain: String,
        /// What rustup said.
        said: String,
    },
    /// The toolchain has no `cargo`.
    NoCargo {
        /// Its name.
        toolchain: String,
    },
    /// The toolchain has no source of `core`, which is compiled for the GPU.
    NoRustSrc {
        /// Its name.
        toolchain: String,
    },
    /// A variable of cargo that a build script relies on is not set.
    NoVariable(&'static str),
    /// `cargo metadata` did not read the crate.
    Metadata {
        /// Where it was looked for.
        dir: PathBuf,
        /// What cargo said.
        said: String,
    },
    /// The directory holds no package with a library.
    NoLibrary {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// The package does not depend on `warpring`.
    NoWarpring {
        /// Its name.
        package: String,
    },
    /// The architecture has no such name.
    Arch(String),
    /// rustc refuses the crate for the GPU.
    Compile {
        /// The package.
        package: String,
        /// What rustc said.
        said: String,
    },
    /// Handlers allocate.
    Allocates {
        /// The package.
        package: String,
        /// The functions that allocate.
        functions: Vec<String>,
        /// What rustc said.
        said: String,
    },
    /// The PTX breaks rules.
    Checks {
        /// The package.
        package: String,
        /// Where, and which.
        findings: Vec<Finding>,
        /// The text, so that the lines can be looked up.
        ptx: PathBuf,
    },
    /// A file could not be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

const NO_STD: &str = "kernels are `no_std` on the GPU: no `std`, no thread-locals, no allocation";

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRustup(error) => {
                write!(f, "`rustup` cannot be started, and kernels are compiled by a nightly toolchain: {error}")
            }
            Self::NoNightly { toolchain, said } => write!(f, "the toolchain `{toolchain}` is not there: {said}"),
            Self::NoCargo { toolchain } => write!(f, "the toolchain `{toolchain}` has no cargo"),
            Self::NoRustSrc { toolchain } => {
                write!(f, "the toolchain `{toolchain}` has no rust-src, and `core` is compiled from it for the GPU")
            }
            Self::NoVariable(name) => write!(f, "{name} is not set: this is no build script"),
            Self::Metadata { dir, said } => write!(f, "{}: cargo cannot read this package: {said}", dir.display()),
            Self::NoLibrary { dir } => write!(f, "{}: no package with a library here", dir.display()),
            Self::NoWarpring { package } => write!(f, "`{package}` does not depend on `warpring`"),
            Self::Arch(name) => write!(f, "`{name}` is no architecture of a GPU"),
            Self::Compile { package, said } => {
                write!(f, "`{package}` does not compile for the GPU")?;
                if lacks_std(said) {
                    write!(f, ": {NO_STD}")?;
                }
                write!(f, "\n{said}")
            }
            Self::Allocates { package, functions, said } => {
                write!(f, "`{package}` allocates, and there is no allocator on the GPU: {NO_STD}")?;
                functions.iter().try_for_each(|function| write!(f, "\n    `{function}` allocates"))?;
                write!(f, "\n{said}")
            }
            Self::Checks { package, findings, ptx } => {
                let places = if findings.len() == 1 { "a place".to_owned() } else { format!("{} places", findings.len()) };
                write!(f, "the PTX of `{package}` has {places} that cannot stay ({}):", ptx.display())?;
                findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
            }
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        self.hint().map_or(Ok(()), |hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Error {}

impl Error {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRustup(_) => Some("install rustup, then `rustup toolchain install nightly --component rust-src`".to_owned()),
            Self::NoNightly { toolchain, .. } => Some(format!("rustup toolchain install {toolchain} --component rust-src")),
            Self::NoCargo { toolchain } => Some(format!("rustup component add cargo --toolchain {toolchain}")),
            Self::NoRustSrc { toolchain } => Some(format!("rustup component add rust-src --toolchain {toolchain}")),
            Self::NoVariable(_) => Some("call it from a build script, or name the crate with `Kernels::new`".to_owned()),
            Self::Metadata { said, .. } if said.contains("feature") => None,
            Self::Metadata { .. } | Self::NoLibrary { .. } => {
                Some("name the directory of the kernel crate's Cargo.toml".to_owned())
            }
            Self::NoWarpring { .. } => Some("a kernel crate names `warpring` in its [dependencies]".to_owned()),
            Self::Arch(_) => Some("architectures are called sm_70, sm_80, sm_90, ..".to_owned()),
            Self::Compile { said, .. } if said.contains("__WarpringModule") => {
                Some("the root of the kernel crate exports its kernels: `warpring::export! { .. }`".to_owned())
            }
            Self::Compile { said, .. } if said.contains("can't find crate for `std`") => {
                Some("put `#![no_std]` at the top of the kernel crate, and take dependencies without their `std`".to_owned())
            }
            Self::Compile { said, .. } if lacks_std(said) => {
                Some("use `core`, and what belongs to the host behind `#[cfg(not(target_arch = \"nvptx64\"))]`".to_owned())
            }
            Self::Allocates { .. } => Some("keep state in `Resident` fields of fixed size".to_owned()),
            Self::Checks { findings, .. } => {
                let mut cures: Vec<&str> = Vec::new();
                for finding in findings {
                    if !cures.contains(&finding.rule.cure()) {
                        cures.push(finding.rule.cure());
                    }
                }
                Some(cures.join("; "))
            }
            Self::Compile { .. } | Self::Io { .. } => None,
        }
    }
}

/// Whether rustc misses something of `std`.
fn lacks_std(said: &str) -> bool {
    ["`std`", "`alloc`", "thread_local", "`println`", "`vec`", "`format`"].iter().any(|name| said.contains(name))
}
