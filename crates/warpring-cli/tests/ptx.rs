//! `warpring ptx`: usage, what is missing, and a committed file that is not what the source gives.

mod support;

use std::path::Path;
use std::process::Command;

use support::{Done, Scratch, warpring};

fn kernels() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../warpring-kernels").to_str().unwrap().to_owned()
}

/// Runs the command with these variables beside its own.
fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Done {
    let output = Command::new(env!("CARGO_BIN_EXE_warpring"))
        .args(arguments)
        .env_remove("WARPRING_NIGHTLY")
        .env_remove("WARPRING_PTXAS")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    Done { code: output.status.code(), out, err }
}

#[test]
fn usage() {
    assert!(warpring(&["ptx", "--help"]).quiet().contains("--check <FILE>"));
    for arguments in [vec!["ptx"], vec!["ptx", "a", "b"], vec!["ptx", "a", "--out", "x", "--check", "x"]] {
        assert_eq!(warpring(&arguments).code, Some(2), "{arguments:?}");
    }
    warpring(&["ptx", ".", "--arch", "sm_80", "--arch", "sm_90", "--out", "x"]).fails_with(
        "error: one file holds the PTX of one architecture, and several are named\n\
         hint: name one `--arch` with `--out` or `--check`",
    );
    warpring(&["ptx", ".", "--arch", "gfx90a"])
        .fails_with("error: `gfx90a` is no architecture of a GPU\nhint: architectures are called sm_70, sm_80, sm_90, ..");
    with(&[("WARPRING_PTXAS", "/nowhere/ptxas")], &["ptx", "."]).fails_with(
        "error: WARPRING_PTXAS names /nowhere/ptxas, which is no file\n\
         hint: install the CUDA toolkit, or name the program in WARPRING_PTXAS; only this check needs it",
    );
}

/// A `rustup` that knows one toolchain, which lies in a directory.
#[cfg(unix)]
fn rustup(scratch: &Scratch, sysroot: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let script = format!("#!/bin/sh\n[ \"$2\" = nightly ] && echo {sysroot} && exit 0\necho \"error: no $2\" >&2\nexit 1\n");
    let rustup = scratch.file("rustup", script);
    std::fs::set_permissions(&rustup, std::fs::Permissions::from_mode(0o755)).unwrap();
    scratch.path("")
}

#[test]
#[cfg(unix)]
fn what_is_missing_is_named_with_its_cure() {
    let scratch = Scratch::new();
    let empty = Scratch::new();
    let bare = with(&[("PATH", &empty.path(""))], &["ptx", "."]);
    assert!(bare.err.starts_with("error: `rustup` cannot be started"), "{bare:?}");
    assert!(
        bare.err.contains("\nhint: install rustup, then `rustup toolchain install nightly --component rust-src`\n"),
        "{bare:?}"
    );

    let sysroot = scratch.path("sysroot");
    let path = rustup(&scratch, &sysroot);
    with(&[("PATH", &path), ("WARPRING_NIGHTLY", "nightly-1999-01-01")], &["ptx", "."]).fails_with(
        "error: the toolchain `nightly-1999-01-01` is not there: no nightly-1999-01-01\n\
         hint: rustup toolchain install nightly-1999-01-01 --component rust-src",
    );
    with(&[("PATH", &path)], &["ptx", "."])
        .fails_with("error: the toolchain `nightly` has no cargo\nhint: rustup component add cargo --toolchain nightly");
    std::fs::create_dir_all(format!("{sysroot}/bin")).unwrap();
    std::fs::write(format!("{sysroot}/bin/cargo"), "").unwrap();
    with(&[("PATH", &path)], &["ptx", "."]).fails_with(
        "error: the toolchain `nightly` has no rust-src, and `core` is compiled from it for the GPU\n\
         hint: rustup component add rust-src --toolchain nightly",
    );
}

/// Whether the toolchain is here; a line says so where it is not.
fn has_toolchain(done: &Done) -> bool {
    use std::io::Write;
    let missing = done.err.contains("rustup toolchain install") || done.err.contains("rustup component add");
    if missing {
        // Not by a macro: those are captured.
        let _ = writeln!(std::io::stderr(), "skipped: {}", done.err.trim());
    }
    !missing
}

#[test]
fn a_crate_is_compiled_and_compared() {
    let scratch = Scratch::new();
    // What is compiled for the device lies in the target directory of the workspace.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_str().unwrap();
    let here = [("CARGO_TARGET_DIR", target)];
    let file = scratch.path("kernels.ptx");
    let written = with(&here, &["ptx", &kernels(), "--out", &file]);
    if !has_toolchain(&written) {
        return;
    }
    let report = written.quiet();
    assert!(report.starts_with("warpring-kernels for sm_70, by rustc "), "{report}");
    assert!(report.contains("warpring_run") && report.contains("warpring_build"), "{report}");
    with(&here, &["ptx", &kernels(), "--check", &file]).quiet();

    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(".target sm_70", ".target sm_75")).unwrap();
    let differs = with(&here, &["ptx", &kernels(), "--check", &file]);
    let line = format!("error: {file} is not what the source gives, from line 2 on\n");
    assert_eq!((differs.code, differs.out.as_str()), (Some(1), ""), "{differs:?}");
    assert!(differs.err.starts_with(&line), "{differs:?}");
    assert!(differs.err.contains("  the file:   .target sm_75\n  the source: .target sm_70\n"), "{differs:?}");
    assert!(differs.err.contains(&format!("hint: warpring ptx {} --arch sm_70 --out {file}", kernels())), "{differs:?}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("sm_75"), "a check writes nothing");
}

#[test]
fn a_directory_without_a_kernel_crate_is_an_error() {
    let scratch = Scratch::new();
    let bare = with(&[], &["ptx", &scratch.path("")]);
    if has_toolchain(&bare) {
        assert!(bare.err.contains("there is no Cargo.toml\nhint: name the directory"), "{bare:?}");
    }
    let manifest = "[package]\nname = \"plain\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n";
    scratch.file("Cargo.toml", manifest);
    scratch.file("lib.rs", "");
    let plain = with(&[], &["ptx", &scratch.path("")]);
    if has_toolchain(&plain) {
        plain.fails_with(
            "error: `plain` does not depend on `warpring`\nhint: a kernel crate names `warpring` in its [dependencies]",
        );
    }
}
