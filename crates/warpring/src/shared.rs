//! What the runtime, its handles and its workers share: rings, cells, and where each actor's memory is.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use warpring_core::message::{FROM_HOST, HIGH_PRIORITY, Header, Kind, NO_SENDER, Parcel, RingMessage, WAKE, encode, lines_for};
use warpring_core::module::ModuleTable;
use warpring_core::plan::{Limits, Plan, spawn_stride};
use warpring_core::ring::{Closed, Lines, Producer, SharedProducer};
use warpring_core::scoped::System;
use warpring_core::team::Cpu;
use warpring_core::worker::{Hooks, MAX_PORTS, Notice, Worker, lane_bytes};
use warpring_core::{ActorId, KernelError, Priority};

use crate::ask_cycle::AskCycles;
use crate::backend::Engine;
use crate::barrier;
use crate::cells::{Cells, Held};
use crate::dead_letter::DeadLetters;
use crate::deadlines::Deadlines;
use crate::directory::Directory;
use crate::ends::Ends;
use crate::error::{BuildError, Refusal, ShutdownError};
use crate::keeper::Keeper;
use crate::lock::lock;
use crate::memory::Block;
use crate::recent::Recent;
use crate::runtime::Settings;
use crate::slots::Slots;
use crate::staging::{AREA_BYTES, AREAS, Area};
use crate::stuck::Stuck;

/// A worker, as the host sees it.
pub(crate) struct Seat {
    pub(crate) worker: *mut Worker,
    pub(crate) ingress: SharedProducer,
    parked: *const AtomicU32,
    /// When it ran out of work; the worker's own.
    pub(crate) idle_since: AtomicU64,
    pub(crate) thread: OnceLock<std::thread::Thread>,
    /// It ended by a panic of the framework's own.
    pub(crate) lost: AtomicBool,
}

impl Seat {
    /// 1 while the worker sleeps, or is about to.
    #[inline(always)]
    pub(crate) fn parked(&self) -> &AtomicU32 {
        // SAFETY: a word of the shared area, which lives as long as the seat.
        unsafe { &*self.parked }
    }
}

/// Where a panic happened and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PanicSite {
    pub(crate) file: String,
    pub(crate) line: u32,
    pub(crate) message: String,
}

/// The producers of one port, one per worker, while no [`Port`](crate::Port) has them.
pub(crate) struct PortSeat {
    pub(crate) index: usize,
    pub(crate) producers: Box<[Producer]>,
}

// SAFETY: a producer names ring memory that `Shared` owns; the seat is moved as a whole and used by one thread at a time.
unsafe impl Send for PortSeat {}

pub(crate) struct Shared {
    /// First, so that it is dropped first: the simulator's lanes live in the memory below.
    pub(crate) engine: OnceLock<Engine>,
    me: Weak<Shared>,
    pub(crate) module: &'static ModuleTable,
    pub(crate) settings: Settings,
    pub(crate) seats: Box<[Seat]>,
    pub(crate) cells: Cells,
    pub(crate) dead: DeadLetters,
    pub(crate) cycles: AskCycles,
    pub(crate) stuck: Stuck,
    /// Where actors panicked, the last ones.
    pub(crate) panics: Mutex<Recent<PanicSite>>,
    pub(crate) ends: Ends,
    pub(crate) keeper: Keeper,
    pub(crate) lost: Mutex<Option<String>>,
    pub(crate) closing: AtomicBool,
    /// Replies that futures wait for.
    pub(crate) awaited: AtomicU32,
    pub(crate) ended: AtomicBool,
    pub(crate) slots: Mutex<Slots>,
    pub(crate) states: Mutex<Vec<Block>>,
    pub(crate) ports: Mutex<Vec<PortSeat>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) epoch: Instant,
    pub(crate) plan: Plan,
    /// The staging areas of the plan.
    pub(crate) areas: [Area; AREAS as usize],
    pub(crate) directory: Directory,
    #[allow(dead_code, reason = "owns what the rings and workers point to")]
    memory: Memory,
}

