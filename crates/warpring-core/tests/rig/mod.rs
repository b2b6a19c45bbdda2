//! What a test needs to run workers by hand: all the memory of a [`WorkerMemory`], the rings and cells between host and workers,
//! and a way to launch actors and to ask them. The workers are run by whoever has the rig: threads, or the simulator.
#![allow(dead_code)]

#[cfg(feature = "sim")]
pub mod simulated;

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::sync::Mutex;
use std::time::Instant;

use warpring_core::directory::Directory;
use warpring_core::message::{FROM_HOST, Header, Kind, NO_SENDER, encode, lines_for};
use warpring_core::module::ModuleTable;
use warpring_core::ring::{Consumer, Line, Lines, Producer, RingMemory, SharedProducer, read_cell};
use warpring_core::scoped::{System, Word32};
use warpring_core::worker::{
    Adopt, CONTROL_ADOPT, CONTROL_PROBE, CONTROL_STOP, Due, Hooks, LinkMemory, MAX_PORTS, Notice, Peer, Report, SpawnMemory,
    TimerMemory, TimerSlot, Worker, WorkerMemory, lane_bytes,
};
use warpring_core::{Actor, ActorId, Frame, KernelError, RingMessage};

/// What a rig is made of.
pub struct Limits {
    pub workers: u32,
    pub lanes: u32,
    pub actors: u32,
    pub nodes: u32,
    pub frames: u32,
    /// Lines of each ring, a power of two, at least 16.
    pub ring_lines: u32,
    /// Asks of the host under way at once.
    pub cells: u32,
    /// Deadline of asks that name none.
    pub ask_limit_ns: u64,
    /// The host's clock.
    pub now: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// Timers of each worker.
const TIMERS: u32 = 16;

impl Default for Limits {
    fn default() -> Self {
        let start = Instant::now();
        Self {
            workers: 1,
            lanes: 1,
            actors: 64,
            nodes: 64,
            frames: 32,
            ring_lines: 64,
            cells: 64,
            ask_limit_ns: 1_000_000_000,
            now: Box::new(move || start.elapsed().as_nanos() as u64),
        }
    }
}

/// What the hooks point to.
struct Host {
    now: Box<dyn Fn() -> u64 + Send + Sync>,
    dead_letters: Mutex<Vec<(Header, KernelError)>>,
}

/// Zeroed memory, freed with the rig.
#[derive(Default)]
struct Heap(Vec<(*mut u8, Layout)>);

impl Heap {
    fn zeroed<T>(&mut self, count: usize) -> *mut T {
        self.bytes(size_of::<T>() * count, align_of::<T>()).cast()
    }

