//! Launching actors: their slots, their values, and the question to the worker.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use warpring_core::layout::round_up;
use warpring_core::module::Exported;
use warpring_core::worker::{ADOPT_SUPERVISED, Adopt, CONTROL_ADOPT};
use warpring_core::{ActorId, GroupAddress, KernelError};

use crate::actor_ref::{ActorRef, Group};
use crate::backend::Engine;
#[cfg(feature = "cuda")]
use crate::backend::cuda;
use crate::error::LaunchError;
use crate::lock::lock;
use crate::memory::Block;
use crate::reply::Pending;
use crate::runtime::{Runtime, answered, control};
use crate::shared::Shared;
use crate::slots::{GENERATION, Place};

/// Where and how an actor is launched.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LaunchOptions {
    /// The worker that runs it; `None` deals actors out in turn, past workers that are full. A group is always spread over all workers.
    pub worker: Option<u32>,
    /// Messages that its mailbox holds while it is busy.
    pub mailbox: u16,
}

impl Default for LaunchOptions {
    fn default() -> Self {
        Self { worker: None, mailbox: 1024 }
    }
}

impl LaunchOptions {
    /// On this worker.
    pub fn on_worker(mut self, worker: u32) -> Self {
        self.worker = Some(worker);
        self
    }

    /// With a mailbox of this many messages, at least 1.
    pub fn mailbox(mut self, messages: u16) -> Self {
        self.mailbox = messages;
        self
    }
}

impl Runtime {
    /// Launches an actor and waits until its `initialize` has ended.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub async fn launch<K: Exported>(&self, kernel: K, options: LaunchOptions) -> Result<ActorRef<K>, LaunchError> {
        one(self.shared(), kernel, &options, None::<fn(&[ActorId]) -> bool>).await
    }

    /// Launches `count` actors, spread over all workers, and waits until every `initialize` has ended. `kernel(i)` gives the
    /// value of number `i`.
    ///
    /// # Errors
    /// See [`LaunchError`]. [`LaunchError::Initialize`] is the first error; the other actors run.
    pub async fn launch_many<K: Exported>(
        &self,
        count: u32,
        options: LaunchOptions,
        kernel: impl FnMut(u32) -> K,
    ) -> Result<Group<K>, LaunchError> {
        check::<K>(self.shared(), &options)?;
        let values = Values::of_group(self.shared(), count, kernel)?;
        group(self.shared(), count, &options, values, None::<fn(&[ActorId]) -> bool>).await
    }
}

/// Launches one actor. With `supervised`, it is held when it has ended; that function hears of its id before it runs, and may say no.
pub(crate) async fn one<K: Exported>(
    shared: &Arc<Shared>,
    kernel: K,
    options: &LaunchOptions,
    supervised: Option<impl FnOnce(&[ActorId]) -> bool>,
) -> Result<ActorRef<K>, LaunchError> {
    check::<K>(shared, options)?;
    kernel.validate().map_err(LaunchError::Invalid)?;
    let id = lock(&shared.slots).take(options.worker)?;
    let stride = kernel_stride::<K>();
    let values = Values::new(1, stride);
    values.put(0, kernel);
    let place = match values.place(shared, 1) {
        Ok(place) => place,
        Err(error) => {
            shared.vacate(id);
            return Err(error);
        }
    };
    let adopt = Adopt {
        slot: id.slot,
        count: 1,
        state: place.address(),
        stride: stride as u32,
        kind: K::KIND,
        capacity: options.mailbox,
        generation: id.generation,
        flags: if supervised.is_some() { ADOPT_SUPERVISED } else { 0 },
    };
    // Kept until the actor or the workers have ended, whatever becomes of this future.
    lock(&shared.slots).keep(id, place);
    if supervised.is_some_and(|known| !known(&[id])) {
        shared.vacate(id);
        return Err(LaunchError::Stopped);
    }
    // It runs the user's `initialize`: it has no deadline of its own.
    let pending = control(shared, id.worker.into(), CONTROL_ADOPT, &adopt, Duration::MAX).await;
    let launched = match pending {
        Ok(pending) => adopted(pending).await,
        Err(_) => Err(LaunchError::Stopped),
    };
    match launched {
        Ok(()) => Ok(ActorRef::new(Arc::clone(shared), id)),
        Err(error) => {
            // Nobody has its address, and its frame is gone: the next tenant takes its slot.
            if !matches!(error, LaunchError::Stopped) {
                shared.vacate(id);
            }
            Err(error)
        }
    }
}

