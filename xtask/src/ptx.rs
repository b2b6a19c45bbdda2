//! `cargo xtask ptx`: the PTX that is committed beside the source, so that a user of our kernels needs neither nightly nor a toolkit.
//!
//! With `--check` nothing is written: the committed text must be what the source gives, and each architecture must take what is
//! compiled for it, within the budget. One check for each crate and architecture, counted in a line like those of `cargo test`.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::{self, ScopedJoinHandle};
use std::time::Instant;

use warpring_build::budget::Budget;
use warpring_build::ptxas::{Ptxas, PtxasError};
use warpring_build::{Compiled, DEFAULT_ARCH, Kernels};

/// A committed text.
struct Module {
    dir: &'static str,
    /// Its name in `ptx/`; beside it are `budget.toml`, and `rustc`, which names the compiler that made it.
    file: &'static str,
    block_teams: bool,
    /// The first is the one whose PTX is committed; on the others it is compiled for them, which is what a build script may do.
    archs: &'static [&'static str],
}

const MODULES: &[Module] = &[
    Module { dir: "crates/warpring-kernels", file: "kernels.ptx", block_teams: false, archs: ARCHS },
    Module { dir: "crates/warpring-pace", file: "kernels.ptx", block_teams: false, archs: ARCHS },
    Module { dir: "crates/warpring-conformance", file: "kernels.ptx", block_teams: false, archs: ARCHS },
    Module { dir: "crates/warpring-conformance", file: "block.ptx", block_teams: true, archs: &[DEFAULT_ARCH] },
];

const ARCHS: &[&str] = &[DEFAULT_ARCH, "sm_80", "sm_90", "sm_100"];

/// The package that brings the assembler where no toolkit is installed.
const PTXAS_PACKAGE: &str = "nvidia-cuda-nvcc-cu12==12.9.*";

/// What became of a check.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    ignored: u32,
}

/// An assembly that is under way.
type Assembling<'scope> = (&'static Module, &'static str, ScopedJoinHandle<'scope, Result<String, String>>);

impl Tally {
    fn fail(&mut self, module: &Module, arch: &str, error: &str) {
        println!("error: {}/ptx/{}, {arch}: {error}", module.dir, module.file);
        self.failed += 1;
    }