    fn bytes(&mut self, bytes: usize, align: usize) -> *mut u8 {
        let layout = Layout::from_size_align(bytes.max(64), align.max(64)).expect("a sane size");
        // SAFETY: the layout is not empty.
        let at = unsafe { alloc_zeroed(layout) };
        assert!(!at.is_null());
        self.0.push((at, layout));
        at
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        for (at, layout) in self.0.drain(..) {
            // SAFETY: `bytes` allocated it with this layout.
            unsafe { dealloc(at, layout) }
        }
    }
}

/// A request of the host that is under way.
#[derive(Debug)]
pub struct Pending {
    cell: u32,
    sequence: u32,
}

/// Workers, and the host's end of everything that leads to them.
pub struct Rig {
    pub workers: Vec<*mut Worker>,
    ingress: Vec<SharedProducer>,
    cells: *mut Line,
    cell_lines: u32,
    sequences: Vec<u32>,
    free: Vec<u32>,
    next_slot: Vec<u32>,
    host: Box<Host>,
    heap: Heap,
}

// SAFETY: the workers are run through raw pointers by threads that the test joins; everything else is the host's own.
unsafe impl Send for Rig {}

impl Rig {
    pub fn new(module: &'static ModuleTable, limits: Limits) -> Self {
        let Limits { workers, lanes, actors, nodes, frames, ring_lines, cells, ask_limit_ns, now } = limits;
        assert!(module.max_lines >= lines_for(Report::SIZE), "a cell has to hold a report");
        let mut heap = Heap::default();
        let host = Box::new(Host { now, dead_letters: Mutex::new(Vec::new()) });
        let hooks = Hooks {
            data: (&raw const *host).cast(),
            now: hook_now,
            idle: hook_idle,
            wake_worker: hook_wake,
            wake_cell: hook_wake,
            dead_letter: hook_dead_letter,
            notice: hook_notice,
        };
        let ring = |heap: &mut Heap| RingMemory {
            lines: heap.zeroed(ring_lines as usize),
            credit: heap.zeroed::<Word32>(1),
            mask: ring_lines - 1,
        };
        let count = workers as usize;
        let parked = heap.zeroed::<Word32>(count);
        let cell_lines = heap.zeroed::<Line>(cells as usize * module.max_lines);
        let cell_parked = heap.zeroed::<Word32>(cells as usize);
        let tables: Vec<*mut Peer> = (0..count).map(|_| heap.zeroed::<Peer>(count)).collect();
        for a in 0..count {
            for b in (0..count).filter(|b| *b != a) {
                let (requests, replies) = (ring(&mut heap), ring(&mut heap));
                // SAFETY: a -> b is written by a's table alone and read by b's; the memory is zeroed and lives with the rig.
                unsafe {
                    (&raw mut (*tables[a].add(b)).requests_out).write(Producer::new(requests));
                    (&raw mut (*tables[a].add(b)).replies_out).write(Producer::new(replies));
                    (&raw mut (*tables[a].add(b)).parked).write(parked.add(b));
                    (&raw mut (*tables[b].add(a)).requests_in).write(Consumer::new(requests));
                    (&raw mut (*tables[b].add(a)).replies_in).write(Consumer::new(replies));
                }
            }
        }
        let mut ingress = Vec::new();
        let mut all = Vec::new();
        for (index, peers) in tables.into_iter().enumerate() {
            let shared = ring(&mut heap);
            let inlets = heap.zeroed::<Consumer>(1 + MAX_PORTS);
            let lane_memory = heap.bytes(frames as usize * lanes as usize * lane_bytes(module.future_bytes), 64);
            let memory = WorkerMemory {
                index: index as u32,
                workers,
                lanes,
                lane_bytes: lane_bytes(module.future_bytes) as u32,
                actors: heap.zeroed::<Actor>(actors as usize),
                actor_capacity: actors,
                nodes: heap.zeroed(nodes as usize * module.max_lines),
                node_count: nodes,
                frames: heap.zeroed::<Frame>(frames as usize),
                frame_count: frames,
                frame_lines: heap.zeroed(frames as usize * module.max_lines),
                lane_memory,
                timers: TimerMemory {
                    slots: heap.zeroed::<TimerSlot>(TIMERS as usize),
                    heap: heap.zeroed::<Due>(TIMERS as usize),
                    lines: heap.zeroed(TIMERS as usize * module.max_lines),
                    count: TIMERS,
                },
                peers,
                inlets,
                open_ports: heap.zeroed::<Word32>(1),
                cells: cell_lines,
                cell_parked,
                ask_limit: ask_limit_ns,
                hooks,
                module,
                link: LinkMemory::NONE,
                directory: Directory::NONE,
                spawn: SpawnMemory { states: std::ptr::null_mut(), stride: 0, count: 0 },
            };
            let worker = heap.zeroed::<Worker>(1);
            // SAFETY: all of it was allocated above, in the stated sizes, and lives with the rig.
            unsafe {
                inlets.write(Consumer::new(shared));
                Worker::init(worker, &memory);
                ingress.push(SharedProducer::new(shared));
            }
            all.push(worker);
        }
        Self {
            workers: all,
            ingress,
            cells: cell_lines,
            cell_lines: module.max_lines as u32,
            sequences: vec![0; cells as usize],
            free: (0..cells).rev().collect(),
            next_slot: vec![0; count],
            host,
            heap,
        }
    }

