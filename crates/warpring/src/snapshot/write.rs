//! A snapshot of running actors. The workers copy states into parts of the staging area, each actor's between two of its messages; a
//! thread writes what is there to the file, while the workers copy the next.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use warpring_core::ActorId;
use warpring_core::module::Exported;
use warpring_core::worker::{CopyRows, ROW_BYTES, Tenant};

use super::error::SnapshotError;
use super::format::{EntryScope, Header, MAX_HEADER, Run, SavedEntry, Totals};
use super::layout::SavedKind;
use super::output::Output;
use super::pipe::{Receiver, Sender, pipe};
use crate::actor_ref::{ActorRef, Group};
use crate::runtime::{Runtime, yield_once};
use crate::shared::Shared;
use crate::staging::{self, AREA_BYTES, CopyError, Copying, Staging, Use, request_bytes};

/// Parts of the staging area: so many copies are under way, or on their way to the disk.
const PARTS: u32 = 4;

/// What a snapshot is made of; see [`Runtime::snapshot`].
#[must_use = "nothing is saved until `write`"]
pub struct SnapshotBuilder<'r> {
    runtime: &'r Runtime,
    parts: Vec<Part>,
    foreign: Option<String>,
}

struct Part {
    name: String,
    kind: u16,
    scope: EntryScope,
    /// The first actor.
    at: ActorId,
    count: u32,
}

impl fmt::Debug for SnapshotBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SnapshotBuilder({} entries)", self.parts.len())
    }
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotSummary {
    /// Actors.
    pub actors: u64,
    /// Bytes of their states.
    pub state_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Actors of a whole runtime that had failed or stopped: they are not in it.
    pub left_out: u64,
}

impl Runtime {
    /// A snapshot of what is then named: actors and groups.
    ///
    /// Each actor is saved as it is between two of its messages, never with a message half handled; the workers go on meanwhile. It is
    /// not one moment for all actors: for that, stop sending, and wait until what was sent is handled. What waits in mailboxes is not
    /// in a snapshot.
    pub fn snapshot(&self) -> SnapshotBuilder<'_> {
        SnapshotBuilder { runtime: self, parts: Vec::new(), foreign: None }
    }

    /// Saves every actor that is there when it begins and still when its turn comes, with its address, as
    /// [`SnapshotBuilder::write`] does. Actors that have failed or stopped are left out and counted.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn snapshot_all(&self, path: impl AsRef<Path>) -> Result<SnapshotSummary, SnapshotError> {
        let shared = self.shared();
        let staging = Staging::take(shared, Use::Snapshot).await?;
        let entry = |(number, kind): (usize, &warpring_core::module::KindTable)| SavedEntry {
            name: kind.metadata.id.to_owned(),
            kind: number,
            scope: EntryScope::Kind,
            slot: 0,
            actors: 0,
        };
        let entries = shared.module.kinds.iter().enumerate().map(entry).collect();
        let header = header(shared, true, entries, (0..shared.module.kinds.len() as u16).collect());
        let (wants, left_out) = survey(shared, &staging).await?;
        let mut summary = save(shared, staging, header, wants, path.as_ref()).await?;
        summary.left_out += left_out;
        Ok(summary)
    }
}

