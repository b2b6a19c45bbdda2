//! A host for one thread: all the memory of some workers on the heap, a clock that stands still until it is moved, and a log
//! of what happened. [`Rig::run`] drives a worker through the real loop and comes back when the loop has nothing to do: the
//! idle hook unwinds out of it, which the loop allows at any point between two steps.
#![allow(dead_code, reason = "each test binary uses a part")]

pub mod kernels;

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use kernels::{BIG, Big, CMD, Cmd, Fussy, MODULE, Probe, TestModule};
use warpring_core::directory::Directory;
use warpring_core::message::{FROM_HOST, HIGH_PRIORITY, Header, Kind, NO_SENDER, Parcel, RingMessage, WAKE, encode, lines_for};
use warpring_core::module::Module;
use warpring_core::ring::{Consumer, Line, Lines, Producer, RingMemory, SharedProducer, read_cell};
use warpring_core::run::run;
use warpring_core::scoped::{System, Word32};
use warpring_core::team::{Cpu, Solo};
use warpring_core::worker::{
    ADOPT_SUPERVISED, Adopt, CONTROL_ADOPT, CONTROL_PROBE, CONTROL_STOP, Due, End, Hooks, LinkMemory, MAX_PORTS, Notice, Peer,
    Report, SpawnMemory, TimerMemory, TimerSlot, Worker, WorkerMemory, lane_bytes,
};
use warpring_core::{Actor, ActorId, Address, Frame, How, KernelError};

/// What happened, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// Actor (by its own number) began to handle message (by number).
    Began(u32, u32),
    /// Actor began to handle a message of several lines that starts so.
    BeganBig(u32, u64),
    /// Its handler ended so.
    Ended(u32, u32, Result<u64, KernelError>),
    /// A handler's locals were dropped before its end.
    Dropped(u32, u32),
    Initialized(u32),
    ShutDown(u32),
    /// A dead letter: the number of the message if it came with its payload.
    Dead(Option<u32>, KernelError),
    /// A handler panicked on this slot.
    Recovered(u32),
    Noticed(Notice),
    /// Asks of so many actors form a cycle, which begins with these.
    Cycle(u32, [ActorId; 2]),
}

/// Timers of each worker.
const TIMERS: u32 = 4;

thread_local! {
    static LOG: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

pub fn log(event: Event) {
    LOG.with_borrow_mut(|log| log.push(event));
}

/// The log so far; it starts again empty.
pub fn take_log() -> Vec<Event> {
    LOG.take()
}

/// Numbers of the messages whose handlers began, in order, and forgets the log.
pub fn began() -> Vec<u32> {
    take_log().into_iter().filter_map(|event| if let Event::Began(_, id) = event { Some(id) } else { None }).collect()
}

thread_local! {
    static INSIDE: Cell<*mut Worker> = const { Cell::new(core::ptr::null_mut()) };
    static HOST: Cell<*const Host> = const { Cell::new(core::ptr::null()) };
    static WAKES_INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Moves the clock of the last rig, as a handler does that works.
pub fn work(ns: u64) {
    // SAFETY: the rig that runs this handler is there.
    let clock = unsafe { &(*HOST.get()).clock };
    clock.set(clock.get() + ns);
}

/// See [`Rig::run_inside`].
pub fn run_inside() {
    // SAFETY: the rig's second worker, which nobody runs now.
    let end = catch_unwind(|| unsafe { run::<TestModule, Cpu>(INSIDE.get(), Solo) });
    let Err(payload) = end else { return };
    let Ok(idle) = payload.downcast::<Idle>() else { panic!("only idle unwinds here") };
    WAKES_INSIDE.with_borrow_mut(|wakes| wakes.push(idle.0));
}

/// What the idle hook unwinds with: when the worker wanted to be woken.
struct Idle(u64);
/// What handlers panic with: quietly.
pub struct Boom;

/// How a run of the loop came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    Idle,
    Ended,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub workers: u32,
    pub actors: u32,
    pub nodes: u32,
    pub frames: u32,
    pub ring_lines: u32,
    pub cells: u32,
    pub ask_limit: u64,
}

/// Actors that handlers may spawn on a worker.
pub const SPAWNED: u32 = 4;

impl Default for Limits {
    fn default() -> Self {
        Self { workers: 1, actors: 64, nodes: 32, frames: 8, ring_lines: 64, cells: 256, ask_limit: 1_000_000_000 }
    }
}

struct Block {
    at: *mut u8,
    layout: Layout,
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.at, self.layout) }
    }
}

