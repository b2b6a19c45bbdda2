//! `warpring doctor`: what this machine has for Warpring, and what is missing, with the cure. It looks, changes nothing, and
//! does not fail itself: a bare machine is a finding, not an error.

mod driver;

use serde_json::json;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use warpring::{LaunchOptions, Runtime, block_on};
use warpring_kernels::fraud::Transaction;
use warpring_kernels::fraud::customer_window::Customer;

/// Say what this machine has for Warpring, and what is missing.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Prints the findings.
    pub fn run(&self) {
        let mut findings = vec![cpu(), runtime(), membarrier(), this_build()];
        findings.extend(driver::findings());
        findings.extend([nightly(), rust_src(), ptxas()]);
        let text = if self.json {
            json!({ "findings": findings.iter().map(Finding::json).collect::<Vec<_>>() }).to_string()
        } else {
            findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        // Nobody reads it any more: that is no failure of the machine.
        let _ = crate::stdout::print(&text);
    }
}

/// One thing that was looked at.
struct Finding {
    name: &'static str,
    /// What was found, or why nothing was.
    found: Result<String, String>,
    /// What it serves.
    serves: &'static str,
    /// How to get it, where it is missing.
    cure: &'static str,
}

impl Finding {
    fn json(&self) -> serde_json::Value {
        json!({
            "name": self.name,
            "ok": self.found.is_ok(),
            "found": self.found.as_ref().unwrap_or_else(|missing| missing),
            "serves": self.serves,
            "cure": self.found.is_err().then_some(self.cure),
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Ok(found) => write!(f, "ok       {:<15} {found}", self.name),
            Err(missing) => {
                write!(f, "missing  {:<15} {missing}", self.name)?;
                write!(f, "\n{:24} serves: {}", "", self.serves)?;
                write!(f, "\n{:24} cure:   {}", "", self.cure)
            }
        }
    }
}

fn cpu() -> Finding {
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let found = match thread::available_parallelism() {
        Ok(cores) => Ok(format!("{model}, {cores} cores for this process")),
        Err(error) => Err(format!("{model}, number of cores unknown: {error}")),
    };
    Finding { name: "cpu", found, serves: "the cpu backend", cure: "name the number of workers with `--workers`" }
}

/// Starts the default runtime and asks one actor, which is the only proof that it works here.
fn runtime() -> Finding {
    let proof = || -> Result<String, String> {
        let runtime = Runtime::builder().module(&warpring_kernels::MODULE).build().map_err(|error| error.to_string())?;
        let (backend, device, workers) = (runtime.backend(), runtime.device(), runtime.workers());
        let why_not_gpu = runtime.why_not_gpu().map(ToString::to_string);
        let actor = block_on(runtime.launch(Customer::new(), LaunchOptions::default())).map_err(|error| error.to_string())?;
        let payment = Transaction { unix_seconds: 0, amount_micros: 1_500_000, fraud: false };
        let answer = actor.ask(payment).wait().map_err(|error| error.to_string())?;
        block_on(runtime.shutdown()).map_err(|error| error.to_string())?;
        if (answer.counts, answer.means) != ([1; 3], [1.5; 3]) {
            return Err(format!("an actor on the {backend} backend answered wrongly: {answer:?}"));
        }
        let workers = if workers == 1 { "1 worker".to_owned() } else { format!("{workers} workers") };
        let why = why_not_gpu.map_or(String::new(), |why| format!(" (no GPU: {why})"));
        Ok(format!("backend {backend} on {device}, {workers}; an actor was asked and answered{why}"))
    };
    Finding { name: "runtime", found: proof(), serves: "everything", cure: "report it as a bug, with this output" }
}

#[cfg(target_os = "linux")]
fn membarrier() -> Finding {
    // SAFETY: the call takes no pointers.
    let offered = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_QUERY, 0, 0) };
    let wanted = libc::c_long::from(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    let found = if offered > 0 && offered & wanted != 0 {
        Ok("offered by the kernel: idle workers sleep until woken".to_owned())
    } else {
        Err("not offered by the kernel: idle workers wake every millisecond to look".to_owned())
    };
    Finding {
        name: "membarrier",
        found,
        serves: "sleep without missed messages",
        cure: "Linux 4.14, and no seccomp filter against it",
    }
}

#[cfg(not(target_os = "linux"))]
fn membarrier() -> Finding {
    let found = Err("Linux only: idle workers wake every millisecond to look".to_owned());
    Finding { name: "membarrier", found, serves: "sleep without missed messages", cure: "none is needed" }
}

fn this_build() -> Finding {
    let backends = if cfg!(feature = "sim") { "cpu, cuda, sim" } else { "cpu, cuda" };
    Finding { name: "backends built", found: Ok(backends.to_owned()), serves: "`--backend`", cure: "" }
}

fn nightly() -> Finding {
    let found = first_line(Command::new("rustc").args(["+nightly", "--version"]));
    Finding {
        name: "nightly rust",
        found,
        serves: "building kernels of your own for the GPU",
        cure: "rustup toolchain install nightly --component rust-src",
    }
}

fn rust_src() -> Finding {
    let sysroot = first_line(Command::new("rustc").args(["+nightly", "--print", "sysroot"]));
    let found = sysroot.and_then(|sysroot| {
        let core = Path::new(&sysroot).join("lib/rustlib/src/rust/library/core");
        if core.is_dir() { Ok("there".to_owned()) } else { Err("not installed for nightly".to_owned()) }
    });
    Finding {
        name: "rust-src",
        found,
        serves: "building kernels of your own for the GPU",
        cure: "rustup component add rust-src --toolchain nightly",
    }
}

fn ptxas() -> Finding {
    let found = last_line(Command::new("ptxas").arg("--version"));
    Finding {
        name: "ptxas",
        found,
        serves: "checking PTX without a GPU; running needs it not, the driver compiles PTX",
        cure: "install the CUDA toolkit, if that check is wanted",
    }
}

fn first_line(command: &mut Command) -> Result<String, String> {
    output(command).map(|text| text.lines().next().unwrap_or_default().to_owned())
}

fn last_line(command: &mut Command) -> Result<String, String> {
    output(command).map(|text| text.lines().last().unwrap_or_default().to_owned())
}

fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    // A look must not install anything.
    match command.env("RUSTUP_AUTO_INSTALL", "0").stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or_default().trim();
            Err(if said.is_empty() { format!("`{name}` failed") } else { said.to_owned() })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(format!("no `{name}` on the path")),
        Err(error) => Err(format!("`{name}`: {error}")),
    }
}