    fn count(&mut self, (module, arch, assembling): Assembling<'_>) {
        match assembling.join() {
            Ok(Ok(said)) => {
                println!("{said}");
                self.passed += 1;
            }
            Ok(Err(error)) => self.fail(module, arch, &error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

pub fn write() -> ExitCode {
    for module in MODULES {
        let dir = module.dir;
        let written = compile(module, DEFAULT_ARCH).and_then(|compiled| {
            let files = Files::of(module);
            put(&files.ptx, &compiled.text)?;
            put(&files.compiler, &format!("{}\n", compiled.report.compiler))?;
            Ok(format!("{}: {} lines", files.ptx.display(), compiled.report.lines))
        });
        match written {
            Ok(said) => println!("{said}"),
            Err(error) => {
                eprintln!("error: {dir}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

pub fn check() -> ExitCode {
    let start = Instant::now();
    let mut tally = Tally::default();
    let ptxas = match ptxas() {
        Ok(ptxas) => Some(ptxas),
        Err(why) => {
            println!("skipped: nothing is assembled: {why}");
            None
        }
    };
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        // What is compiled is assembled beside the next compilations: the assembler takes longer, and one core.
        let mut assembling = VecDeque::new();
        for (module, arch) in MODULES.iter().flat_map(|module| module.archs.iter().map(move |arch| (module, *arch))) {
            if assembling.len() >= at_once
                && let Some(first) = assembling.pop_front()
            {
                tally.count(first);
            }
            let text = match compile_one(module, arch, &mut tally) {
                Ok(text) => text,
                Err(error) => {
                    tally.fail(module, arch, &error);
                    continue;
                }
            };
            match &ptxas {
                Some(ptxas) => {
                    assembling.push_back((module, arch, scope.spawn(move || assemble_one(module, arch, ptxas, &text))));
                }
                None => {
                    tally.passed += 1;
                    tally.ignored += 1;
                }
            }
        }
        assembling.into_iter().for_each(|one| tally.count(one));
    });
    let verdict = if tally.failed == 0 { "ok" } else { "FAILED" };
    let Tally { passed, failed, ignored } = tally;
    let seconds = start.elapsed().as_secs_f32();
    println!("test result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; finished in {seconds:.1}s");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Compiles a crate for an architecture, and compares; where the text is.
fn compile_one(module: &Module, arch: &str, tally: &mut Tally) -> Result<PathBuf, String> {
    let start = Instant::now();
    let compiled = compile(module, arch)?;
    let report = &compiled.report;
    let (dir, file) = (module.dir, module.file);
    println!(
        "{dir}/ptx/{file}, {arch}: {} lines, {} functions, {:.1} s",
        report.lines,
        report.functions,
        start.elapsed().as_secs_f32()
    );
    report.slow.iter().for_each(|function| println!("  slow: {function}"));
    if *arch == *DEFAULT_ARCH {
        compare(&Files::of(module), &compiled, tally)?;
    }
    let text = scratch().join(format!("{}.{arch}.{file}", compiled.package));
    put(&text, &compiled.text)?;
    Ok(text)
}

/// Assembles a text, and compares with the budget; what the functions use.
fn assemble_one(module: &Module, arch: &str, ptxas: &Ptxas, text: &Path) -> Result<String, String> {
    let start = Instant::now();
    let usages = ptxas.assemble(text, arch).map_err(|error| error.to_string())?;
    let mut said = format!("{}/ptx/{}, {arch}: assembled, {:.1} s", module.dir, module.file, start.elapsed().as_secs_f32());
    for usage in usages.iter().filter(|usage| usage.registers.is_some() || usage.stack_bytes + usage.spill_bytes() > 0) {
        said += &format!("\n  {usage}");
    }
    let files = Files::of(module);
    let budget = Budget::read(&get(&files.budget)?).map_err(|error| format!("{}: {error}", files.budget.display()))?;
    budget.check(arch, &usages).map_err(|errors| {
        let lines: Vec<_> = errors.iter().map(|error| format!("{error}\nhint: {}", error.hint())).collect();
        format!("{}\n{}", files.budget.display(), lines.join("\n"))
    })?;
    Ok(said)
}

/// The committed text must be this one, if the same compiler made it; another one may well write another text.
fn compare(files: &Files, compiled: &Compiled, tally: &mut Tally) -> Result<(), String> {
    let committed = get(&files.ptx)?;
    let made_by = get(&files.compiler)?;
    if committed == compiled.text {
        return Ok(());
    }
    if made_by.trim() != compiled.report.compiler {
        println!("skipped: {} was made by {}, and this is {}", files.ptx.display(), made_by.trim(), compiled.report.compiler);
        tally.ignored += 1;
        return Ok(());
    }
    let same = committed.lines().zip(compiled.text.lines()).take_while(|(a, b)| a == b).count();
    let path = files.ptx.display();
    Err(format!("{path} is not what the source gives, from line {} on\nhint: cargo xtask ptx", same + 1))
}

fn compile(module: &Module, arch: &str) -> Result<Compiled, String> {
    let kernels = Kernels::new(root().join(module.dir)).arch(arch).scratch(scratch());
    let kernels = if module.block_teams { kernels.block_teams() } else { kernels };
    kernels.compile().map_err(|error| format!("{error:?}"))
}

/// The assembler of this machine; where there is none, that of the package, which is fetched once.
fn ptxas() -> Result<Ptxas, String> {
    match Ptxas::find() {
        Err(PtxasError::Missing) => {}
        found => return found.map_err(|error| error.to_string()),
    }
    let dir = target().join("ptxas");
    let program = dir.join("nvidia/cuda_nvcc/bin/ptxas");
    if !program.is_file() {
        fetch(&dir)?;
    }
    Ok(Ptxas::at(program))
}

/// Unpacks the package into a directory, by whichever pip this machine has. Nothing is installed.
fn fetch(dir: &Path) -> Result<(), String> {
    let mut why = String::new();
    for pip in [&["python3", "-m", "pip"][..], &["pip3"], &["pip"]] {
        let target = dir.to_string_lossy();
        let arguments = ["install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", &target, PTXAS_PACKAGE];
        match Command::new(pip[0]).args(&pip[1..]).args(arguments).output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => why = format!("{}: {error}", pip[0]),
        }
    }
    Err(format!("no ptxas on this machine, and pip did not fetch it: {why}"))
}

/// The committed files of a crate.
struct Files {
    ptx: PathBuf,
    budget: PathBuf,
    compiler: PathBuf,
}

impl Files {
    fn of(module: &Module) -> Self {
        let dir = root().join(module.dir).join("ptx");
        Self { ptx: dir.join(module.file), budget: dir.join("budget.toml"), compiler: dir.join("rustc") }
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// Crates share what is compiled for an architecture, with the tests and with `warpring ptx`.
fn scratch() -> PathBuf {
    target().join("warpring")
}

fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

fn get(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn put(path: &Path, text: &str) -> Result<(), String> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).and_then(|()| fs::write(path, text)).map_err(|error| format!("{}: {error}", path.display()))
}