    fn request<M: RingMessage>(&mut self, worker: u32, header: Header, message: &M) -> Pending {
        let cell = self.free.pop().expect("a free cell");
        self.sequences[cell as usize] += 1;
        let sequence = self.sequences[cell as usize];
        let header = Header { lines: lines_for(M::SIZE) as u8, origin: FROM_HOST, correlation: cell, sender: sequence, ..header };
        self.push(worker, &header, message);
        Pending { cell, sequence }
    }

    fn push<M: RingMessage>(&self, worker: u32, header: &Header, message: &M) {
        let sent = encode(message, |parcel| self.ingress[worker as usize].push::<System>(header, parcel));
        assert_eq!(sent, Ok(true), "the ingress ring of worker {worker} has no room");
    }

    /// Launches an actor with mailbox capacity 16. It is there when the request is answered (with `()`).
    pub fn launch<K>(&mut self, worker: u32, kind: u16, value: K) -> (ActorId, Pending) {
        let state = self.heap.bytes(size_of::<K>(), align_of::<K>()).cast::<K>();
        // SAFETY: just allocated for it.
        unsafe { state.write(value) }
        let slot = self.next_slot[worker as usize];
        self.next_slot[worker as usize] += 1;
        let adopt = Adopt {
            slot,
            count: 1,
            state: state as u64,
            stride: size_of::<K>() as u32,
            kind,
            capacity: 16,
            generation: 1,
            flags: 0,
        };
        let pending = self.request(worker, Header { kind: Kind::Control as u8, tag: CONTROL_ADOPT, ..Header::default() }, &adopt);
        (ActorId { slot, generation: 1, worker: worker as u16 }, pending)
    }

    /// Asks an actor.
    pub fn ask<M: RingMessage>(&mut self, to: ActorId, tag: u16, message: M) -> Pending {
        let header = Header { kind: Kind::Ask as u8, tag, slot: to.slot, generation: to.generation, ..Header::default() };
        self.request(u32::from(to.worker), header, &message)
    }

    /// Tells an actor something.
    pub fn tell<M: RingMessage>(&mut self, to: ActorId, tag: u16, message: M) {
        let lines = lines_for(M::SIZE) as u8;
        let (kind, origin, sender) = (Kind::Tell as u8, FROM_HOST, NO_SENDER);
        let header = Header { kind, lines, tag, slot: to.slot, generation: to.generation, origin, sender, ..Header::default() };
        self.push(u32::from(to.worker), &header, &message);
    }

    /// Asks a worker to stop.
    pub fn stop(&mut self, worker: u32) -> Pending {
        self.request(worker, Header { kind: Kind::Control as u8, tag: CONTROL_STOP, ..Header::default() }, &())
    }

    /// Asks a worker for its counters.
    pub fn probe(&mut self, worker: u32) -> Pending {
        self.request(worker, Header { kind: Kind::Control as u8, tag: CONTROL_PROBE, ..Header::default() }, &())
    }

    /// The answer to a request, once it is there; the request is done with then.
    pub fn reply<R: RingMessage>(&mut self, pending: &Pending) -> Option<Result<R, KernelError>> {
        // SAFETY: the cell is live, and held by this request.
        unsafe {
            let base = self.cells.add((pending.cell * self.cell_lines) as usize);
            let lines: Lines = read_cell::<System>(base, pending.sequence)?;
            let header = lines.header();
            self.free.push(pending.cell);
            Some(if header.kind() == Kind::Reply as u8 {
                lines.decode::<R>(header.lines).map_err(|_| KernelError::Malformed)
            } else {
                Err(KernelError::from_parts(header.tag, header.sender))
            })
        }
    }