/// Launches a group; `supervised` as for [`one`].
pub(crate) async fn group<K: Exported>(
    shared: &Arc<Shared>,
    count: u32,
    options: &LaunchOptions,
    values: Vec<Values>,
    supervised: Option<impl FnOnce(&[ActorId]) -> bool>,
) -> Result<Group<K>, LaunchError> {
    check_group::<K>(shared, options)?;
    let workers = shared.settings.workers;
    // Before anything is taken or launched: a value without a place costs nobody's start.
    let mut places = Vec::with_capacity(workers as usize);
    for (worker, values) in values.into_iter().enumerate() {
        let rows = rows(count, workers, worker as u32);
        let stride = values.stride;
        if rows > 0 {
            match values.place(shared, rows) {
                Ok(place) => places.push((worker as u32, rows, stride, place)),
                Err(error) => return Err(give_back(shared, places, error)),
            }
        }
    }
    let base = match lock(&shared.slots).take_rows(rows(count, workers, 0), count) {
        Ok(base) => base,
        Err(error) => return Err(give_back(shared, places, error)),
    };
    let address = GroupAddress::<K>::new(base, count, workers as u16, GENERATION);
    let flags = if supervised.is_some() { ADOPT_SUPERVISED } else { 0 };
    if let Some(known) = supervised {
        let ids: Vec<_> = (0..count).filter_map(|index| address.get(index)).map(|actor| actor.id()).collect();
        if !known(&ids) {
            ids.into_iter().for_each(|id| shared.vacate(id));
            return Err(give_back(shared, places, LaunchError::Stopped));
        }
    }
    let mut pending = Vec::with_capacity(places.len());
    for (worker, rows, stride, place) in places {
        let adopt = Adopt {
            slot: base,
            count: rows,
            state: place.address(),
            stride: stride as u32,
            kind: K::KIND,
            capacity: options.mailbox,
            generation: GENERATION,
            flags,
        };
        match place {
            // Kept until the workers have ended: the actors of a group share it.
            Place::Heap(block) => lock(&shared.states).push(block),
            #[cfg(feature = "cuda")]
            Place::Device { .. } => {}
        }
        let asked = control(shared, worker, CONTROL_ADOPT, &adopt, Duration::MAX).await;
        pending.push(asked.map_err(|_| LaunchError::Stopped)?);
    }
    let mut result = Ok(());
    for launch in pending {
        result = result.and(adopted(launch).await);
    }
    result?;
    Ok(Group::new(Arc::clone(shared), address))
}

/// A group is not launched: its values have no places any more.
fn give_back(shared: &Shared, places: Vec<(u32, u32, usize, Place)>, error: LaunchError) -> LaunchError {
    places.into_iter().for_each(|(.., place)| shared.free(place));
    error
}

/// Actors of a group on one worker.
pub(crate) fn rows(count: u32, workers: u32, worker: u32) -> u32 {
    count / workers + u32::from(worker < count % workers)
}

/// Whether the runtime can launch a `K` so.
pub(crate) fn check<K: Exported>(shared: &Shared, options: &LaunchOptions) -> Result<(), LaunchError> {
    let (kernel, runtime) = (K::module(), shared.module);
    if !std::ptr::eq(kernel, runtime) {
        return Err(LaunchError::WrongModule { kernel: kernel.name, runtime: runtime.name });
    }
    let backend = shared.engine.get().map_or("none", Engine::name);
    if K::METADATA.requires_gpu_native && backend != "cuda" {
        return Err(LaunchError::NeedsGpu { kernel: K::METADATA.id, backend });
    }
    let workers = shared.settings.workers;
    if let Some(worker) = options.worker
        && worker >= workers
    {
        return Err(LaunchError::NoSuchWorker { worker, workers });
    }
    if options.mailbox == 0 {
        return Err(LaunchError::Option { name: "mailbox", allowed: "1 to 65,535 messages" });
    }
    Ok(())
}

/// As [`check`], for a group.
pub(crate) fn check_group<K: Exported>(shared: &Shared, options: &LaunchOptions) -> Result<(), LaunchError> {
    check::<K>(shared, options)?;
    if options.worker.is_some() {
        return Err(LaunchError::Option { name: "worker", allowed: "nothing for a group, which is spread over all workers" });
    }
    Ok(())
}