impl SnapshotBuilder<'_> {
    /// With this actor, under this name.
    pub fn actor<K: Exported>(mut self, name: impl Into<String>, actor: &ActorRef<K>) -> Self {
        let name = name.into();
        if !std::ptr::eq(actor.shared(), &**self.runtime.shared()) {
            self.foreign.get_or_insert(name.clone());
        }
        self.parts.push(Part { name, kind: K::KIND, scope: EntryScope::Actor, at: actor.id(), count: 1 });
        self
    }

    /// With this group, under this name.
    pub fn group<K: Exported>(mut self, name: impl Into<String>, group: &Group<K>) -> Self {
        let name = name.into();
        let first = group.get(0);
        if first.as_ref().is_some_and(|first| !std::ptr::eq(first.shared(), &**self.runtime.shared())) {
            self.foreign.get_or_insert(name.clone());
        }
        let at = first.map_or_else(ActorId::default, |first| first.id());
        self.parts.push(Part { name, kind: K::KIND, scope: EntryScope::Group, at, count: group.len() });
        self
    }

    /// Writes the file: all of it, or none. A file of this name is replaced when the new one is whole and on the disk.
    ///
    /// Waits while a handler of an actor is suspended, at most for the runtime's `ask_limit`.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn write(self, path: impl AsRef<Path>) -> Result<SnapshotSummary, SnapshotError> {
        if let Some(entry) = self.foreign {
            return Err(SnapshotError::WrongRuntime { entry });
        }
        if self.parts.is_empty() {
            return Err(SnapshotError::NoEntries);
        }
        let mut names: Vec<&str> = self.parts.iter().map(|part| &*part.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(SnapshotError::NameTaken { entry: pair[0].to_owned() });
        }
        let shared = self.runtime.shared();
        let mut kinds: Vec<u16> = self.parts.iter().map(|part| part.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let entry = |part: &Part| SavedEntry {
            name: part.name.clone(),
            kind: kinds.binary_search(&part.kind).unwrap_or_default(),
            scope: part.scope,
            slot: part.at.slot,
            actors: part.count.into(),
        };
        let header = header(shared, false, self.parts.iter().map(entry).collect(), kinds.clone());
        let workers = self.runtime.workers();
        let mut wants = VecDeque::new();
        for (number, part) in self.parts.iter().enumerate() {
            let rows = rows_at_once(shared, part.kind)?;
            let want = Want {
                entry: number as u32,
                worker: part.at.worker.into(),
                slot: part.at.slot,
                count: 1,
                kind: part.kind,
                generation: Some(part.at.generation),
                spawned: false,
                busy_since: None,
            };
            if part.scope == EntryScope::Actor {
                wants.push_back(want);
                continue;
            }
            // All workers at once: each copies its own.
            for first in (0..part.count.div_ceil(workers)).step_by(rows as usize) {
                for worker in 0..workers {
                    let on = part.count / workers + u32::from(worker < part.count % workers);
                    let count = rows.min(on.saturating_sub(first));
                    if count > 0 {
                        wants.push_back(Want { worker, slot: part.at.slot + first, count, ..want });
                    }
                }
            }
        }
        let staging = Staging::take(shared, Use::Snapshot).await?;
        save(shared, staging, header, wants, path.as_ref()).await
    }
}

fn header(shared: &Shared, whole: bool, entries: Vec<SavedEntry>, kinds: Vec<u16>) -> Header {
    Header {
        fingerprint: shared.module.fingerprint,
        created: SystemTime::now(),
        workers: shared.settings.workers,
        whole,
        module: shared.module.name.to_owned(),
        kinds: kinds.iter().map(|kind| SavedKind::of(&shared.module.kinds[usize::from(*kind)])).collect(),
        entries,
    }
}

/// States that are wanted of one worker: of slots side by side.
#[derive(Clone, Copy)]
struct Want {
    entry: u32,
    worker: u32,
    slot: u32,
    count: u32,
    kind: u16,
    /// Which actor must be there; `None`: any, and none is none.
    generation: Option<u16>,
    /// Of a whole runtime: whether handlers had spawned them.
    spawned: bool,
    /// A handler was at work when the worker first looked.
    busy_since: Option<Instant>,
}

/// Bytes of a part of the staging area that has room for states of a kind.
fn part_bytes(bytes: u32) -> u32 {
    if request_bytes(1, bytes.into()) <= u64::from(AREA_BYTES / PARTS) { AREA_BYTES / PARTS } else { AREA_BYTES }
}

/// How many states of a kind one copy brings.
fn rows_at_once(shared: &Shared, kind: u16) -> Result<u32, SnapshotError> {
    let kind = &shared.module.kinds[usize::from(kind)];
    let limit = AREA_BYTES - ROW_BYTES;
    if kind.bytes > limit {
        return Err(SnapshotError::TooLarge { kind: kind.metadata.id, bytes: kind.bytes.into(), limit: limit.into() });
    }
    Ok(part_bytes(kind.bytes) / (kind.bytes + ROW_BYTES))
}