/// What owns the areas of a plan.
pub(crate) enum Memory {
    /// Both are on the heap.
    Heap(#[allow(dead_code, reason = "is only dropped")] [Block; 2]),
    /// They are the engine's.
    #[cfg(feature = "cuda")]
    Device,
}

// SAFETY: the raw pointers name memory that `memory` owns. Workers are run by one thread each, rings follow core's protocol.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Ports of a host backend: their rings cost nothing until they are used.
pub(crate) const HOST_PORTS: u32 = MAX_PORTS as u32;
/// Lines for control messages in each shared ring, of a ring that is large enough.
const SPARE: u32 = 8;

/// The plan for a module under these settings; nothing is allocated yet.
pub(crate) fn plan(module: &ModuleTable, settings: &Settings, lanes: u32, lane_bytes: u32, ports: u32, letters: u32) -> Plan {
    let actors = settings.max_actors.div_ceil(settings.workers);
    let spawn_stride = spawn_stride(module);
    let spawned = match settings.spawned_actors {
        Some(spawned) => spawned.div_ceil(settings.workers),
        None => (settings.spawn_bytes / u64::from(settings.workers) / u64::from(spawn_stride)).min(u64::from(actors)) as u32,
    };
    let limits = Limits {
        workers: settings.workers,
        lanes,
        ring_lines: settings.ring_lines,
        actors,
        spawned: spawned.min(actors),
        spawn_stride,
        waiting: settings.waiting_messages,
        frames: settings.suspended_handlers,
        timers: settings.timers,
        cells: settings.outstanding_asks + own_cells(settings),
        ports,
        max_lines: module.max_lines as u32,
        lane_bytes,
        letters,
        pause_ns: 0,
        staging: AREAS * AREA_BYTES,
        directory: settings.directory,
        ask_limit: settings.ask_limit.as_nanos().min(u128::from(u64::MAX / 2)) as u64,
    };
    Plan { limits, device: 0, shared: 0 }
}

/// Reply cells that the runtime keeps for itself.
fn own_cells(settings: &Settings) -> u32 {
    8 * settings.workers
}

/// Slots in so many bytes are few: who has no more of them has the memory of no more.
const FEW_SLOTS_BYTES: usize = 1 << 21;

impl Shared {
    /// Allocates everything on the heap and builds the workers; no thread runs yet. `hooks` of each worker point to the result.
    pub(crate) fn on_heap(
        module: &'static ModuleTable,
        settings: Settings,
        dead: DeadLetters,
        lanes: u32,
        letters: u32,
        hooks: fn(*const ()) -> Hooks,
    ) -> Result<Arc<Self>, BuildError> {
        let mut plan = plan(module, &settings, lanes, lane_bytes(module.future_bytes) as u32, HOST_PORTS, letters);
        let area = |bytes| Block::try_new(bytes as usize, 1).ok_or(BuildError::Memory { bytes });
        let blocks = [area(plan.device_bytes())?, area(plan.shared_bytes())?];
        (plan.device, plan.shared) = (blocks[0].address(), blocks[1].address());
        for worker in 0..settings.workers {
            // The first slots and the last, where handlers spawn, are used one by one; what lies between, by many actors at once.
            let (slots, bytes) = plan.slots(worker);
            let from = (slots - plan.device) as usize + FEW_SLOTS_BYTES;
            blocks[0].prefer_large_pages(from, (bytes as usize).saturating_sub(2 * FEW_SLOTS_BYTES));
        }
        // SAFETY: the blocks are as large as the plan says, zeroed, and live as long as `Shared`, which owns them.
        let shared = unsafe { Self::new(module, settings, dead, plan, Memory::Heap(blocks)) };
        for worker in 0..shared.settings.workers {
            // SAFETY: as above; each worker is built once, and for this module.
            unsafe { shared.plan.build(worker, module, hooks(Arc::as_ptr(&shared).cast())) }
        }
        Ok(shared)
    }