/// Whether a group has room on an empty runtime.
pub(crate) fn check_rows(shared: &Shared, count: u32) -> Result<(), LaunchError> {
    let (workers, limit) = (shared.settings.workers, shared.plan.limits.actors);
    if rows(count, workers, 0) > limit {
        return Err(LaunchError::TooManyActors { wanted: count.into(), limit: u64::from(limit) * u64::from(workers) });
    }
    Ok(())
}

/// The values of a launch on one worker, side by side.
pub(crate) struct Values {
    block: Block,
    stride: usize,
}

const fn kernel_stride<K>() -> usize {
    const { assert!(align_of::<K>() <= 128, "a kernel is aligned to at most 128 bytes") };
    let stride = round_up(size_of::<K>(), align_of::<K>());
    if stride == 0 { 1 } else { stride }
}

impl Values {
    pub(crate) fn new(count: u32, stride: usize) -> Self {
        Self { block: Block::filled(stride, count as usize), stride }
    }

    /// Room for so many of a kernel.
    pub(crate) fn of<K>(count: u32) -> Self {
        Self::new(count, kernel_stride::<K>())
    }

    pub(crate) fn stride(&self) -> u32 {
        self.stride as u32
    }

    /// The bytes of values, one after the other, from a row on.
    pub(crate) fn put_bytes(&self, row: u32, values: &[u8]) {
        let at = row as usize * self.stride;
        assert!(at + values.len() <= self.block.bytes(), "values have a place");
        // SAFETY: there are so many bytes, as was just checked, and nobody else has the block yet.
        unsafe { self.block.ptr::<u8>().add(at).copy_from_nonoverlapping(values.as_ptr(), values.len()) }
    }

    /// All values of a group before any slot is taken: a kernel that is not valid, or a panic in `kernel`, costs no slots.
    pub(crate) fn of_group<K: Exported>(
        shared: &Shared,
        count: u32,
        mut kernel: impl FnMut(u32) -> K,
    ) -> Result<Vec<Self>, LaunchError> {
        check_rows(shared, count)?;
        let workers = shared.settings.workers;
        let values: Vec<Self> = (0..workers).map(|w| Self::of::<K>(rows(count, workers, w))).collect();
        for index in 0..count {
            let kernel = kernel(index);
            kernel.validate().map_err(LaunchError::Invalid)?;
            values[(index % workers) as usize].put(index / workers, kernel);
        }
        Ok(values)
    }

    fn put<K: Exported>(&self, row: u32, kernel: K) {
        // SAFETY: the block has a row of `size_of::<K>()` bytes for it, aligned to the stride; kernels are plain data, so nothing
        // needs to be dropped later.
        unsafe {
            let at = self.block.ptr::<u8>().add(row as usize * self.stride);
            at.cast::<K>().write(kernel);
            K::clear_padding(at);
        }
    }

    /// Puts the first `count` values where the workers reach them.
    pub(crate) fn place(self, shared: &Shared, count: u32) -> Result<Place, LaunchError> {
        let _ = count;
        match shared.engine.get() {
            #[cfg(feature = "cuda")]
            Some(Engine::Cuda(cuda)) => {
                // SAFETY: the block was zeroed, and then values were written whose padding is zeros too.
                let bytes = unsafe { std::slice::from_raw_parts(self.block.ptr::<u8>(), self.stride * count as usize) };
                let at = cuda.place(bytes).map_err(|error| match error {
                    cuda::PlaceError::Full { wanted, left } => LaunchError::StateFull { wanted, left },
                    cuda::PlaceError::Lost(message) => LaunchError::BackendLost { message },
                })?;
                Ok(Place::Device { at, bytes: bytes.len() as u64 })
            }
            _ => Ok(Place::Heap(self.block)),
        }
    }
}

/// Waits for the end of a launch: of every `initialize` on one worker.
pub(crate) async fn adopted(launch: Pending) -> Result<(), LaunchError> {
    let shared = Arc::clone(&launch.shared);
    // A launch has no deadline, so only the end of the runtime keeps the answer away.
    let Ok(answer) = answered(launch).await else { return Err(LaunchError::Stopped) };
    answer.map_err(|error| match error {
        KernelError::Stopped if shared.closing.load(Ordering::Acquire) => LaunchError::Stopped,
        KernelError::TooManyActors => {
            let limit = u64::from(shared.settings.max_actors);
            LaunchError::TooManyActors { wanted: limit + 1, limit }
        }
        error => LaunchError::Initialize(error),
    })
}
