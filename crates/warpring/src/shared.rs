//! What the runtime, its handles and its workers share: rings, cells, and where each actor's memory is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use warpring_core::message::{FROM_HOST, HIGH_PRIORITY, Header, Kind, NO_SENDER, Parcel, RingMessage, WAKE, encode, lines_for};
use warpring_core::module::ModuleTable;
use warpring_core::ring::{Consumer, Line, Lines, Producer, RingMemory, SharedProducer};
use warpring_core::scoped::{System, Word32};
use warpring_core::team::Cpu;
use warpring_core::worker::{Hooks, MAX_PORTS, Peer, Worker, WorkerMemory, lane_bytes};
use warpring_core::{Actor, ActorId, Frame, KernelError, Priority};

use crate::backend::Engine;
use crate::barrier;
use crate::cells::{Cells, Held};
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::deadlines::Deadlines;
use crate::error::Refusal;
use crate::memory::Block;
use crate::runtime::Settings;

/// A worker, as the host sees it.
pub(crate) struct Seat {
    pub(crate) worker: *mut Worker,
    pub(crate) ingress: SharedProducer,
    /// 1 while the worker sleeps, or is about to.
    pub(crate) parked: Padded<AtomicU32>,
    /// When it ran out of work; the worker's own.
    pub(crate) idle_since: AtomicU64,
    pub(crate) thread: OnceLock<std::thread::Thread>,
    /// It ended by a panic of the framework's own.
    pub(crate) lost: AtomicBool,
}

/// A value alone on its pair of cache lines.
#[repr(align(128))]
#[derive(Default)]
pub(crate) struct Padded<T>(pub(crate) T);

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

/// How many actors have been launched, and where the next ones go.
#[derive(Default)]
pub(crate) struct Slots {
    pub(crate) next: Vec<u32>,
    pub(crate) turn: u32,
    pub(crate) launched: u64,
}

pub(crate) struct Shared {
    /// First, so that it is dropped first: the simulator's lanes live in the memory below.
    pub(crate) engine: OnceLock<Engine>,
    pub(crate) module: &'static ModuleTable,
    pub(crate) settings: Settings,
    pub(crate) seats: Box<[Seat]>,
    pub(crate) cells: Cells,
    pub(crate) dead: DeadLetters,
    pub(crate) panics: Mutex<HashMap<ActorId, PanicSite>>,
    pub(crate) lost: Mutex<Option<String>>,
    pub(crate) closing: AtomicBool,
    /// Replies that futures wait for.
    pub(crate) awaited: AtomicU32,
    pub(crate) ended: AtomicBool,
    pub(crate) slots: Mutex<Slots>,
    pub(crate) states: Mutex<Vec<Block>>,
    pub(crate) ports: Mutex<Vec<PortSeat>>,
    pub(crate) open_ports: Box<Padded<AtomicU32>>,
    pub(crate) deadlines: Deadlines,
    pub(crate) epoch: Instant,
    #[allow(dead_code, reason = "owns what the rings and workers point to")]
    blocks: Vec<Block>,
}

// SAFETY: the raw pointers name memory that `blocks` owns. Workers are run by one thread each, rings follow core's protocol.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// Memory of `count` rings of `lines` lines, with their credits, in blocks that `blocks` owns.
struct Rings<'a> {
    blocks: &'a mut Vec<Block>,
}

impl Rings<'_> {
    fn block<T>(&mut self, count: usize) -> *mut T {
        let block = Block::of::<T>(count);
        let at = block.ptr();
        self.blocks.push(block);
        at
    }

    fn ring(&mut self, lines: u32) -> RingMemory {
        RingMemory {
            lines: self.block::<Line>(lines as usize),
            // A block is aligned to 128 bytes and at least as long: the credit is alone on its line.
            credit: self.block::<Word32>(1),
            mask: lines - 1,
        }
    }
}

