//! A snapshot back into a runtime: as new actors, whose `initialize` does not run, into running ones, or all of a runtime where it was.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};
use std::{iter, mem};

use warpring_core::module::{Exported, KindTable};
use warpring_core::worker::{ADOPT_RESTORED, ADOPT_SPAWNED, Adopt, CONTROL_ADOPT, CopyRows, ROW_BYTES, Tenant};
use warpring_core::{ActorId, GroupAddress};

use super::error::{OpenError, RestoreError};
use super::file::Snapshot;
use super::format::{Chunk, EntryScope, Run, SavedEntry};
use super::pipe::{Receiver, pipe};
use crate::actor_ref::{ActorRef, Group};
use crate::error::LaunchError;
use crate::launch::{LaunchOptions, Values, adopted, check, check_group, check_rows, rows};
use crate::lock::lock;
use crate::reply::Pending;
use crate::runtime::{Runtime, control, yield_once};
use crate::shared::Shared;
use crate::slots::{GENERATION, Place};
use crate::staging::{self, AREA_BYTES, CopyError, Staging, Use};

/// What a thread reads ahead of the task.
struct Chunks {
    /// The number of each chunk and its states.
    read: Receiver<Result<(usize, Vec<u8>), OpenError>>,
    /// Back to the thread: the memory of states that were taken. New memory for each chunk would cost more than reading it.
    taken: mpsc::Sender<Vec<u8>>,
    current: Vec<u8>,
}

/// Rows of a run, and where they go.
struct Piece {
    /// The first of them in the run.
    first: u32,
    count: u32,
    worker: u32,
    /// Where the first one goes, of those on the worker.
    row: u32,
}

/// Chunks that were read and not yet restored.
const READ_AHEAD: usize = 2;
/// Launches under way.
const LAUNCHES: usize = 2;

/// Restores parts of a snapshot; see [`Runtime::restore`].
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing is restored until one of the methods is awaited"]
pub struct Restore<'r> {
    runtime: &'r Runtime,
    snapshot: &'r Snapshot,
}

impl Runtime {
    /// Restores a snapshot, of this module or of another one whose kernels have the same layouts.
    pub fn restore<'r>(&'r self, snapshot: &'r Snapshot) -> Restore<'r> {
        Restore { runtime: self, snapshot }
    }
}

/// An entry that was found, as the kernel it is of.
struct Found {
    number: usize,
    slot: u32,
    actors: u64,
    kind: u16,
}