    /// The host's side of a plan.
    ///
    /// # Safety
    /// The shared area of the plan is live for as long as `memory`, zeroed, and nobody else has the host's ends of its rings.
    pub(crate) unsafe fn new(
        module: &'static ModuleTable,
        settings: Settings,
        dead: DeadLetters,
        plan: Plan,
        memory: Memory,
    ) -> Arc<Self> {
        let workers = settings.workers;
        // SAFETY: contract; one producer per ring.
        let (cells, seats, ports) = unsafe {
            let (asks, own) = (settings.outstanding_asks, own_cells(&settings));
            let cells = Cells::new(asks, own, module.max_lines, plan.cells(), plan.cells_parked());
            let spare = if plan.limits.ring_lines >= 8 * SPARE { SPARE } else { 0 };
            let seats: Box<[Seat]> = (0..workers)
                .map(|w| Seat {
                    worker: plan.worker(w),
                    ingress: SharedProducer::new(plan.ingress(w)).sparing(spare),
                    parked: plan.parked(w).cast(),
                    idle_since: AtomicU64::new(0),
                    thread: OnceLock::new(),
                    lost: AtomicBool::new(false),
                })
                .collect();
            let port = |index| PortSeat {
                index: index as usize,
                producers: (0..workers).map(|w| Producer::new(plan.port(w, index))).collect(),
            };
            (cells, seats, (0..plan.limits.ports).map(port).rev().collect())
        };
        let deadlines = Deadlines::new(cells.total());
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            module,
            slots: Mutex::new(Slots::new(workers, plan.limits.actors)),
            settings,
            seats,
            cells,
            dead,
            cycles: AskCycles::default(),
            stuck: Stuck::default(),
            panics: Mutex::default(),
            ends: Ends::default(),
            keeper: Keeper::new(),
            lost: Mutex::default(),
            closing: AtomicBool::new(false),
            awaited: AtomicU32::new(0),
            ended: AtomicBool::new(false),
            states: Mutex::default(),
            ports: Mutex::new(ports),
            deadlines,
            engine: OnceLock::new(),
            epoch: Instant::now(),
            plan,
            areas: Default::default(),
            directory: Directory::new(plan.limits.directory),
            memory,
        })
    }

    /// Itself, for what outlives the call; `None` while it is being dropped.
    pub(crate) fn arc(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// A bit for each port that was ever opened.
    pub(crate) fn open_ports(&self) -> &AtomicU32 {
        // SAFETY: a word of the shared area.
        unsafe { &*self.plan.open_ports().cast() }
    }

    /// Lets a backend without threads of its own do some work. Whoever waits calls it.
    #[inline]
    pub(crate) fn pump(&self) {
        self.pump_until(u64::MAX, &|| false);
    }

    /// As [`pump`](Self::pump), for a waiter who waits until this time on the workers' clock, or until `done`.
    #[inline]
    pub(crate) fn pump_until(&self, until: u64, done: &dyn Fn() -> bool) {
        if let Some(engine) = self.engine.get() {
            engine.pump(self, until, done);
        }
    }

    /// Nanoseconds on the workers' clock.
    pub(crate) fn now(&self) -> u64 {
        match self.engine.get() {
            Some(engine) => engine.now(self),
            None => 0,
        }
    }

    /// The header of a message from the host.
    #[inline(always)]
    pub(crate) fn header(&self, to: ActorId, tag: u16, lines: u8, options: SendOptions, held: Option<Held>) -> Header {
        let kind = if held.is_some() { Kind::Ask } else { Kind::Tell } as u8;
        let high = if options.priority == Priority::High { HIGH_PRIORITY } else { 0 };
        Header {
            kind: kind | high | if options.wake { WAKE } else { 0 },
            lines,
            tag,
            slot: to.slot,
            generation: to.generation,
            sender_generation: 0,
            origin: FROM_HOST,
            correlation: held.map_or(0, |held| held.cell),
            sender: held.map_or(NO_SENDER, |held| held.sequence),
            deadline: options.deadline,
        }
    }

    /// Puts a message into the shared ring of its actor's worker.
    #[inline(always)]
    pub(crate) fn post(&self, to: ActorId, header: &Header, parcel: Parcel<'_>) -> Result<(), Refusal> {
        let worker = u32::from(to.worker);
        let Some(seat) = self.seats.get(worker as usize) else { return Err(Refusal::ActorStopped(to)) };
        if self.closing.load(Ordering::Relaxed) {
            return Err(self.stopped());
        }
        match self.push(seat, worker, header, parcel) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::RingFull { worker }),
            Err(Closed) => Err(self.stopped()),
        }
    }

    /// Puts a message into the shared ring of a worker, which control messages find room in even then, and wakes the worker. False: the
    /// ring is full.
    #[inline(always)]
    pub(crate) fn push(&self, seat: &Seat, worker: u32, header: &Header, parcel: Parcel<'_>) -> Result<bool, Closed> {
        let pushed = seat.ingress.push_sparing::<System>(header, parcel);
        if let Ok(true) = pushed {
            self.wake(worker);
        }
        pushed
    }

    /// Why the runtime takes no messages any more.
    #[cold]
    pub(crate) fn stopped(&self) -> Refusal {
        let lost = self.engine.get().is_some_and(|engine| engine.fault().is_some());
        if lost { Refusal::BackendLost } else { Refusal::RuntimeStopped }
    }

    /// Wakes a worker that sleeps, after a message was published to it.
    #[inline(always)]
    pub(crate) fn wake(&self, worker: u32) {
        // SYNC: sleep: the sleeper executes the barrier for both sides.
        barrier::light();
        let seat = &self.seats[worker as usize];
        if seat.parked().load(Ordering::Relaxed) != 0 {
            self.unpark(worker);
        }
    }

    #[cold]
    pub(crate) fn unpark(&self, worker: u32) {
        let seat = &self.seats[worker as usize];
        // One of many senders pays for the system call.
        if seat.parked().swap(0, Ordering::AcqRel) != 0 {
            match seat.thread.get() {
                Some(thread) => thread.unpark(),
                None => self.engine.get().iter().for_each(|engine| engine.rouse()),
            }
        }
    }

    /// Sends a control message to a worker and gives the cell that its answer comes to.
    pub(crate) fn control<M: RingMessage>(&self, worker: u32, tag: u16, message: &M) -> Result<Held, Refusal> {
        let Some(held) = self.cells.take_own() else { return Err(Refusal::TooManyAsks { limit: self.cells.count() }) };
        let header = Header {
            kind: Kind::Control as u8 | WAKE,
            lines: lines_for(M::SIZE) as u8,
            tag,
            origin: FROM_HOST,
            correlation: held.cell,
            sender: held.sequence,
            ..Header::default()
        };
        let pushed = encode(message, |parcel| self.seats[worker as usize].ingress.push::<System>(&header, parcel));
        match pushed {
            Ok(true) => {
                self.wake(worker);
                Ok(held)
            }
            Ok(false) => {
                self.cells.release(held.cell);
                Err(Refusal::RingFull { worker })
            }
            Err(_) => {
                self.cells.release(held.cell);
                Err(Refusal::RuntimeStopped)
            }
        }
    }

    /// Answers what the ended workers have left, and what ports have sent since. A port looks at `closing` and then sends, without
    /// a barrier between: what slips in behind the end is found when the port is dropped.
    pub(crate) fn refuse_rest(&self) -> Result<(), ShutdownError> {
        let _ports = lock(&self.ports);
        #[cfg(feature = "cuda")]
        if let Some(Engine::Cuda(cuda)) = self.engine.get() {
            // Only the device reaches what its workers have left.
            let finished = cuda.finish(self);
            self.ended.store(true, Ordering::Release);
            return finished;
        }
        for seat in &self.seats {
            let until = seat.ingress.close();
            // SAFETY: the workers have ended, the ring is closed, and the lock keeps everybody else out.
            unsafe {
                (*seat.worker).finish::<Cpu>();
                (*seat.worker).refuse_inlets::<Cpu>(until);
            }
        }
        // Within the lock: a port that is dropped from now on looks for itself.
        self.ended.store(true, Ordering::Release);
        Ok(())
    }

    /// Takes back what belonged to a port that is dropped.
    pub(crate) fn return_port(&self, port: PortSeat) {
        let mut ports = lock(&self.ports);
        if self.ended.load(Ordering::Acquire) {
            #[cfg(feature = "cuda")]
            if let Some(Engine::Cuda(cuda)) = self.engine.get() {
                // A lost device answers nothing, and there is nobody to tell.
                let _ = cuda.finish(self);
                return ports.push(port);
            }
            for seat in &self.seats {
                // SAFETY: as in `refuse_rest`.
                unsafe { (*seat.worker).refuse_inlets::<Cpu>(seat.ingress.close()) }
            }
        }
        ports.push(port);
    }

    /// Takes the dead letters that workers of a grid have posted.
    pub(crate) fn take_letters(&self) {
        match self.engine.get() {
            #[cfg(feature = "cuda")]
            Some(Engine::Cuda(cuda)) => cuda.watch().take_letters(self),
            #[cfg(feature = "sim")]
            Some(Engine::Sim(sim)) => sim.watch().take_letters(self),
            _ => {}
        }
    }

    /// What a worker's refusal means for the host.
    pub(crate) fn refusal(&self, to: ActorId, error: KernelError) -> Refusal {
        match error {
            KernelError::Stopped if self.engine.get().is_some_and(|engine| engine.fault().is_some()) => Refusal::BackendLost,
            KernelError::Stopped if self.closing.load(Ordering::Relaxed) => Refusal::RuntimeStopped,
            KernelError::MailboxFull { capacity } => Refusal::MailboxFull { actor: to, capacity },
            KernelError::Overloaded => Refusal::Overloaded { worker: u32::from(to.worker) },
            KernelError::Deadline => Refusal::Expired,
            KernelError::Malformed => Refusal::NotUnderstood(to),
            _ => Refusal::ActorStopped(to),
        }
    }

    /// The time that an ask may take, and the deadline in its header (none for the default limit, which only the asker keeps).
    pub(crate) fn limit(&self, stated: Option<Duration>) -> (Duration, u32) {
        match stated {
            None => (self.settings.ask_limit, 0),
            Some(limit) => {
                let ns = limit.as_nanos().min(u128::from(u64::MAX / 2)) as u64;
                (limit, warpring_core::message::deadline_within(self.now(), ns))
            }
        }
    }
}

