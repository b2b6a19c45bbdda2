//! `warpring snapshot`: what snapshots there are, whether they are whole, and what is in them.

mod values;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use warpring::snapshot::{EntryScope, OpenError, SavedEntry, Snapshot, is_partial};

/// List, verify and show snapshots
#[derive(Debug, clap::Args)]
pub struct Snapshots {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List snapshots: these files, and all in these folders
    List {
        /// Files and folders
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// Print the list as JSON
        #[arg(long)]
        json: bool,
    },
    /// Read snapshots from the beginning to the end and compare every checksum
    Verify {
        /// The files
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// Print the results as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a snapshot holds: its entries, one of them, or an actor's state
    Show {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// An entry; one with a single actor is shown with its state
        #[arg(value_name = "ENTRY")]
        entry: Option<String>,
        /// The number of an actor in the entry, from 0: its state
        #[arg(long, value_name = "N", requires = "entry")]
        actor: Option<u64>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Why snapshots were not shown, or are not whole.
#[derive(Debug)]
pub enum SnapshotFault {
    /// A file or folder cannot be read.
    Io(PathBuf, io::Error),
    /// A snapshot cannot be read.
    Open(OpenError),
    /// There is no entry of this name.
    NoSuchEntry { path: PathBuf, entry: String, there: Vec<String> },
    /// Some are not whole; which and why was printed.
    NotWhole { bad: usize, of: usize },
    /// Standard output failed.
    Stdout(io::Error),
}

impl fmt::Display for SnapshotFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Open(error) => error.fmt(f),
            Self::NoSuchEntry { path, entry, .. } => write!(f, "{}: there is no entry `{entry}`", path.display()),
            Self::NotWhole { bad, of } => write!(f, "{bad} of {of} files are no whole snapshots"),
            Self::Stdout(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl SnapshotFault {
    /// What to do about it, where something can be done.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchEntry { there, .. } if there.is_empty() => Some("it has no entries".to_owned()),
            Self::NoSuchEntry { there, .. } => Some(format!("its entries are {}", there.join(", "))),
            Self::Open(OpenError::Damaged { .. }) => Some("use an older snapshot: nothing of this one is restored".to_owned()),
            _ => None,
        }
    }
}

impl Snapshots {
    /// Prints what was asked for.
    ///
    /// # Errors
    /// [`SnapshotFault`].
    pub fn run(&self) -> Result<(), SnapshotFault> {
        match &self.what {
            What::List { paths, json } => list(paths, *json),
            What::Verify { files, json } => verify(files, *json),
            What::Show { file, entry, actor, json } => show(file, entry.as_deref(), *actor, *json),
        }
    }
}

fn print(text: &str) -> Result<(), SnapshotFault> {
    crate::stdout::print(text).map_err(SnapshotFault::Stdout)
}

/// The files that are named, and those in folders, in order of their names. Of files in folders, what is no snapshot is none.
fn list(paths: &[PathBuf], as_json: bool) -> Result<(), SnapshotFault> {
    let mut found: Vec<(PathBuf, Result<Snapshot, OpenError>)> = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push((path.clone(), Ok(Snapshot::open(path).map_err(SnapshotFault::Open)?)));
            continue;
        }
        let io = |error| SnapshotFault::Io(path.clone(), error);
        let mut files = Vec::new();
        for file in std::fs::read_dir(path).map_err(io)? {
            let file = file.map_err(io)?.path();
            // What a killed writer has left is nobody's snapshot.
            if file.is_file() && !is_partial(&file) {
                files.push(file);
            }
        }
        files.sort();
        for file in files {
            match Snapshot::open(&file) {
                Err(OpenError::NotASnapshot { .. }) => {}
                opened => found.push((file, opened)),
            }
        }
    }
    if as_json {
        let rows = found.iter().map(|(path, opened)| match opened {
            Ok(snapshot) => about(snapshot),
            Err(error) => json!({ "path": path.display().to_string(), "error": error.to_string() }),
        });
        return print(&Value::Array(rows.collect()).to_string());
    }
    if found.is_empty() {
        eprintln!("no snapshots");
        return Ok(());
    }
    let rows = found.iter().map(|(_, opened)| match opened {
        Ok(snapshot) => line(snapshot),
        Err(error) => error.to_string(),
    });
    print(&rows.collect::<Vec<_>>().join("\n"))
}

fn line(snapshot: &Snapshot) -> String {
    let scope = if snapshot.is_whole() { "whole runtime".to_owned() } else { entries(snapshot.entries().len()) };
    format!(
        "{}  {}  {}, {scope}, {} actors, {} bytes",
        snapshot.path().display(),
        created(snapshot),
        snapshot.module(),
        snapshot.actors(),
        snapshot.file_bytes()
    )
}

fn entries(count: usize) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

fn created(snapshot: &Snapshot) -> String {
    let time = jiff::Timestamp::try_from(snapshot.created());
    time.map_or_else(|_| "at no time".to_owned(), |time| format!("{time:.0}"))
}

fn about(snapshot: &Snapshot) -> Value {
    json!({
        "path": snapshot.path().display().to_string(),
        "created": created(snapshot),
        "module": snapshot.module(),
        "fingerprint": format!("{:016x}", snapshot.fingerprint()),
        "workers": snapshot.workers(),
        "whole_runtime": snapshot.is_whole(),
        "actors": snapshot.actors(),
        "state_bytes": snapshot.state_bytes(),
        "file_bytes": snapshot.file_bytes(),
    })
}

