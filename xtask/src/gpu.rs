//! `cargo xtask gpu`: `warpring accept` on this machine's GPU, with its report in `bench/results`; where there is none, it says so.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use warpring::{CudaError, DeviceInfo};

/// Runs the release build on the first device. A machine without one is no failure: it prints `NOT RUN` with the reason, and the exit
/// code is 0; so whoever counts has to look for the line.
pub fn accept() -> ExitCode {
    let device = match device() {
        Ok(device) => device,
        Err(why) => {
            println!("NOT RUN  gpu: not run on a GPU: {why}");
            return ExitCode::SUCCESS;
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let report = match today() {
        Ok(date) => report(root, &date, &device.name),
        Err(why) => return failed(&format!("the date: {why}")),
    };
    if let Some(dir) = report.parent()
        && let Err(error) = std::fs::create_dir_all(dir)
    {
        return failed(&format!("{}: {error}", dir.display()));
    }
    println!("{device}, report in {}", report.display());
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--release", "--quiet", "-p", "warpring-cli", "--", "accept", "--backend", "cuda", "--json"]).arg(&report);
    let data = root.join("../shared/data");
    if data.is_dir() {
        cargo.arg("--data").arg(data);
    }
    // cargo runs xtask with these set, and a cargo inside would take the toolchain from them.
    match cargo.current_dir(root).env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO").status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => failed(&format!("warpring accept: {status}")),
        Err(error) => failed(&format!("cargo cannot be started: {error}")),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}

/// The first device that grids run on.
fn device() -> Result<DeviceInfo, String> {
    let devices = warpring::devices().map_err(|error| error.to_string())?;
    devices.into_iter().next().ok_or_else(|| CudaError::NoDevice { wanted: 0, found: 0 }.to_string())
}

/// Today by the system's `date`: no crate of this one knows calendars.
fn today() -> Result<String, String> {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !text.is_empty() { Ok(text) } else { Err(output.status.to_string()) }
}

fn report(root: &Path, date: &str, device: &str) -> PathBuf {
    root.join("bench/results").join(format!("{date}-{}.json", slug(device)))
}

/// Small letters and digits, with a dash for all that lies between.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_names_its_report() {
        let path = report(Path::new("/project"), "2026-11-22", "NVIDIA H200 (MIG 1g.18gb)");
        assert_eq!(path, Path::new("/project/bench/results/2026-11-22-nvidia-h200-mig-1g-18gb.json"));
        assert!(today().is_ok_and(|date| date.len() == 10 && date.starts_with("20")));
    }

    #[test]
    fn a_machine_without_a_device_gives_a_reason() {
        match device() {
            Ok(device) => println!("skipped: there is {device}"),
            Err(why) => assert!(why.contains("CUDA driver"), "{why}"),
        }
    }
}