/// What a sender may choose.
#[derive(Clone, Copy, Default)]
pub(crate) struct SendOptions {
    pub(crate) priority: Priority,
    /// In the header; 0 for none.
    pub(crate) deadline: u32,
    /// The asker sleeps until it is woken.
    pub(crate) wake: bool,
}

/// What a worker tells the host.
///
/// # Safety
/// `data` is a live `Shared`.
pub(crate) unsafe fn hook_notice(data: *const (), notice: &Notice) {
    // SAFETY: contract.
    unsafe { &*data.cast::<Shared>() }.hear(notice);
}

// Hooks that all host backends share. `data` is the `Shared` that outlives the workers.

/// # Safety
/// `data` is a live `Shared`.
pub(crate) unsafe fn hook_wake_worker(data: *const (), worker: u32) {
    // SAFETY: contract.
    unsafe { &*data.cast::<Shared>() }.unpark(worker);
}

/// # Safety
/// `data` is a live `Shared`.
pub(crate) unsafe fn hook_wake_cell(data: *const (), cell: u32) {
    // SAFETY: contract.
    unsafe { &*data.cast::<Shared>() }.cells.waker(cell).wake();
}

/// # Safety
/// `data` is a live `Shared`.
pub(crate) unsafe fn hook_dead_letter(data: *const (), worker: u32, header: &Header, message: Lines, reason: KernelError) {
    // The payload of a message that a handler had taken is gone: it says that it has no lines.
    let message = (header.lines > 0).then_some(message);
    // SAFETY: contract; the lines are acquired or owned (`Hooks::dead_letter`).
    unsafe { (*data.cast::<Shared>()).dead.add(worker, header, message, reason) }
}