fn verify(files: &[PathBuf], as_json: bool) -> Result<(), SnapshotFault> {
    let (mut rows, mut bad) = (Vec::new(), 0);
    for file in files {
        match Snapshot::open(file) {
            Ok(snapshot) if as_json => rows.push(about(&snapshot)),
            Ok(snapshot) => print(&format!("whole    {}: {} actors", file.display(), snapshot.actors()))?,
            Err(error) => {
                bad += 1;
                if as_json {
                    rows.push(json!({ "path": file.display().to_string(), "error": error.to_string() }));
                } else {
                    print(&format!("damaged  {error}"))?;
                }
            }
        }
    }
    if as_json {
        print(&Value::Array(rows).to_string())?;
    }
    if bad > 0 { Err(SnapshotFault::NotWhole { bad, of: files.len() }) } else { Ok(()) }
}

fn show(file: &Path, entry: Option<&str>, actor: Option<u64>, as_json: bool) -> Result<(), SnapshotFault> {
    let snapshot = Snapshot::open(file).map_err(SnapshotFault::Open)?;
    let Some(name) = entry else {
        return print(&if as_json { overview_json(&snapshot).to_string() } else { overview(&snapshot) });
    };
    let Some(entry) = snapshot.entries().iter().find(|entry| entry.name == name) else {
        let there = snapshot.entries().iter().take(16).map(|entry| entry.name.clone()).collect();
        return Err(SnapshotFault::NoSuchEntry { path: file.to_owned(), entry: name.to_owned(), there });
    };
    let kind = &snapshot.kinds()[entry.kind];
    let number = actor.or_else(|| (entry.actors == 1).then_some(0));
    let state = number.map(|number| snapshot.actor(entry, number)).transpose().map_err(SnapshotFault::Open)?;
    if as_json {
        let mut value = entry_json(&snapshot, entry);
        if let Some(actor) = &state {
            value["actor"] = json!({
                "number": number,
                "id": actor.id.to_string(),
                "mailbox": actor.mailbox,
                "state": values::as_json(kind, &actor.state),
            });
        }
        return print(&value.to_string());
    }
    let mut lines = vec![entry_line(&snapshot, entry)];
    match &state {
        Some(actor) => {
            lines.push(format!("  actor {} at {}, mailbox of {}", number.unwrap_or_default(), actor.id, actor.mailbox));
            lines.extend(values::as_text(kind, &actor.state).into_iter().map(|line| format!("    {line}")));
        }
        None => lines.extend(fields(&snapshot, entry.kind)),
    }
    print(&lines.join("\n"))
}

fn scope(scope: EntryScope) -> &'static str {
    match scope {
        EntryScope::Actor => "actor",
        EntryScope::Group => "group",
        EntryScope::Kind => "kind",
    }
}

fn entry_line(snapshot: &Snapshot, entry: &SavedEntry) -> String {
    let kind = &snapshot.kinds()[entry.kind];
    let count = if entry.actors == 1 { "1 actor".to_owned() } else { format!("{} actors", entry.actors) };
    format!("{} ({} of {} version {}): {count} of {} bytes", entry.name, scope(entry.scope), kind.id, kind.version, kind.bytes)
}

fn fields(snapshot: &Snapshot, kind: usize) -> Vec<String> {
    let line = |field: &warpring::snapshot::SavedField| {
        format!("{:indent$}at {:>4}  {}: {}", "", field.offset, field.name, field.ty, indent = 4 + 2 * usize::from(field.depth))
    };
    snapshot.kinds()[kind].fields.iter().map(line).collect()
}

fn overview(snapshot: &Snapshot) -> String {
    let mut lines = vec![
        snapshot.path().display().to_string(),
        format!("  module   {}, fingerprint {:016x}", snapshot.module(), snapshot.fingerprint()),
        format!("  created  {}, by a runtime with {} workers", created(snapshot), snapshot.workers()),
        format!(
            "  actors   {}, {} bytes of state, {} on the disk",
            snapshot.actors(),
            snapshot.state_bytes(),
            snapshot.file_bytes()
        ),
    ];
    for entry in snapshot.entries().iter().filter(|entry| entry.actors > 0 || entry.scope != EntryScope::Kind) {
        lines.push(format!("  {}", entry_line(snapshot, entry)));
        lines.extend(fields(snapshot, entry.kind));
    }
    lines.join("\n")
}

fn entry_json(snapshot: &Snapshot, entry: &SavedEntry) -> Value {
    let kind = &snapshot.kinds()[entry.kind];
    let field = |field: &warpring::snapshot::SavedField| json!({ "name": field.name, "type": field.ty, "offset": field.offset, "bytes": field.bytes });
    json!({
        "name": entry.name,
        "scope": scope(entry.scope),
        "actors": entry.actors,
        "kind": kind.id,
        "version": kind.version,
        "state_bytes": kind.bytes,
        "fields": kind.fields.iter().map(field).collect::<Vec<_>>(),
    })
}

fn overview_json(snapshot: &Snapshot) -> Value {
    let mut value = about(snapshot);
    value["entries"] = snapshot.entries().iter().map(|entry| entry_json(snapshot, entry)).collect();
    value
}