impl Restore<'_> {
    /// A new actor with the saved state; its `initialize` does not run.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn actor<K: Exported>(self, entry: &str, options: LaunchOptions) -> Result<ActorRef<K>, RestoreError> {
        let shared = self.runtime.shared();
        check::<K>(shared, &options)?;
        let found = self.find::<K>(entry, EntryScope::Actor)?;
        let values = Values::of::<K>(1);
        let all = |_, run: Run| iter::once(Piece { first: 0, count: run.count, worker: 0, row: 0 });
        self.fill(&found, all, std::slice::from_ref(&values)).await?;
        let id = lock(&shared.slots).take(options.worker)?;
        let stride = values.stride();
        let place = values.place(shared, 1).inspect_err(|_| shared.vacate(id))?;
        let adopt = Adopt {
            slot: id.slot,
            count: 1,
            state: place.address(),
            stride,
            kind: K::KIND,
            capacity: options.mailbox,
            generation: id.generation,
            flags: ADOPT_RESTORED,
        };
        lock(&shared.slots).keep(id, place);
        let launched = adopted(self.adopt(id.worker.into(), &adopt).await?).await;
        if launched.as_ref().is_err_and(|error| *error != LaunchError::Stopped) {
            shared.vacate(id);
        }
        launched?;
        Ok(ActorRef::new(Arc::clone(shared), id))
    }

    /// A new group with the saved states, in the same order, on however many workers there are; `initialize` does not run.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn group<K: Exported>(self, entry: &str, options: LaunchOptions) -> Result<Group<K>, RestoreError> {
        let shared = self.runtime.shared();
        check_group::<K>(shared, &options)?;
        let found = self.find::<K>(entry, EntryScope::Group)?;
        let (count, workers) = (found.actors as u32, self.runtime.workers());
        check_rows(shared, count)?;
        let values: Vec<Values> = (0..workers).map(|worker| Values::of::<K>(rows(count, workers, worker))).collect();
        self.fill(&found, |worker, run| self.spread(&found, worker, run), &values).await?;
        let base = lock(&shared.slots).take_rows(rows(count, workers, 0), count)?;
        let mut pending = Vec::with_capacity(workers as usize);
        for (worker, values) in values.into_iter().enumerate() {
            let rows = rows(count, workers, worker as u32);
            if rows == 0 {
                continue;
            }
            let stride = values.stride();
            let adopt = Adopt {
                slot: base,
                count: rows,
                state: self.place(values, rows)?,
                stride,
                kind: K::KIND,
                capacity: options.mailbox,
                generation: GENERATION,
                flags: ADOPT_RESTORED,
            };
            pending.push(self.adopt(worker as u32, &adopt).await?);
        }
        for launch in pending {
            adopted(launch).await?;
        }
        let address = GroupAddress::new(base, count, workers as u16, GENERATION);
        Ok(Group::new(Arc::clone(shared), address))
    }

    /// Gives a running actor the saved state, between two of its messages. Its mailbox stays.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn into_actor<K: Exported>(self, entry: &str, actor: &ActorRef<K>) -> Result<(), RestoreError> {
        let found = self.find::<K>(entry, EntryScope::Actor)?;
        if !std::ptr::eq(actor.shared(), &**self.runtime.shared()) {
            return Err(RestoreError::NoSuchActor(actor.id()));
        }
        let to = actor.id();
        let all = |_, run: Run| iter::once(Piece { first: 0, count: run.count, worker: to.worker.into(), row: 0 });
        self.write(&found, to, all).await
    }

    /// Gives the actors of a running group the saved states, each between two of its messages. Their mailboxes stay.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn into_group<K: Exported>(self, entry: &str, group: &Group<K>) -> Result<(), RestoreError> {
        let found = self.find::<K>(entry, EntryScope::Group)?;
        if u64::from(group.len()) != found.actors {
            return Err(RestoreError::GroupSize { entry: entry.to_owned(), saved: found.actors, here: group.len() });
        }
        let Some(first) = group.get(0) else { return Ok(()) };
        if !std::ptr::eq(first.shared(), &**self.runtime.shared()) {
            return Err(RestoreError::NoSuchActor(first.id()));
        }
        self.write(&found, first.id(), |worker, run| self.spread(&found, worker, run)).await
    }

    /// All actors of a whole runtime, in a fresh one with as many workers: each on its worker, in its slot and of its generation, so
    /// that addresses in states and messages stay valid. `initialize` does not run. Gives how many there are.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub async fn all(self) -> Result<u64, RestoreError> {
        let (runtime, snapshot) = (self.runtime, self.snapshot);
        if !snapshot.is_whole() {
            return Err(RestoreError::NotWhole);
        }
        if snapshot.workers() != runtime.workers() {
            return Err(RestoreError::Workers { saved: snapshot.workers(), here: runtime.workers() });
        }
        let mut kinds = Vec::with_capacity(snapshot.entries().len());
        for entry in snapshot.entries() {
            // What is not in it may have changed.
            let kind = if entry.actors == 0 { 0 } else { snapshot.kinds()[entry.kind].find(runtime.shared().module)? };
            let metadata = &self.kind(kind).metadata;
            if entry.actors > 0 && metadata.requires_gpu_native && runtime.backend() != "cuda" {
                return Err(LaunchError::NeedsGpu { kernel: metadata.id, backend: runtime.backend() }.into());
            }
            kinds.push(kind);
        }
        let (mut ends, mut last, mut launched) = (vec![0; runtime.workers() as usize], 0, 0);
        for chunk in &*snapshot.chunks {
            let end = chunk.runs.iter().map(|run| run.slot + run.count).max().unwrap_or_default();
            if chunk.spawned {
                last = end.max(last);
            } else {
                let known = &mut ends[chunk.worker as usize];
                *known = end.max(*known);
                launched += u64::from(chunk.actors);
            }
        }
        let slots = lock(&runtime.shared().slots).restore(&ends, last, launched);
        slots?.map_err(|actors| RestoreError::NotFresh { actors })?;
        // Those that handlers had spawned come last, from the highest slot down: below them the next ones are spawned.
        let mut order: Vec<usize> = (0..snapshot.chunks.len()).collect();
        order.sort_by_key(|number| {
            let chunk = &snapshot.chunks[*number];
            let top = chunk.runs.iter().map(|run| run.slot).max().unwrap_or_default();
            (chunk.spawned, if chunk.spawned { u32::MAX - top } else { 0 })
        });
        let mut launches: VecDeque<Pending> = VecDeque::new();
        let mut chunks = self.read(order)?;
        while let Some((number, states)) = chunks.next().await? {
            let chunk = &snapshot.chunks[number];
            let entry = &snapshot.entries()[chunk.entry as usize];
            let kind = kinds[chunk.entry as usize];
            let stride = self.kind(kind).bytes.max(1);
            self.check(entry, self.kind(kind), chunk, states)?;
            let values = Values::new(chunk.actors, stride as usize);
            values.put_bytes(0, states);
            let state = self.place(values, chunk.actors)?;
            let mut before = 0;
            let mut runs: Vec<(u32, &Run)> = Vec::with_capacity(chunk.runs.len());
            for run in &chunk.runs {
                runs.push((before, run));
                before += run.count;
            }
            if chunk.spawned {
                runs.sort_by_key(|(_, run)| std::cmp::Reverse(run.slot));
            }
            for (before, run) in runs {
                let adopt = Adopt {
                    slot: run.slot,
                    count: run.count,
                    state: state + u64::from(before) * u64::from(stride),
                    stride,
                    kind,
                    capacity: run.mailbox,
                    generation: run.generation,
                    flags: ADOPT_RESTORED | if chunk.spawned { ADOPT_SPAWNED } else { 0 },
                };
                if launches.len() >= LAUNCHES
                    && let Some(launch) = launches.pop_front()
                {
                    adopted(launch).await?;
                }
                launches.push_back(self.adopt(chunk.worker, &adopt).await?);
            }
        }
        for launch in launches {
            adopted(launch).await?;
        }
        Ok(snapshot.actors())
    }

    /// Puts values where the workers find them, for as long as they run.
    fn place(&self, values: Values, count: u32) -> Result<u64, LaunchError> {
        let shared = self.runtime.shared();
        let place = values.place(shared, count)?;
        let address = place.address();
        match place {
            Place::Heap(block) => lock(&shared.states).push(block),
            #[cfg(feature = "cuda")]
            Place::Device { .. } => {}
        }
        Ok(address)
    }

    async fn adopt(&self, worker: u32, adopt: &Adopt) -> Result<Pending, LaunchError> {
        let shared = self.runtime.shared();
        control(shared, worker, CONTROL_ADOPT, adopt, Duration::MAX).await.map_err(|_| LaunchError::Stopped)
    }

    fn kind(&self, kind: u16) -> &'static KindTable {
        &self.runtime.shared().module.kinds[usize::from(kind)]
    }

    fn find<K: Exported>(&self, entry: &str, scope: EntryScope) -> Result<Found, RestoreError> {
        let shared = self.runtime.shared();
        if !std::ptr::eq(K::module(), shared.module) {
            let (kernel, runtime) = (K::module().name, shared.module.name);
            return Err(LaunchError::WrongModule { kernel, runtime }.into());
        }
        let entries = self.snapshot.entries();
        let Some(number) = entries.iter().position(|own| own.name == entry) else {
            let there = entries.iter().take(16).map(|entry| entry.name.clone()).collect();
            return Err(RestoreError::NoSuchEntry { entry: entry.to_owned(), there });
        };
        let saved = &self.snapshot.kinds()[entries[number].kind];
        let is = |scope, id: &str| match scope {
            EntryScope::Actor => format!("an actor of `{id}`"),
            EntryScope::Group => format!("a group of `{id}`"),
            EntryScope::Kind => format!("all actors of `{id}`"),
        };
        if entries[number].scope != scope || saved.id != K::METADATA.id {
            let (found, wanted) = (is(entries[number].scope, &saved.id), is(scope, K::METADATA.id));
            return Err(RestoreError::WrongEntry { entry: entry.to_owned(), found, wanted });
        }
        // One kernel of the module has this id, unless somebody exported two.
        saved.matches(self.kind(K::KIND))?;
        Ok(Found { number, slot: entries[number].slot, actors: entries[number].actors, kind: K::KIND })
    }

    /// A thread that reads these chunks, one after the other.
    fn read(&self, chunks: Vec<usize>) -> Result<Chunks, RestoreError> {
        let (to, read) = pipe(READ_AHEAD);
        let (taken, returned) = mpsc::channel::<Vec<u8>>();
        let snapshot = self.snapshot.clone();
        let run = move || {
            for number in chunks {
                let mut states = returned.try_recv().unwrap_or_default();
                let read = snapshot.states(&snapshot.chunks[number], &mut states).map(|()| (number, states));
                let failed = read.is_err();
                if !to.send(read) || failed {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("warpring-restore".into()).spawn(run);
        let path = self.snapshot.path().to_owned();
        thread.map_err(|error| RestoreError::File(OpenError::Io { path, error }))?;
        Ok(Chunks { read, taken, current: Vec::new() })
    }

    fn read_entry(&self, found: &Found) -> Result<Chunks, RestoreError> {
        let own = |(number, chunk): (usize, &Chunk)| (chunk.entry as usize == found.number).then_some(number);
        self.read(self.snapshot.chunks.iter().enumerate().filter_map(own).collect())
    }

    /// Whether all states of a chunk are values of the kernel.
    fn check(&self, entry: &SavedEntry, kind: &KindTable, chunk: &Chunk, states: &[u8]) -> Result<(), RestoreError> {
        let bytes = kind.bytes as usize;
        let mut row = 0;
        for run in &chunk.runs {
            for slot in run.slot..run.slot + run.count {
                if let Err(error) = (kind.check)(&states[row * bytes..(row + 1) * bytes]) {
                    let actor = ActorId { slot, generation: run.generation, worker: chunk.worker as u16 };
                    return Err(RestoreError::Invalid { entry: entry.name.clone(), actor, error });
                }
                row += 1;
            }
        }
        Ok(())
    }

    /// Where the rows of a saved group go here: as many workers as there were take them as they lie.
    fn spread(&self, found: &Found, worker: u32, run: Run) -> impl Iterator<Item = Piece> + use<> {
        let (saved, workers) = (u64::from(self.snapshot.workers()), u64::from(self.runtime.workers()));
        let count = if saved == workers { run.count } else { 1 };
        let row = run.slot - found.slot;
        (0..run.count).step_by(count as usize).map(move |first| {
            let index = u64::from(row + first) * saved + u64::from(worker);
            Piece { first, count, worker: (index % workers) as u32, row: (index / workers) as u32 }
        })
    }

    /// Puts the states of an entry into the values of each worker, where `pieces` says for worker and run.
    async fn fill<I>(&self, found: &Found, pieces: impl Fn(u32, Run) -> I, values: &[Values]) -> Result<(), RestoreError>
    where
        I: Iterator<Item = Piece>,
    {
        let kind = self.kind(found.kind);
        let bytes = kind.bytes as usize;
        let mut chunks = self.read_entry(found)?;
        while let Some((number, states)) = chunks.next().await? {
            let chunk = &self.snapshot.chunks[number];
            self.check(&self.snapshot.entries()[found.number], kind, chunk, states)?;
            let mut before = 0;
            for run in &chunk.runs {
                for piece in pieces(chunk.worker, *run) {
                    let at = (before + piece.first) as usize * bytes;
                    values[piece.worker as usize].put_bytes(piece.row, &states[at..][..piece.count as usize * bytes]);
                }
                before += run.count;
            }
        }
        Ok(())
    }

    /// Writes the states of an entry into running actors, where `pieces` says for worker and run, counted from `base` on.
    async fn write<I>(&self, found: &Found, base: ActorId, pieces: impl Fn(u32, Run) -> I) -> Result<(), RestoreError>
    where
        I: Iterator<Item = Piece>,
    {
        let shared = self.runtime.shared();
        let kind = self.kind(found.kind);
        let bytes = kind.bytes as usize;
        let staging = Staging::take(shared, Use::Snapshot).await.map_err(|error| refused(error, ActorId::default()))?;
        // A state that was saved has room in the area.
        let most = (AREA_BYTES / kind.bytes.saturating_add(ROW_BYTES)).max(1);
        let mut chunks = self.read_entry(found)?;
        while let Some((number, states)) = chunks.next().await? {
            let chunk = &self.snapshot.chunks[number];
            self.check(&self.snapshot.entries()[found.number], kind, chunk, states)?;
            let mut before = 0;
            for run in &chunk.runs {
                for piece in pieces(chunk.worker, *run) {
                    for done in (0..piece.count).step_by(most as usize) {
                        let some = most.min(piece.count - done);
                        let at = ActorId { slot: base.slot + piece.row + done, worker: piece.worker as u16, ..base };
                        let states = &states[(before + piece.first + done) as usize * bytes..][..some as usize * bytes];
                        self.write_rows(shared, &staging, found.kind, at, some, states).await?;
                    }
                }
                before += run.count;
            }
        }
        Ok(())
    }

    /// Writes states into actors in slots side by side, and waits for those that are busy.
    async fn write_rows(
        &self,
        shared: &Arc<Shared>,
        staging: &Arc<Staging>,
        kind: u16,
        at: ActorId,
        count: u32,
        states: &[u8],
    ) -> Result<(), RestoreError> {
        let bytes = self.kind(kind).bytes;
        let start = Instant::now();
        let mut todo = VecDeque::from([(0, count)]);
        let mut first_look = true;
        while let Some((row, rows)) = todo.pop_front() {
            let what = CopyRows {
                slot: at.slot + row,
                count: rows,
                offset: 0,
                bytes,
                kind,
                generation: at.generation,
                write: true,
                wait: !first_look,
                memory: staging.memory() as usize as u64,
            };
            first_look = false;
            let states = &states[row as usize * bytes as usize..][..rows as usize * bytes as usize];
            // SAFETY: the area has room for so many rows and states, and no worker copies now.
            unsafe {
                let to = staging.memory().add(rows as usize * ROW_BYTES as usize);
                to.copy_from_nonoverlapping(states.as_ptr(), states.len());
            }
            staging.copy(at.worker.into(), &what).await.map_err(|error| refused(error, at))?;
            let mut waits = false;
            for number in 0..rows {
                // SAFETY: the request was answered.
                let found = unsafe { staging::row(staging.memory(), number) };
                let actor = ActorId { slot: at.slot + row + number, ..at };
                let other = found.kind != kind || found.generation != at.generation;
                match found.tenant {
                    Tenant::Busy if !other && start.elapsed() >= shared.settings.ask_limit => {
                        return Err(RestoreError::Busy { actor, waited: start.elapsed() });
                    }
                    Tenant::Busy if !other => {
                        waits = true;
                        todo.push_back((row + number, 1));
                    }
                    // What is held is written too: it starts with that, or is gone.
                    Tenant::Running | Tenant::Held if !other => {}
                    _ => return Err(RestoreError::NoSuchActor(actor)),
                }
            }
            if waits {
                yield_once().await;
            }
        }
        Ok(())
    }
}

fn refused(error: CopyError, actor: ActorId) -> RestoreError {
    match error {
        CopyError::NoSlot => RestoreError::NoSuchActor(actor),
        CopyError::Late(waited) => RestoreError::NoAnswer { waited },
        CopyError::Stopped => RestoreError::Stopped,
    }
}

impl Chunks {
    /// The next chunk and its states.
    async fn next(&mut self) -> Result<Option<(usize, &[u8])>, RestoreError> {
        // Where the thread has ended, nobody needs it.
        let _ = self.taken.send(mem::take(&mut self.current));
        let Some((number, states)) = poll_fn(|cx| self.read.poll_next(cx)).await.transpose()? else { return Ok(None) };
        self.current = states;
        Ok(Some((number, &self.current)))
    }
}