struct Host {
    clock: Cell<u64>,
    /// Idle workers move the clock to when they want to be woken.
    follow: Cell<bool>,
    woken: RefCell<Vec<u32>>,
    wakes_of_workers: Cell<u32>,
    /// Not beyond this moment.
    until: Cell<u64>,
    /// When idle workers last wanted to be woken.
    wake_at: Cell<u64>,
}

pub struct Rig {
    pub limits: Limits,
    /// Of the launches that come.
    flags: u16,
    pub workers: Vec<*mut Worker>,
    pub ingress: Vec<SharedProducer>,
    pub ports: Vec<Producer>,
    open_ports: *const Word32,
    peers: Vec<*mut Peer>,
    cells: *mut Line,
    cells_used: u32,
    slots: Vec<u32>,
    host: Rc<Host>,
    blocks: Vec<Block>,
}

/// A reply cell that the host holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(pub u32);

/// A reply other than a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// The handler said so.
    Failed(KernelError),
    /// It was not handled.
    Refused(KernelError),
}

impl Rig {
    pub fn new(limits: Limits) -> Self {
        take_log();
        let mut rig = Self {
            limits,
            flags: 0,
            workers: Vec::new(),
            ingress: Vec::new(),
            ports: Vec::new(),
            open_ports: core::ptr::null(),
            peers: Vec::new(),
            cells: core::ptr::null_mut(),
            cells_used: 0,
            slots: vec![0; limits.workers as usize],
            host: Rc::new(Host {
                clock: Cell::new(1_000_000),
                follow: Cell::new(false),
                until: Cell::new(u64::MAX),
                woken: RefCell::default(),
                wakes_of_workers: Cell::new(0),
                wake_at: Cell::new(u64::MAX),
            }),
            blocks: Vec::new(),
        };
        HOST.set(Rc::as_ptr(&rig.host));
        let n = limits.workers as usize;
        rig.open_ports = rig.block::<Word32>(1);
        rig.cells = rig.block::<Line>(limits.cells as usize * MODULE.max_lines);
        let parked = rig.block::<Word32>(limits.cells as usize);
        rig.peers = (0..n).map(|_| rig.block::<Peer>(n)).collect();
        for from in 0..n {
            for to in 0..n {
                let (requests, replies) = (rig.ring(), rig.ring());
                let asleep = rig.block::<Word32>(1);
                // SAFETY: fresh memory that lives as long as the rig; each field is written once.
                unsafe {
                    let out = rig.peers[from].add(to);
                    (&raw mut (*out).requests_out).write(Producer::new(requests));
                    (&raw mut (*out).replies_out).write(Producer::new(replies));
                    (&raw mut (*out).parked).write(asleep);
                    let back = rig.peers[to].add(from);
                    (&raw mut (*back).requests_in).write(Consumer::new(requests));
                    (&raw mut (*back).replies_in).write(Consumer::new(replies));
                }
            }
        }
        for w in 0..n {
            let inlets = rig.block::<Consumer>(1 + MAX_PORTS);
            let (shared, port) = (rig.ring(), rig.ring());
            // SAFETY: as above. Ports other than the first are never opened.
            unsafe {
                inlets.write(Consumer::new(shared));
                inlets.add(1).write(Consumer::new(port));
                rig.ingress.push(SharedProducer::new(shared));
                rig.ports.push(Producer::new(port));
            }
            let memory = WorkerMemory {
                index: w as u32,
                workers: limits.workers,
                lanes: 1,
                lane_bytes: lane_bytes(MODULE.future_bytes) as u32,
                actors: rig.block::<Actor>(limits.actors as usize),
                actor_capacity: limits.actors,
                nodes: rig.block::<Line>(limits.nodes as usize * MODULE.max_lines),
                node_count: limits.nodes,
                frames: rig.block::<Frame>(limits.frames as usize),
                frame_count: limits.frames,
                frame_lines: rig.block::<Line>(limits.frames as usize * MODULE.max_lines),
                timers: TimerMemory {
                    slots: rig.block::<TimerSlot>(TIMERS as usize),
                    heap: rig.block::<Due>(TIMERS as usize),
                    lines: rig.block::<Line>(TIMERS as usize * MODULE.max_lines),
                    count: TIMERS,
                },
                lane_memory: rig.block::<[u64; 8]>(limits.frames as usize * lane_bytes(MODULE.future_bytes) / 64).cast(),
                peers: rig.peers[w],
                inlets,
                open_ports: rig.open_ports,
                cells: rig.cells,
                cell_parked: parked,
                ask_limit: limits.ask_limit,
                hooks: Hooks {
                    data: Rc::as_ptr(&rig.host).cast(),
                    now: hook_now,
                    idle: hook_idle,
                    wake_worker: hook_wake_worker,
                    wake_cell: hook_wake_cell,
                    dead_letter: hook_dead_letter,
                    notice: hook_notice,
                },
                module: &MODULE,
                link: LinkMemory::NONE,
                directory: Directory::NONE,
                spawn: SpawnMemory { states: rig.block::<[u64; 16]>(SPAWNED as usize).cast(), stride: 128, count: SPAWNED },
            };
            let worker = rig.block::<Worker>(1);
            // SAFETY: all memory was allocated above with the stated sizes.
            unsafe { Worker::init(worker, &memory) }
            rig.workers.push(worker);
        }
        rig
    }