/// Asks all workers who is there: what is wanted, and how many actors have failed or stopped.
async fn survey(shared: &Shared, staging: &Arc<Staging>) -> Result<(VecDeque<Want>, u64), SnapshotError> {
    let mut wants = VecDeque::new();
    let mut left_out = 0;
    for worker in 0..shared.settings.workers {
        let (mut slot, capacity) = (0, shared.plan.limits.actors);
        while slot < capacity {
            let count = (AREA_BYTES / ROW_BYTES).min(capacity - slot);
            let memory = staging.memory() as usize as u64;
            let what = CopyRows { slot, count, memory, ..CopyRows::default() };
            let used = staging.copy(worker, &what).await?;
            // SAFETY: the request was answered, and the next one comes when these rows were looked at.
            for (row, alike, found) in unsafe { staging::alike(staging.memory(), count) } {
                match found.tenant {
                    Tenant::Nobody => continue,
                    Tenant::Resting | Tenant::Failed | Tenant::Stopped => {
                        left_out += u64::from(alike);
                        continue;
                    }
                    Tenant::Running | Tenant::Busy | Tenant::Held => {}
                }
                let rows = rows_at_once(shared, found.kind)?;
                let want = Want {
                    entry: found.kind.into(),
                    worker,
                    slot: slot + row,
                    count: 0,
                    kind: found.kind,
                    generation: None,
                    spawned: found.spawned,
                    busy_since: None,
                };
                add_wants(&mut wants, want, alike, rows);
            }
            slot += count;
            // Between what was launched and what was spawned there was never anybody.
            if slot >= used.launched {
                slot = slot.max(used.spawned);
            }
        }
    }
    Ok((wants, left_out))
}

/// Adds `more` actors from `want` on, at most `rows` to a request: to the last one, where they go on with it.
fn add_wants(wants: &mut VecDeque<Want>, mut want: Want, mut more: u32, rows: u32) {
    while more > 0 {
        let goes_on = wants.back_mut().filter(|last| {
            (last.worker, last.kind, last.spawned, last.slot + last.count) == (want.worker, want.kind, want.spawned, want.slot)
                && last.count < rows
        });
        let some = match goes_on {
            Some(last) => {
                let some = more.min(rows - last.count);
                last.count += some;
                some
            }
            None => {
                let some = more.min(rows);
                wants.push_back(Want { count: some, ..want });
                some
            }
        };
        want.slot += some;
        more -= some;
    }
}

/// What a worker has copied, on its way to the file.
struct Chunk {
    entry: u32,
    worker: u32,
    spawned: bool,
    runs: Vec<Run>,
    /// Where states lie side by side, in the area.
    states: Vec<Range<usize>>,
    /// The part of the area, which is free again when it is written.
    part: u32,
}

enum Written {
    Free(u32),
    Done(Result<Totals, SnapshotError>),
}

/// The thread that writes: its chunks come from the task, and it is done when there are no more.
fn start_writer(
    header: Header,
    target: PathBuf,
    staging: Arc<Staging>,
) -> Result<(mpsc::Sender<Option<Chunk>>, Receiver<Written>), SnapshotError> {
    let (chunks, incoming) = mpsc::channel::<Option<Chunk>>();
    let (back, written) = pipe(PARTS as usize + 1);
    let path = target.clone();
    let run = move || {
        if let Some(done) = write(&header, &target, &staging, &incoming, &back) {
            back.send(Written::Done(done));
        }
    };
    let thread = std::thread::Builder::new().name("warpring-snapshot".into()).spawn(run);
    match thread {
        Ok(_) => Ok((chunks, written)),
        Err(error) => Err(SnapshotError::Io { path, doing: "start a thread to write", error }),
    }
}

/// `None` where nobody waits for it any more.
fn write(
    header: &Header,
    target: &Path,
    staging: &Staging,
    chunks: &mpsc::Receiver<Option<Chunk>>,
    back: &Sender<Written>,
) -> Option<Result<Totals, SnapshotError>> {
    let mut output = match Output::create(target) {
        Ok(output) => output,
        Err(error) => return Some(Err(error)),
    };
    if let Err(error) = output.header(header) {
        return Some(Err(error));
    }
    while let Some(chunk) = chunks.recv().ok()? {
        // SAFETY: the part of the area is this chunk's until it is given back, and its states were copied, as the answer said.
        let states = |at: &Range<usize>| unsafe { std::slice::from_raw_parts(staging.memory().add(at.start), at.len()) };
        let states: Vec<&[u8]> = chunk.states.iter().map(states).collect();
        if let Err(error) = output.chunk(chunk.entry, chunk.worker, chunk.spawned, &chunk.runs, &states) {
            return Some(Err(error));
        }
        if !back.send(Written::Free(chunk.part)) {
            return None;
        }
    }
    Some(output.finish())
}