impl Shared {
    /// Allocates everything and builds the workers; no thread runs yet. `hooks` of each worker point to the result.
    pub(crate) fn new(
        module: &'static ModuleTable,
        settings: Settings,
        dead: DeadLetters,
        lanes: u32,
        hooks: fn(*const ()) -> Hooks,
    ) -> Arc<Self> {
        let workers = settings.workers;
        let n = workers as usize;
        let mut blocks = Vec::new();
        let mut rings = Rings { blocks: &mut blocks };
        let cells = Cells::new(settings.outstanding_asks, 8 * workers, module.max_lines);
        let peers: Vec<*mut Peer> = (0..n).map(|_| rings.block::<Peer>(n)).collect();
        let inlets: Vec<*mut Consumer> = (0..n).map(|_| rings.block::<Consumer>(1 + MAX_PORTS)).collect();
        let seats: Box<[Seat]> = (0..n)
            .map(|w| {
                let ingress = rings.ring(settings.ring_lines);
                // SAFETY: fresh zeroed memory that lives as long as `Shared`; one producer, one consumer.
                unsafe { inlets[w].write(Consumer::new(ingress)) }
                Seat {
                    worker: rings.block::<Worker>(1),
                    // SAFETY: as above.
                    ingress: unsafe { SharedProducer::new(ingress) },
                    parked: Padded::default(),
                    idle_since: AtomicU64::new(0),
                    thread: OnceLock::new(),
                    lost: AtomicBool::new(false),
                }
            })
            .collect();
        for from in 0..n {
            for to in 0..n {
                let (requests, replies) = if from == to {
                    (rings.ring(16), rings.ring(16))
                } else {
                    (rings.ring(settings.ring_lines), rings.ring(settings.ring_lines))
                };
                // SAFETY: fresh memory; `from` alone produces, `to` alone consumes. Each field is written once, before any is read.
                unsafe {
                    let out = peers[from].add(to);
                    (&raw mut (*out).requests_out).write(Producer::new(requests));
                    (&raw mut (*out).replies_out).write(Producer::new(replies));
                    (&raw mut (*out).parked).write((&raw const seats[to].parked.0).cast());
                    let back = peers[to].add(from);
                    (&raw mut (*back).requests_in).write(Consumer::new(requests));
                    (&raw mut (*back).replies_in).write(Consumer::new(replies));
                }
            }
        }
        let ports = (0..MAX_PORTS)
            .map(|index| {
                let producers = (0..n)
                    .map(|w| {
                        let ring = rings.ring(settings.ring_lines);
                        // SAFETY: fresh memory; the port alone produces, the worker alone consumes.
                        unsafe {
                            inlets[w].add(1 + index).write(Consumer::new(ring));
                            Producer::new(ring)
                        }
                    })
                    .collect();
                PortSeat { index, producers }
            })
            .rev()
            .collect();
        let open_ports: Box<Padded<AtomicU32>> = Box::default();
        let per_worker = settings.max_actors.div_ceil(workers);
        let memory: Vec<WorkerMemory> = (0..n)
            .map(|w| WorkerMemory {
                index: w as u32,
                workers,
                lanes,
                actors: rings.block::<Actor>(per_worker as usize),
                actor_capacity: per_worker,
                nodes: rings.block::<Line>(settings.waiting_messages as usize * module.max_lines),
                node_count: settings.waiting_messages,
                frames: rings.block::<Frame>(settings.suspended_handlers as usize),
                frame_count: settings.suspended_handlers,
                frame_lines: rings.block::<Line>(settings.suspended_handlers as usize * module.max_lines),
                lane_memory: rings
                    .block::<[u64; 8]>(
                        settings.suspended_handlers as usize * lanes as usize * lane_bytes(module.future_bytes) / 64,
                    )
                    .cast(),
                peers: peers[w],
                inlets: inlets[w],
                open_ports: (&raw const open_ports.0).cast(),
                cells: cells.lines(),
                cell_parked: cells.parked_words(),
                ask_limit: settings.ask_limit.as_nanos() as u64,
                hooks: hooks(std::ptr::null()),
                module,
            })
            .collect();
        let deadlines = Deadlines::new(cells.total());
        let shared = Arc::new(Self {
            module,
            slots: Mutex::new(Slots { next: vec![0; n], ..Slots::default() }),
            settings,
            seats,
            cells,
            dead,
            panics: Mutex::default(),
            lost: Mutex::default(),
            closing: AtomicBool::new(false),
            awaited: AtomicU32::new(0),
            ended: AtomicBool::new(false),
            states: Mutex::default(),
            ports: Mutex::new(ports),
            open_ports,
            deadlines,
            engine: OnceLock::new(),
            epoch: Instant::now(),
            blocks,
        });
        for (seat, mut memory) in shared.seats.iter().zip(memory) {
            memory.hooks = hooks(Arc::as_ptr(&shared).cast());
            // SAFETY: all memory was allocated above with the stated sizes and lives as long as `shared`.
            unsafe { Worker::init(seat.worker, &memory) }
        }
        shared
    }

