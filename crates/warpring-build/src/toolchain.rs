//! The nightly toolchain that compiles kernels.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// Names the toolchain, where it is not to be `nightly`.
pub const VARIABLE: &str = "WARPRING_NIGHTLY";

/// A toolchain with all that is needed.
pub struct Toolchain {
    sysroot: PathBuf,
    /// What its compiler calls itself.
    pub version: String,
}

impl Toolchain {
    /// Finds it; nothing is installed.
    pub fn find() -> Result<Self, Error> {
        let toolchain = env::var(VARIABLE).ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "nightly".to_owned());
        let rustc = |arguments: &[&str]| -> Result<String, Error> {
            let mut command = Command::new("rustup");
            clean(&mut command);
            // A look must not install anything.
            let command = command.env("RUSTUP_AUTO_INSTALL", "0").args(["run", &toolchain, "rustc"]).args(arguments);
            let output = command.output().map_err(Error::NoRustup)?;
            if output.status.success() {
                return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
            }
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("rustup says nothing").trim_start_matches("error: ").to_owned();
            Err(Error::NoNightly { toolchain: toolchain.clone(), said })
        };
        let sysroot = PathBuf::from(rustc(&["--print", "sysroot"])?);
        let version = rustc(&["--version"])?;
        let found = Self { sysroot, version };
        if !found.cargo().is_file() {
            return Err(Error::NoCargo { toolchain });
        }
        if !found.library().join("core/src/lib.rs").is_file() {
            return Err(Error::NoRustSrc { toolchain });
        }
        Ok(found)
    }

    fn cargo(&self) -> PathBuf {
        self.tool("cargo")
    }

    fn tool(&self, name: &str) -> PathBuf {
        self.sysroot.join("bin").join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// The source of `core`.
    pub fn library(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust/library")
    }

    /// A command of this toolchain's cargo, free of what the cargo and the rustup around it have set.
    pub fn command(&self, dir: &Path) -> Command {
        let mut command = Command::new(self.cargo());
        clean(&mut command);
        command.env("RUSTC", self.tool("rustc")).current_dir(dir);
        command
    }
}

/// Takes away the variables by which an outer cargo or rustup would change the inner build. Those that say where packages come from
/// stay.
fn clean(command: &mut Command) {
    const STAY: &[&str] = &["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTRIES_", "CARGO_REGISTRY_", "CARGO_SOURCE_"];
    const GO: &[&str] =
        &["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTDOCFLAGS", "MAKEFLAGS", "MFLAGS", "TARGET", "HOST"];
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let cargos = (text.starts_with("CARGO") || text.starts_with("RUSTC_")) && !STAY.iter().any(|stay| text.starts_with(stay));
        if cargos || GO.contains(&text) {
            command.env_remove(&name);
        }
    }
}