async fn save(
    shared: &Arc<Shared>,
    staging: Arc<Staging>,
    header: Header,
    wants: VecDeque<Want>,
    target: &Path,
) -> Result<SnapshotSummary, SnapshotError> {
    let bytes = header.encode().0.len() as u64;
    if bytes > MAX_HEADER {
        return Err(SnapshotError::NamesTooLong { bytes, limit: MAX_HEADER });
    }
    let largest = wants.iter().map(|want| shared.module.kinds[usize::from(want.kind)].bytes).max().unwrap_or_default();
    let part_bytes = part_bytes(largest);
    let names = header.entries.iter().map(|entry| entry.name.clone()).collect();
    let (chunks, written) = start_writer(header, target.to_owned(), Arc::clone(&staging))?;
    let mut saving = Saving {
        shared,
        target,
        staging,
        names,
        wants,
        again: VecDeque::new(),
        under_way: VecDeque::new(),
        free: (0..AREA_BYTES / part_bytes).collect(),
        part_bytes,
        chunks,
        written,
        left_out: 0,
    };
    saving.run().await?;
    // No more chunks.
    let _ = saving.chunks.send(None);
    loop {
        match poll_fn(|cx| saving.written.poll_next(cx)).await {
            Some(Written::Free(_)) => {}
            Some(Written::Done(done)) => {
                let Totals { actors, state_bytes, file_bytes, .. } = done?;
                return Ok(SnapshotSummary { actors, state_bytes, file_bytes, left_out: saving.left_out });
            }
            None => return Err(lost_writer(target)),
        }
    }
}

fn lost_writer(target: &Path) -> SnapshotError {
    let error = std::io::Error::other("the thread that writes has panicked");
    SnapshotError::Io { path: target.to_owned(), doing: "write", error }
}

struct Saving<'a> {
    shared: &'a Arc<Shared>,
    target: &'a Path,
    staging: Arc<Staging>,
    names: Vec<String>,
    wants: VecDeque<Want>,
    /// Actors that were busy.
    again: VecDeque<Want>,
    /// In the order in which they were sent.
    under_way: VecDeque<(Want, u32, Copying)>,
    /// Parts of the area.
    free: Vec<u32>,
    part_bytes: u32,
    chunks: mpsc::Sender<Option<Chunk>>,
    written: Receiver<Written>,
    left_out: u64,
}

enum News {
    Copied(Result<(), CopyError>),
    Free(u32),
    Failed(SnapshotError),
}