    fn block<T>(&mut self, count: usize) -> *mut T {
        let layout = Layout::from_size_align((size_of::<T>() * count).max(128), 128).unwrap();
        // SAFETY: the layout is not empty.
        let at = unsafe { alloc_zeroed(layout) };
        assert!(!at.is_null());
        self.blocks.push(Block { at, layout });
        at.cast()
    }

    fn ring(&mut self) -> RingMemory {
        let lines = self.limits.ring_lines;
        RingMemory { lines: self.block::<Line>(lines as usize), credit: self.block::<Word32>(1), mask: lines - 1 }
    }

    pub fn now(&self) -> u64 {
        self.host.clock.get()
    }

    pub fn advance(&self, ns: u64) {
        self.host.clock.set(self.now() + ns);
    }

    /// From now on idle workers move the clock to their next wake-up.
    pub fn follow_wakes(&self) {
        self.host.follow.set(true);
    }

    /// The same, but not beyond a moment.
    pub fn follow_wakes_until(&self, until: u64) {
        self.host.follow.set(true);
        self.host.until.set(until);
    }

    /// When the last idle worker wanted to be woken.
    pub fn wake_at(&self) -> u64 {
        self.host.wake_at.get()
    }

    /// Runs a worker until it has nothing to do or has stopped; panicked handlers are recovered from.
    pub fn run(&mut self, worker: usize) -> Came {
        let at = self.workers[worker];
        loop {
            // SAFETY: the worker is initialised, and only this thread runs it.
            let end = catch_unwind(AssertUnwindSafe(|| unsafe { run::<TestModule, Cpu>(at, Solo) }));
            match end {
                Ok(()) => return Came::Ended,
                Err(payload) if payload.is::<Idle>() => return Came::Idle,
                Err(payload) if payload.is::<Boom>() => {
                    // SAFETY: nobody runs it.
                    let slot = unsafe { (*at).recover::<Cpu>(77) };
                    log(Event::Recovered(slot.expect("a handler ran")));
                }
                Err(payload) => resume_unwind(payload),
            }
        }
    }

    /// The worker that handlers may run from inside, as if another thread did it at that moment.
    pub fn run_inside(&self, worker: usize) {
        INSIDE.set(self.workers[worker]);
    }

    /// When the worker that ran inside wanted to be woken, each time.
    pub fn wakes_inside(&self) -> Vec<u64> {
        WAKES_INSIDE.take()
    }

