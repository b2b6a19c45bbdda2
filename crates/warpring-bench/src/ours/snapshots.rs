//! Snapshots and restores, beside plain writing of as many bytes to the same disk, and plain reading.

use std::fs::{File, remove_file};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use warpring::snapshot::Snapshot;
use warpring::{Group, LaunchOptions, Runtime, block_on};

use super::kernels::Wide;
use super::{Measured, Ours};
use crate::{Compared, Figure, Interleaved, Slice};

/// Bytes of one plain read or write.
const BLOCK: usize = 1 << 20;
/// Bytes of each state.
const STATE: usize = size_of::<Wide>();

/// A file in the system's folder for such, which is gone in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("warpring-bench-{}-{name}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may never have been written.
        let _ = remove_file(&self.0);
    }
}

fn count(ours: &Ours<'_>) -> u32 {
    if ours.quick { 50_000 } else { 1_000_000 }
}

fn runtime(ours: &Ours<'_>) -> Measured<Runtime> {
    ours.runtime(1)
}

fn launch(ours: &Ours<'_>, runtime: &Runtime) -> Measured<Group<Wide>> {
    Ok(block_on(runtime.launch_many(count(ours), LaunchOptions::default(), Wide::new))?)
}

/// The rate at which `run` moves so many bytes.
fn timed(ours: &Ours<'_>, bytes: u64, run: impl FnOnce() -> Measured<()>) -> Measured<Slice> {
    let clock = ours.stage.clock;
    let started = clock.now();
    run()?;
    Ok(Slice::rate(&clock, bytes, clock.now() - started))
}

fn plain_write(path: &Path, mut bytes: u64) -> Measured<()> {
    let block: Vec<u8> = (0..BLOCK).map(|at| at as u8).collect();
    let mut file = File::create(path)?;
    while bytes > 0 {
        let some = bytes.min(BLOCK as u64);
        file.write_all(&block[..some as usize])?;
        bytes -= some;
    }
    Ok(file.sync_all()?)
}

fn plain_read(path: &Path) -> Measured<()> {
    let (mut file, mut block) = (File::open(path)?, vec![0; BLOCK]);
    while file.read(&mut block)? > 0 {}
    Ok(())
}

/// Alternates floor and subject; either may fail.
fn against(
    ours: &Ours<'_>,
    name: &str,
    floor_name: &str,
    mut floor: impl FnMut() -> Measured<Slice>,
    mut subject: impl FnMut() -> Measured<Slice>,
) -> Measured<Figure> {
    let error = std::cell::RefCell::new(None);
    // Not looked at after an error, which ends the figure.
    let stand_in = || Slice::Rate(crate::Rate::new(1, 1.0));
    let keep = |result: Measured<Slice>| {
        result.unwrap_or_else(|why| {
            error.borrow_mut().get_or_insert(why);
            stand_in()
        })
    };
    let compared: Compared = Interleaved::run(ours.stage.effort.slices, || keep(floor()), || keep(subject()));
    match error.into_inner() {
        Some(why) => Err(why),
        None => Ok(Figure::compared(name, floor_name, &compared)),
    }
}

fn note(figure: Figure, path: &Path, file_bytes: u64, state_bytes: u64) -> Figure {
    let folder = path.parent().unwrap_or(path).display();
    figure.note(&format!(
        "bytes of state per second, of {} actors with {STATE} bytes each; {:.4} bytes on the disk per byte of state; in {folder}",
        state_bytes / STATE as u64,
        file_bytes as f64 / state_bytes as f64
    ))
}

pub(super) fn snapshot_million(ours: &Ours<'_>) -> Measured<Figure> {
    let runtime = runtime(ours)?;
    let group = launch(ours, &runtime)?;
    let (ours_file, plain) = (Scratch::new("snapshot"), Scratch::new("plain"));
    let bytes = u64::from(count(ours)) * STATE as u64;
    let mut file_bytes = 0;
    let figure = against(
        ours,
        "snapshot-million",
        "plain-write-and-sync",
        || timed(ours, bytes, || plain_write(&plain.0, bytes)),
        || {
            timed(ours, bytes, || {
                let summary = block_on(runtime.snapshot().group("group", &group).write(&ours_file.0))?;
                file_bytes = summary.file_bytes;
                if summary.state_bytes == bytes { Ok(()) } else { Err("a state is missing".into()) }
            })
        },
    )?;
    Ok(note(figure, &ours_file.0, file_bytes, bytes))
}

pub(super) fn restore_million(ours: &Ours<'_>) -> Measured<Figure> {
    let file = Scratch::new("restore");
    {
        let runtime = runtime(ours)?;
        let group = launch(ours, &runtime)?;
        block_on(runtime.snapshot().group("group", &group).write(&file.0))?;
    }
    let bytes = u64::from(count(ours)) * STATE as u64;
    let file_bytes = std::fs::metadata(&file.0)?.len();
    let figure = against(
        ours,
        "restore-million",
        "plain-read",
        || timed(ours, bytes, || plain_read(&file.0)),
        || {
            let runtime = runtime(ours)?;
            let mut group = None;
            let slice = timed(ours, bytes, || {
                let snapshot = Snapshot::open(&file.0)?;
                group = Some(block_on(runtime.restore(&snapshot).group::<Wide>("group", LaunchOptions::default()))?);
                Ok(())
            })?;
            let last = count(ours) - 1;
            let actor = group.and_then(|group| group.get(last)).ok_or("an actor is missing")?;
            if actor.ask(()).wait()? == u64::from(last) { Ok(slice) } else { Err("a wrong state".into()) }
        },
    )?;
    Ok(note(figure, &file.0, file_bytes, bytes)
        .note("opening it, with every checksum compared, is in the time; its pages are in memory"))
}