    /// Lets a backend without threads of its own do some work. Whoever waits calls it.
    #[inline]
    pub(crate) fn pump(&self) {
        self.pump_until(u64::MAX);
    }

    /// As [`pump`](Self::pump), for a waiter who waits until this time on the workers' clock.
    #[inline]
    pub(crate) fn pump_until(&self, until: u64) {
        if let Some(engine) = self.engine.get() {
            engine.pump(self, until);
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
            return Err(Refusal::RuntimeStopped);
        }
        match seat.ingress.push::<System>(header, parcel) {
            Ok(true) => {
                self.wake(worker);
                Ok(())
            }
            Ok(false) => Err(Refusal::RingFull { worker }),
            Err(_) => Err(Refusal::RuntimeStopped),
        }
    }

    /// Wakes a worker that sleeps, after a message was published to it.
    #[inline(always)]
    pub(crate) fn wake(&self, worker: u32) {
        // SYNC: sleep: the sleeper executes the barrier for both sides.
        barrier::light();
        let seat = &self.seats[worker as usize];
        if seat.parked.0.load(Ordering::Relaxed) != 0 {
            self.unpark(worker);
        }
    }

    #[cold]
    pub(crate) fn unpark(&self, worker: u32) {
        let seat = &self.seats[worker as usize];
        // One of many senders pays for the system call.
        if seat.parked.0.swap(0, Ordering::AcqRel) != 0
            && let Some(thread) = seat.thread.get()
        {
            thread.unpark();
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
    pub(crate) fn refuse_rest(&self) {
        let _ports = self.ports.lock().unwrap_or_else(|e| e.into_inner());
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
    }

    /// Takes back what belonged to a port that is dropped.
    pub(crate) fn return_port(&self, port: PortSeat) {
        let mut ports = self.ports.lock().unwrap_or_else(|e| e.into_inner());
        if self.ended.load(Ordering::Acquire) {
            for seat in &self.seats {
                // SAFETY: as in `refuse_rest`.
                unsafe { (*seat.worker).refuse_inlets::<Cpu>(seat.ingress.close()) }
            }
        }
        ports.push(port);
    }

    /// What a worker's refusal means for the host.
    pub(crate) fn refusal(&self, to: ActorId, error: KernelError) -> Refusal {
        match error {
            KernelError::Stopped if self.closing.load(Ordering::Relaxed) => Refusal::RuntimeStopped,
            KernelError::MailboxFull { capacity } => Refusal::MailboxFull { actor: to, capacity },
            KernelError::Overloaded => Refusal::Overloaded { worker: u32::from(to.worker) },
            KernelError::Deadline => Refusal::Expired,
            KernelError::Malformed => Refusal::NotUnderstood(to),
            _ => Refusal::ActorStopped(to),
        }
    }

    pub(crate) fn add_dead_letter(&self, worker: u32, header: &Header, reason: KernelError) {
        let from = (header.origin != FROM_HOST && header.sender != NO_SENDER).then_some(ActorId {
            slot: header.sender,
            generation: header.sender_generation,
            worker: (header.origin >> 16) as u16,
        });
        let to = ActorId { slot: header.slot, generation: header.generation, worker: worker as u16 };
        self.dead.add(DeadLetter::new(to, from, header.tag, reason));
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
pub(crate) unsafe fn hook_dead_letter(data: *const (), worker: u32, header: &Header, _message: Lines, reason: KernelError) {
    // SAFETY: contract.
    unsafe { &*data.cast::<Shared>() }.add_dead_letter(worker, header, reason);
}