    /// Runs all workers in turn until nothing happens any more; true when all have ended.
    pub fn run_all(&mut self) -> bool {
        let mut quiet = 0;
        let mut before = (usize::MAX, 0);
        let mut ended = false;
        let mut rounds = 0;
        while quiet < 3 {
            rounds += 1;
            assert!(rounds < 2_000, "no end of it: {:?}", take_log().iter().rev().take(12).collect::<Vec<_>>());
            ended = true;
            for worker in 0..self.workers.len() {
                ended &= self.run(worker) == Came::Ended;
            }
            let after = (LOG.with_borrow(Vec::len), self.host.woken.borrow().len());
            quiet = if after == before { quiet + 1 } else { 0 };
            before = after;
        }
        ended
    }

    pub fn hold(&mut self) -> Held {
        self.cells_used += 1;
        assert!(self.cells_used <= self.limits.cells);
        Held(self.cells_used - 1)
    }

    /// How often a cell was woken: once for each reply, because every ask here wants to be woken.
    pub fn wakes(&self, held: Held) -> usize {
        self.host.woken.borrow().iter().filter(|cell| **cell == held.0).count()
    }

    pub fn push(&self, worker: usize, header: &Header, parcel: Parcel<'_>) -> bool {
        self.ingress[worker].push::<System>(header, parcel).expect("not closed")
    }

    pub fn control<M: RingMessage>(&mut self, worker: usize, tag: u16, message: &M) -> Held {
        self.try_control(worker, tag, message).expect("the ingress ring is full")
    }

    fn try_control<M: RingMessage>(&mut self, worker: usize, tag: u16, message: &M) -> Option<Held> {
        let held = Held(self.cells_used);
        let header = Header {
            kind: Kind::Control as u8 | WAKE,
            lines: lines_for(M::SIZE) as u8,
            tag,
            origin: FROM_HOST,
            correlation: held.0,
            sender: 1,
            ..Header::default()
        };
        encode(message, |parcel| self.push(worker, &header, parcel)).then(|| self.hold())
    }

    pub fn try_stop(&mut self, worker: usize) -> Option<Held> {
        self.try_control(worker, CONTROL_STOP, &())
    }

    pub fn stop(&mut self, worker: usize) -> Held {
        self.control(worker, CONTROL_STOP, &())
    }

    pub fn probe(&mut self, worker: usize) -> Report {
        let held = self.control(worker, CONTROL_PROBE, &());
        self.run(worker);
        self.report(held).expect("a probe is answered")
    }

    pub fn ask_for_report(&mut self, worker: usize) -> Held {
        self.control(worker, CONTROL_PROBE, &())
    }

    pub fn report(&self, held: Held) -> Option<Report> {
        // SAFETY: the cell is held.
        let lines = unsafe { read_cell::<System>(self.cell(held), 1)? };
        // SAFETY: its sequence was seen.
        unsafe { lines.decode::<Report>(lines.header().lines).ok() }
    }

    /// Asks a worker to take in actors from slot `slot` on; their memory lives as long as the rig.
    pub fn adopt<K>(&mut self, worker: usize, slot: u32, kind: u16, generation: u16, capacity: u16, actors: Vec<K>) -> Held {
        self.try_adopt(worker, slot, kind, generation, capacity, actors).expect("the ingress ring is full")
    }

    pub fn try_adopt<K>(
        &mut self,
        worker: usize,
        slot: u32,
        kind: u16,
        generation: u16,
        capacity: u16,
        actors: Vec<K>,
    ) -> Option<Held> {
        let count = actors.len();
        let state = self.block::<K>(count);
        for (i, actor) in actors.into_iter().enumerate() {
            // SAFETY: room for `count` actors.
            unsafe { state.add(i).write(actor) }
        }
        let adopt = Adopt {
            slot,
            count: count as u32,
            state: state.expose_provenance() as u64,
            stride: size_of::<K>() as u32,
            kind,
            capacity,
            generation,
            flags: self.flags,
        };
        self.slots[worker] = self.slots[worker].max(slot + count as u32);
        self.try_control(worker, CONTROL_ADOPT, &adopt)
    }

    /// Does something to one actor, and waits for the answer.
    pub fn one(&mut self, tag: u16, id: ActorId, how: How) -> Option<Result<u64, No>> {
        self.one_of(tag, &End { slot: id.slot, generation: id.generation, how, for_good: false }, id)
    }