impl Saving<'_> {
    async fn run(&mut self) -> Result<(), SnapshotError> {
        loop {
            if self.wants.is_empty() {
                std::mem::swap(&mut self.wants, &mut self.again);
            }
            let sent = self.send_some()?;
            if self.under_way.is_empty() {
                if self.wants.is_empty() && self.again.is_empty() {
                    return Ok(());
                }
                if !sent && !self.free.is_empty() {
                    // A ring is full, or others have all the host's cells.
                    self.shared.pump();
                    yield_once().await;
                    continue;
                }
            }
            match self.news().await {
                News::Free(part) => self.free.push(part),
                News::Failed(error) => return Err(error),
                News::Copied(answer) => {
                    let Some((want, part, _)) = self.under_way.pop_front() else { continue };
                    match answer {
                        Ok(()) => self.copied(want, part)?,
                        Err(CopyError::NoSlot) => return Err(self.absent(&want, 0)),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }

    /// Asks for as much as there is room for; whether there was any.
    fn send_some(&mut self) -> Result<bool, SnapshotError> {
        let mut sent = false;
        while let (Some(want), Some(part)) = (self.wants.front().copied(), self.free.pop()) {
            let what = CopyRows {
                slot: want.slot,
                count: want.count,
                bytes: self.bytes(&want),
                kind: want.kind,
                wait: want.busy_since.is_some(),
                memory: self.memory(part) as usize as u64,
                ..CopyRows::default()
            };
            match self.staging.try_copy(want.worker, &what) {
                Ok(Some(copying)) => self.under_way.push_back((want, part, copying)),
                Ok(None) => {
                    self.free.push(part);
                    break;
                }
                Err(CopyError::NoSlot) => return Err(self.absent(&want, 0)),
                Err(error) => return Err(error.into()),
            }
            self.wants.pop_front();
            sent = true;
        }
        Ok(sent)
    }

    /// Waits for the first copy under way, and for what the writer says.
    async fn news(&mut self) -> News {
        poll_fn(|cx| {
            match self.written.poll_next(cx) {
                Poll::Ready(Some(Written::Free(part))) => return Poll::Ready(News::Free(part)),
                Poll::Ready(Some(Written::Done(Err(error)))) => return Poll::Ready(News::Failed(error)),
                Poll::Ready(Some(Written::Done(Ok(_))) | None) => return Poll::Ready(News::Failed(lost_writer(self.target))),
                Poll::Pending => {}
            }
            match self.under_way.front_mut() {
                Some((_, _, copying)) => copying.poll_answer(cx).map(|answer| News::Copied(answer.map(drop))),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn bytes(&self, want: &Want) -> u32 {
        self.shared.module.kinds[usize::from(want.kind)].bytes
    }

    fn memory(&self, part: u32) -> *mut u8 {
        self.staging.memory().wrapping_add(self.offset(part))
    }

    fn offset(&self, part: u32) -> usize {
        part as usize * self.part_bytes as usize
    }

    fn absent(&self, want: &Want, row: u32) -> SnapshotError {
        SnapshotError::NoSuchActor { entry: self.names[want.entry as usize].clone(), actor: want.actor(row, want.generation) }
    }

    /// A worker has copied: what is whole goes to the writer, and who was busy is asked for again.
    fn copied(&mut self, want: Want, part: u32) -> Result<(), SnapshotError> {
        let bytes = self.bytes(&want) as usize;
        let states_at = self.offset(part) + want.count as usize * ROW_BYTES as usize;
        let spawned = want.spawned;
        let mut chunk = Chunk { entry: want.entry, worker: want.worker, spawned, runs: Vec::new(), states: Vec::new(), part };
        // SAFETY: the request was answered, and the part of the area is this chunk's.
        for (row, alike, found) in unsafe { staging::alike(self.memory(part), want.count) } {
            let other = found.kind != want.kind
                || want.generation.map_or(found.spawned != want.spawned, |generation| found.generation != generation);
            match found.tenant {
                Tenant::Running | Tenant::Busy | Tenant::Held if other && want.generation.is_none() => continue,
                // Who is held is started again, or is gone.
                Tenant::Busy | Tenant::Held if !other => {
                    (row..row + alike).try_for_each(|row| self.busy(&want, row, found.generation))?;
                    continue;
                }
                Tenant::Running if !other => {}
                Tenant::Resting | Tenant::Failed | Tenant::Stopped if want.generation.is_none() => {
                    self.left_out += u64::from(alike);
                    continue;
                }
                // It has gone since.
                Tenant::Nobody if want.generation.is_none() => continue,
                _ => return Err(self.absent(&want, row)),
            }
            if let Some(clear) = self.shared.module.kinds[usize::from(want.kind)].clear_padding {
                // What lies between the fields of a state is nobody's: a file with it would tell what memory held before.
                for row in row..row + alike {
                    // SAFETY: a whole state, in the part of the area that is this chunk's.
                    unsafe { clear(self.staging.memory().add(states_at + row as usize * bytes)) }
                }
            }
            let (slot, states) = (want.slot + row, states_at + row as usize * bytes..states_at + (row + alike) as usize * bytes);
            chunk.runs.push(Run { slot, count: alike, generation: found.generation, mailbox: found.capacity });
            match chunk.states.last_mut() {
                Some(last) if last.end == states.start => last.end = states.end,
                _ => chunk.states.push(states),
            }
        }
        if chunk.runs.is_empty() {
            self.free.push(part);
        } else {
            // Where the writer has ended, its last word says why.
            let _ = self.chunks.send(Some(chunk));
        }
        Ok(())
    }

    fn busy(&mut self, want: &Want, row: u32, generation: u16) -> Result<(), SnapshotError> {
        let since = want.busy_since.unwrap_or_else(Instant::now);
        let waited: Duration = since.elapsed();
        if waited >= self.shared.settings.ask_limit {
            let entry = self.names[want.entry as usize].clone();
            return Err(SnapshotError::Busy { entry, actor: want.actor(row, Some(generation)), waited });
        }
        self.again.push_back(Want { slot: want.slot + row, count: 1, busy_since: Some(since), ..*want });
        Ok(())
    }
}

impl Want {
    fn actor(&self, row: u32, generation: Option<u16>) -> ActorId {
        ActorId { slot: self.slot + row, generation: generation.unwrap_or_default(), worker: self.worker as u16 }
    }
}