    /// Messages that wanted no reply and were not handled.
    pub fn dead_letters(&self) -> Vec<(Header, KernelError)> {
        self.host.dead_letters.lock().expect("no hook panics").clone()
    }
}

/// Runs the workers of a rig on threads of their own until it is dropped, one lane each.
pub struct Threads {
    pub rig: Rig,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Threads {
    pub fn run(rig: Rig, module: &'static ModuleTable) -> Self {
        let threads = rig
            .workers
            .iter()
            .map(|&worker| {
                let address = worker as usize;
                // SAFETY: one thread for each worker, and the rig outlives them (`drop` joins).
                std::thread::spawn(move || unsafe { (module.run_cpu)(address as *mut Worker) })
            })
            .collect();
        Self { rig, threads }
    }

    pub fn wait<R: RingMessage>(&mut self, pending: &Pending) -> Result<R, KernelError> {
        let start = Instant::now();
        loop {
            if let Some(reply) = self.rig.reply(pending) {
                return reply;
            }
            assert!(start.elapsed().as_secs() < 20, "no reply after 20 seconds");
            std::thread::yield_now();
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for worker in 0..self.rig.workers.len() as u32 {
            self.rig.stop(worker);
        }
        for thread in self.threads.drain(..) {
            // A worker whose handler panicked has reported it already.
            let _ = thread.join();
        }
    }
}

unsafe fn hook_now(data: *const ()) -> u64 {
    // SAFETY: the rig's host, which outlives its workers.
    unsafe { ((*data.cast::<Host>()).now)() }
}
unsafe fn hook_idle(_: *const (), _: u32, _: u32, _: u64) {
    std::thread::yield_now();
}
unsafe fn hook_wake(_: *const (), _: u32) {}
unsafe fn hook_notice(_: *const (), _: &Notice) {}

unsafe fn hook_dead_letter(data: *const (), _: u32, header: &Header, _: Lines, reason: KernelError) {
    // SAFETY: as in `hook_now`.
    let host = unsafe { &*data.cast::<Host>() };
    host.dead_letters.lock().expect("no hook panics").push((*header, reason));
}

/// Writes by hand what `export!` writes: a module of kernels without hooks, their numbers, and what they handle.
#[macro_export]
macro_rules! module_by_hand {
    ($table:ident: $($kernel:ty = $kind:literal { $($tag:literal: $request:ty => $reply:ty),+ })+) => {
        struct ByHand;

        // SAFETY: each pair of kind and tag names one handler in all three functions, and `FUTURE_BYTES` is the largest.
        unsafe impl ::warpring_core::module::Module for ByHand {
            const FINGERPRINT: u64 = 0;
            fn table() -> &'static ::warpring_core::module::ModuleTable {
                &$table
            }
            const FUTURE_BYTES: usize = {
                let mut bytes = 0;
                $($(bytes = ::warpring_core::layout::max(bytes, ::warpring_core::module::handler_bytes::<
                    &'static $kernel, &'static mut ::warpring_core::RingContext<'static>, $request, _,
                >(&<$kernel as ::warpring_core::RingKernelHandler<$request, $reply>>::handle));)+)+
                bytes
            };
            const MAX_LINES: usize = {
                use ::warpring_core::RingMessage as Message;
                let mut lines = ::warpring_core::message::lines_for(<::warpring_core::worker::Report as Message>::SIZE);
                $($(
                    lines = ::warpring_core::layout::max(lines, ::warpring_core::message::lines_for(<$request as Message>::SIZE));
                    lines = ::warpring_core::layout::max(lines, ::warpring_core::message::lines_for(<$reply as Message>::SIZE));
                )+)+
                lines
            };

            unsafe fn begin(
                kind: u16,
                op: ::warpring_core::module::Op,
                lane: &::warpring_core::module::Lane,
                request: ::warpring_core::ring::Lines,
                lines: u8,
            ) -> Option<::core::task::Poll<::warpring_core::Outcome>> {
                match (kind, op) {
                    // SAFETY: passed on.
                    $($(($kind, ::warpring_core::module::Op::Handle($tag)) => Some(unsafe {
                        ::warpring_core::module::begin_handle::<$kernel, $request, $reply>(lane, request, lines)
                    }),)+)+
                    _ => None,
                }
            }

            unsafe fn resume(
                kind: u16,
                op: ::warpring_core::module::Op,
                lane: &::warpring_core::module::Lane,
            ) -> ::core::task::Poll<::warpring_core::Outcome> {
                match (kind, op) {
                    // SAFETY: passed on.
                    $($(($kind, ::warpring_core::module::Op::Handle($tag)) => unsafe {
                        ::warpring_core::module::resume_handle::<
                            &'static $kernel, &'static mut ::warpring_core::RingContext<'static>, $request, $reply, _,
                        >(lane, <$kernel as ::warpring_core::RingKernelHandler<$request, $reply>>::handle)
                    },)+)+
                    _ => unreachable!("nothing else was begun"),
                }
            }

            unsafe fn cancel(kind: u16, op: ::warpring_core::module::Op, lane: &::warpring_core::module::Lane) {
                match (kind, op) {
                    // SAFETY: passed on.
                    $($(($kind, ::warpring_core::module::Op::Handle($tag)) => unsafe {
                        ::warpring_core::module::cancel_handle::<
                            &'static $kernel, &'static mut ::warpring_core::RingContext<'static>, $request, _,
                        >(lane, <$kernel as ::warpring_core::RingKernelHandler<$request, $reply>>::handle)
                    },)+)+
                    _ => unreachable!("nothing else was begun"),
                }
            }
        }

        $(
            impl ::warpring_core::GpuKernel for $kernel {
                fn metadata(&self) -> &::warpring_core::KernelMetadata {
                    const { &<$kernel as ::warpring_core::module::KernelLayout>::METADATA }
                }
            }
            // SAFETY: the test's kernels hold nothing but `State` and `Resident`.
            unsafe impl ::warpring_core::module::KernelLayout for $kernel {
                const FINGERPRINT: u64 = 0;
                const FIELDS: &'static [::warpring_core::FieldTable] = &[];
                fn valid(_: &[u8]) -> bool {
                    true
                }
                const METADATA: ::warpring_core::KernelMetadata = ::warpring_core::KernelMetadata {
                    id: concat!("test/", stringify!($kernel)),
                    domain: "test",
                    mode: ::warpring_core::KernelMode::Ring,
                    description: "A kernel of a test.",
                    version: 1,
                    requires_gpu_native: false,
                };
            }
            impl ::warpring_core::module::Exported for $kernel {
                const KIND: u16 = $kind;
                fn module() -> &'static ::warpring_core::module::ModuleTable {
                    &$table
                }
            }
            $(impl ::warpring_core::module::Handles<$request> for $kernel {
                type Reply = $reply;
                const TAG: u16 = $tag;
            })+
        )+

        static $table: ::warpring_core::module::ModuleTable = ::warpring_core::module::ModuleTable::new::<ByHand>(
            module_path!(),
            &[$(::warpring_core::module::KindTable {
                metadata: <$kernel as ::warpring_core::module::KernelLayout>::METADATA,
                bytes: size_of::<$kernel>() as u32,
                align: align_of::<$kernel>() as u32,
                fingerprint: 0,
                fields: &[],
                check: |_| Ok(()),
                clear_padding: None,
                has_initialize: false,
                has_shutdown: false,
                handlers: &[$((stringify!($request), stringify!($reply), $tag)),+],
                messages: &[$(::warpring_core::module::MessageTable::new::<$request>()),+],
            }),+],
            None,
        );
    };
}