    /// The same, as it stands.
    pub fn one_of(&mut self, tag: u16, end: &End, id: ActorId) -> Option<Result<u64, No>> {
        let held = self.control(usize::from(id.worker), tag, end);
        self.run_all();
        self.reply(held)
    }

    /// Launches a supervised actor with hooks.
    pub fn supervised(&mut self, worker: usize, actor: Fussy) -> Address<Probe> {
        let slot = self.slots[worker];
        self.flags = ADOPT_SUPERVISED;
        let held = self.adopt(worker, slot, 1, 1, 8, vec![actor]);
        self.flags = 0;
        self.run_all();
        assert_eq!(self.reply(held), Some(Ok(0)));
        take_log();
        Address::new(ActorId { slot, generation: 1, worker: worker as u16 })
    }

    /// Launches a probe with this number and waits for it.
    pub fn probe_actor(&mut self, worker: usize, number: u32, capacity: u16) -> Address<Probe> {
        let slot = self.slots[worker];
        let held = self.adopt(worker, slot, 0, 1, capacity, vec![Probe::new(number)]);
        self.run(worker);
        assert_eq!(self.reply(held), Some(Ok(0)));
        Address::new(ActorId { slot, generation: 1, worker: worker as u16 })
    }

    /// Starts the launch of an actor with hooks.
    pub fn fussy_actor(&mut self, worker: usize, actor: Fussy) -> (Held, Address<Probe>) {
        let slot = self.slots[worker];
        let held = self.adopt(worker, slot, 1, 1, 8, vec![actor]);
        (held, Address::new(ActorId { slot, generation: 1, worker: worker as u16 }))
    }

    pub fn header(&self, to: ActorId, kind: Kind, tag: u16, lines: u8, cell: u32) -> Header {
        Header {
            kind: kind as u8 | WAKE,
            lines,
            tag,
            slot: to.slot,
            generation: to.generation,
            sender_generation: 0,
            origin: FROM_HOST,
            correlation: cell,
            sender: if kind == Kind::Ask { 1 } else { NO_SENDER },
            deadline: 0,
        }
    }

    pub fn ask(&mut self, to: Address<Probe>, cmd: Cmd) -> Held {
        self.ask_with(to, cmd, |_| {})
    }

    pub fn ask_high(&mut self, to: Address<Probe>, cmd: Cmd) -> Held {
        self.ask_with(to, cmd, |header| header.kind |= HIGH_PRIORITY)
    }

    pub fn ask_with(&mut self, to: Address<Probe>, cmd: Cmd, change: impl FnOnce(&mut Header)) -> Held {
        let held = self.hold();
        let mut header = self.header(to.id(), Kind::Ask, CMD, 1, held.0);
        change(&mut header);
        assert!(encode(&cmd, |parcel| self.push(usize::from(to.id().worker), &header, parcel)), "the ingress ring is full");
        held
    }

    /// As [`ask_with`](Self::ask_with); none when the ring is full.
    pub fn try_ask(&mut self, to: Address<Probe>, cmd: Cmd, change: impl FnOnce(&mut Header)) -> Option<Held> {
        let mut header = self.header(to.id(), Kind::Ask, CMD, 1, self.cells_used);
        change(&mut header);
        encode(&cmd, |parcel| self.push(usize::from(to.id().worker), &header, parcel)).then(|| self.hold())
    }

    pub fn ask_big(&mut self, to: Address<Probe>, big: Big) -> Held {
        let held = self.hold();
        let header = self.header(to.id(), Kind::Ask, BIG, lines_for(Big::SIZE) as u8, held.0);
        assert!(encode(&big, |parcel| self.push(usize::from(to.id().worker), &header, parcel)));
        held
    }

    pub fn tell(&mut self, to: Address<Probe>, cmd: Cmd) {
        assert!(self.try_tell(to, cmd), "the ingress ring is full");
    }

    pub fn try_tell(&mut self, to: Address<Probe>, cmd: Cmd) -> bool {
        let header = self.header(to.id(), Kind::Tell, CMD, 1, 0);
        encode(&cmd, |parcel| self.push(usize::from(to.id().worker), &header, parcel))
    }

    /// Opens the first port of every worker.
    pub fn open_port(&self) {
        // SAFETY: the word lives as long as the rig.
        unsafe { (*self.open_ports).release::<System>(1) }
    }

    fn cell(&self, held: Held) -> *const Line {
        // SAFETY: the cell is in range.
        unsafe { self.cells.add(held.0 as usize * MODULE.max_lines) }
    }

    /// The reply in a cell, if it is there. A reply without payload is 0.
    pub fn reply(&self, held: Held) -> Option<Result<u64, No>> {
        // SAFETY: the cell is held.
        let lines = unsafe { read_cell::<System>(self.cell(held), 1)? };
        // SAFETY: its sequence was seen.
        unsafe {
            let header = lines.header();
            let error = KernelError::from_parts(header.tag, header.sender);
            Some(match header.kind() {
                k if k == Kind::Reply as u8 => Ok(lines.decode::<u64>(header.lines).unwrap()),
                k if k == Kind::Failed as u8 => Err(No::Failed(error)),
                k if k == Kind::Refused as u8 => Err(No::Refused(error)),
                k => panic!("a reply of kind {k}"),
            })
        }
    }

    pub fn reply_big(&self, held: Held) -> Option<Big> {
        // SAFETY: as in `reply`.
        unsafe {
            let lines = read_cell::<System>(self.cell(held), 1)?;
            lines.decode::<Big>(lines.header().lines).ok()
        }
    }

    /// Asks, runs everything, and gives the reply.
    pub fn answer(&mut self, to: Address<Probe>, cmd: Cmd) -> Result<u64, No> {
        let held = self.ask(to, cmd);
        self.run_all();
        self.reply(held).expect("an answer")
    }

    /// As [`finish`](Self::finish), which may be repeated.
    pub fn finish_again(&mut self) {
        self.finish()
    }

    /// Ends every worker as a host does: no more messages, then what was accepted is refused.
    pub fn finish(&mut self) {
        let ends: Vec<u32> = self.ingress.iter().map(SharedProducer::close).collect();
        for (worker, until) in self.workers.iter().zip(ends) {
            // SAFETY: nobody runs the workers.
            unsafe {
                (**worker).finish::<Cpu>();
                (**worker).refuse_inlets::<Cpu>(until);
            }
        }
    }
}

unsafe fn hook_now(data: *const ()) -> u64 {
    // SAFETY: `data` is the rig's host.
    unsafe { &*data.cast::<Host>() }.clock.get()
}

unsafe fn hook_idle(data: *const (), _worker: u32, _rounds: u32, next_wake: u64) {
    // SAFETY: as above.
    let host = unsafe { &*data.cast::<Host>() };
    host.wake_at.set(next_wake);
    if host.follow.get() && next_wake != u64::MAX && next_wake <= host.until.get() {
        host.clock.set(host.clock.get().max(next_wake));
    } else {
        resume_unwind(Box::new(Idle(next_wake)));
    }
}

unsafe fn hook_wake_worker(data: *const (), _worker: u32) {
    // SAFETY: as above.
    let host = unsafe { &*data.cast::<Host>() };
    host.wakes_of_workers.set(host.wakes_of_workers.get() + 1);
}

unsafe fn hook_wake_cell(data: *const (), cell: u32) {
    // SAFETY: as above.
    unsafe { &*data.cast::<Host>() }.woken.borrow_mut().push(cell);
}

unsafe fn hook_notice(_data: *const (), notice: &Notice) {
    log(match *notice {
        Notice::Cycle { length, actors: [first, second, ..], .. } => Event::Cycle(length, [first, second]),
        other => Event::Noticed(other),
    });
}

unsafe fn hook_dead_letter(_data: *const (), _worker: u32, header: &Header, message: Lines, reason: KernelError) {
    // The payload of a message that was taken is gone: it says that it has no lines.
    // SAFETY: the lines are acquired (contract of the hook).
    let cmd = if header.lines == 0 { None } else { unsafe { message.decode::<Cmd>(header.lines) }.ok() };
    log(Event::Dead(cmd.map(|cmd| cmd.id), reason));
}

const _: () = assert!(TestModule::MAX_LINES >= lines_for(Report::SIZE));
