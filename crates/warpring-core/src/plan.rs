//! Where everything lies: the memory of all workers, computed from the limits, the same on every backend.
//!
//! There are two areas. In the *device* area is what only workers touch; in the *shared* area is what the host touches too: its
//! rings and reply cells, and what workers post for it to see. On the CPU both are the heap; on a GPU the one is device memory and
//! the other is host memory that the device can address.
//!
//! ```text
//! device: workers | peers | inlets | rings between workers | actors | mailbox nodes | frames | frame lines | lanes | spawned | timers | their heaps | their messages | directories
//! shared: leave word | open ports | parked words | reply cells | parked cells | ingress rings | port rings | letters | posts | closed | staging | grids
//! ```

use core::ptr;

use crate::device::Grid;
use crate::directory::{Directory, DirectorySize};
use crate::frame::Frame;
use crate::layout::round_up;
use crate::mailbox::Actor;
use crate::module::ModuleTable;
use crate::post::Post;
use crate::ring::{Consumer, Line, Producer, RingMemory};
use crate::scoped::Word32;
use crate::worker::{Due, Hooks, LinkMemory, MAX_PORTS, Peer, SpawnMemory, TimerMemory, TimerSlot, Worker, WorkerMemory};

/// The limits of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Limits {
    /// How many workers.
    pub workers: u32,
    /// Lanes of each worker's team.
    pub lanes: u32,
    /// Lines of each ring; a power of two.
    pub ring_lines: u32,
    /// Most actors of a worker.
    pub actors: u32,
    /// Messages in the mailboxes of a worker.
    pub waiting: u32,
    /// Handlers that may be suspended on a worker.
    pub frames: u32,
    /// Timers of a worker.
    pub timers: u32,
    /// Reply cells of the host.
    pub cells: u32,
    /// Ports; at most [`MAX_PORTS`].
    pub ports: u32,
    /// Most lines of a message of the module.
    pub max_lines: u32,
    /// Bytes of one lane of a frame.
    pub lane_bytes: u32,
    /// Lines of the ring in which a worker posts dead letters; 0 where it tells the host directly.
    pub letters: u32,
    /// An idle worker pauses for so long between two looks, in nanoseconds; 0: never. On a GPU only.
    pub pause_ns: u32,
    /// Bytes through which the host reads and writes states.
    pub staging: u32,
    /// Names and topics.
    pub directory: DirectorySize,
    /// Most actors of a worker that handlers spawned; at most `actors`.
    pub spawned: u32,
    /// Bytes for the value of one of them: [`spawn_stride`] of the module.
    pub spawn_stride: u32,
    /// Deadline of an ask that names none, in nanoseconds.
    pub ask_limit: u64,
}

/// Bytes for the value of a spawned actor of any kind of a module.
pub fn spawn_stride(module: &ModuleTable) -> u32 {
    let (bytes, align) = module.kinds.iter().fold((1, 8), |(bytes, align), kind| (bytes.max(kind.bytes), align.max(kind.align)));
    round_up(bytes as usize, align as usize) as u32
}

/// The limits and the two areas.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Plan {
    /// How much of everything.
    pub limits: Limits,
    /// Address of the device area, a multiple of 128.
    pub device: u64,
    /// Address of the shared area, a multiple of 128.
    pub shared: u64,
}

/// Launches whose [`Grid`] is kept.
pub const GRIDS: u32 = 64;
const LINE: u64 = size_of::<Line>() as u64;
/// What may be written by one side and polled by the other is alone on so many bytes.
const APART: u64 = 128;

const fn apart(bytes: u64) -> u64 {
    round_up(bytes as usize, APART as usize) as u64
}

/// Bytes of a ring: its lines, and its credit behind them.
const fn ring_bytes(lines: u32) -> u64 {
    lines as u64 * LINE + APART
}

/// Addresses of what a worker shows; of the first frame and the first actor, and how far the next ones are.
pub(crate) struct Seen {
    pub(crate) step: u64,
    pub(crate) current: u64,
    pub(crate) frame_actor: u64,
    pub(crate) frame_bytes: u64,
    pub(crate) generation: u64,
    pub(crate) actor_bytes: u64,
}

#[derive(Clone, Copy)]
enum Device {
    Workers,
    Peers,
    Inlets,
    Mesh,
    Actors,
    Nodes,
    Frames,
    FrameLines,
    Lanes,
    Spawned,
    Timers,
    TimerHeaps,
    TimerLines,
    Directories,
    End,
}

#[derive(Clone, Copy)]
enum Area {
    Leave,
    OpenPorts,
    Parked,
    Cells,
    CellParked,
    Ingress,
    Ports,
    Letters,
    Posts,
    Closed,
    Staging,
    Grids,
    End,
}

fn pointer<T>(address: u64) -> *mut T {
    ptr::with_exposed_provenance_mut(address as usize)
}

impl Plan {
    const WORKER: u64 = apart(size_of::<Worker>() as u64);
    const POST: u64 = apart(size_of::<Post>() as u64);

    fn in_device(&self, section: Device) -> u64 {
        let l = &self.limits;
        let w = u64::from(l.workers);
        let sizes = [
            w * Self::WORKER,
            w * w * size_of::<Peer>() as u64,
            w * (1 + MAX_PORTS as u64) * size_of::<Consumer>() as u64,
            w * (w - 1) * 2 * ring_bytes(l.ring_lines),
            w * u64::from(l.actors) * size_of::<Actor>() as u64,
            w * u64::from(l.waiting) * u64::from(l.max_lines) * LINE,
            w * u64::from(l.frames) * size_of::<Frame>() as u64,
            w * u64::from(l.frames) * u64::from(l.max_lines) * LINE,
            w * u64::from(l.frames) * u64::from(l.lanes) * u64::from(l.lane_bytes),
            w * u64::from(l.spawned) * u64::from(l.spawn_stride),
            w * u64::from(l.timers) * size_of::<TimerSlot>() as u64,
            w * u64::from(l.timers) * size_of::<Due>() as u64,
            w * u64::from(l.timers) * u64::from(l.max_lines) * LINE,
            w * l.directory.bytes(),
        ];
        sizes[..section as usize].iter().map(|bytes| apart(*bytes)).sum()
    }

    fn in_shared(&self, section: Area) -> u64 {
        let l = &self.limits;
        let w = u64::from(l.workers);
        let sizes = [
            APART,
            APART,
            w * APART,
            u64::from(l.cells) * u64::from(l.max_lines) * LINE,
            u64::from(l.cells) * size_of::<Word32>() as u64,
            w * ring_bytes(l.ring_lines),
            w * u64::from(l.ports) * ring_bytes(l.ring_lines),
            if l.letters == 0 { 0 } else { w * ring_bytes(l.letters) },
            w * Self::POST,
            w * size_of::<u32>() as u64,
            u64::from(l.staging),
            GRIDS as u64 * size_of::<Grid>() as u64,
        ];
        sizes[..section as usize].iter().map(|bytes| apart(*bytes)).sum()
    }

    /// Bytes of the device area; it must be zeroed.
    pub fn device_bytes(&self) -> u64 {
        self.in_device(Device::End)
    }

    /// Bytes of the shared area; it must be zeroed.
    pub fn shared_bytes(&self) -> u64 {
        self.in_shared(Area::End)
    }

    fn ring(base: u64, index: u64, lines: u32) -> RingMemory {
        let at = base + index * ring_bytes(lines);
        RingMemory { lines: pointer(at), credit: pointer(at + u64::from(lines) * LINE), mask: lines - 1 }
    }

    /// A worker.
    pub fn worker(&self, worker: u32) -> *mut Worker {
        pointer(self.device + self.in_device(Device::Workers) + u64::from(worker) * Self::WORKER)
    }

    /// Where a worker's slots are, and their bytes.
    pub fn slots(&self, worker: u32) -> (u64, u64) {
        let bytes = u64::from(self.limits.actors) * size_of::<Actor>() as u64;
        (self.device + self.in_device(Device::Actors) + u64::from(worker) * bytes, bytes)
    }

    /// The word that tells workers to leave their loop, if it is not 0.
    pub fn leave(&self) -> *const Word32 {
        pointer(self.shared + self.in_shared(Area::Leave))
    }

    /// The word with a bit for each port that was ever opened.
    pub fn open_ports(&self) -> *const Word32 {
        pointer(self.shared + self.in_shared(Area::OpenPorts))
    }

    /// The word that says whether a worker sleeps.
    pub fn parked(&self, worker: u32) -> *const Word32 {
        pointer(self.shared + self.in_shared(Area::Parked) + u64::from(worker) * APART)
    }

    /// The reply cells, `max_lines` lines each.
    pub fn cells(&self) -> *mut Line {
        pointer(self.shared + self.in_shared(Area::Cells))
    }

    /// One word per cell: whether somebody sleeps on it.
    pub fn cells_parked(&self) -> *const Word32 {
        pointer(self.shared + self.in_shared(Area::CellParked))
    }

    /// The ring from all host threads to a worker.
    pub fn ingress(&self, worker: u32) -> RingMemory {
        Self::ring(self.shared + self.in_shared(Area::Ingress), worker.into(), self.limits.ring_lines)
    }

    /// The ring from a port to a worker.
    pub fn port(&self, worker: u32, port: u32) -> RingMemory {
        let index = u64::from(worker) * u64::from(self.limits.ports) + u64::from(port);
        Self::ring(self.shared + self.in_shared(Area::Ports), index, self.limits.ring_lines)
    }

    /// The ring of a worker's dead letters, if it has one.
    pub fn letters(&self, worker: u32) -> Option<RingMemory> {
        let base = self.shared + self.in_shared(Area::Letters);
        (self.limits.letters > 0).then(|| Self::ring(base, worker.into(), self.limits.letters))
    }

    /// What a worker posts.
    pub fn post(&self, worker: u32) -> *mut Post {
        pointer(self.shared + self.in_shared(Area::Posts) + u64::from(worker) * Self::POST)
    }

    /// Where the host says at which position it has closed the shared ring of a worker, before the end.
    pub fn closed(&self, worker: u32) -> *mut u32 {
        pointer(self.shared + self.in_shared(Area::Closed) + u64::from(worker) * size_of::<u32>() as u64)
    }

    /// Memory through which the host reads and writes states.
    pub fn staging(&self) -> *mut u8 {
        pointer(self.shared + self.in_shared(Area::Staging))
    }

    /// What a launch is given, by the launch's place among [`GRIDS`].
    pub fn grid(&self, index: u32) -> *mut Grid {
        pointer(self.shared + self.in_shared(Area::Grids) + u64::from(index % GRIDS) * size_of::<Grid>() as u64)
    }

    /// The rings for requests and for replies from one worker to another, which is not the same.
    fn mesh(&self, from: u32, to: u32) -> (RingMemory, RingMemory) {
        let others = u64::from(self.limits.workers) - 1;
        let pair = u64::from(from) * others + u64::from(if to < from { to } else { to - 1 });
        let (base, lines) = (self.device + self.in_device(Device::Mesh), self.limits.ring_lines);
        (Self::ring(base, 2 * pair, lines), Self::ring(base, 2 * pair + 1, lines))
    }

    /// The memory of a worker's timers.
    fn timers(&self, worker: u32) -> TimerMemory {
        let l = &self.limits;
        let first = u64::from(worker) * u64::from(l.timers);
        let at = |section, bytes: u64| self.device + self.in_device(section) + first * bytes;
        TimerMemory {
            slots: pointer(at(Device::Timers, size_of::<TimerSlot>() as u64)),
            heap: pointer(at(Device::TimerHeaps, size_of::<Due>() as u64)),
            lines: pointer(at(Device::TimerLines, u64::from(l.max_lines) * LINE)),
            count: l.timers,
        }
    }

    /// Where a worker shows what it does.
    pub(crate) fn seen(&self, worker: u32) -> Seen {
        let l = &self.limits;
        let w = u64::from(worker);
        let (frame_bytes, actor_bytes) = (size_of::<Frame>() as u64, size_of::<Actor>() as u64);
        let at = self.worker(worker).expose_provenance() as u64;
        let frames = self.device + self.in_device(Device::Frames) + w * u64::from(l.frames) * frame_bytes;
        let actors = self.device + self.in_device(Device::Actors) + w * u64::from(l.actors) * actor_bytes;
        Seen {
            step: at + core::mem::offset_of!(Worker, steps) as u64,
            current: at + core::mem::offset_of!(Worker, current) as u64,
            frame_actor: frames + core::mem::offset_of!(Frame, actor) as u64,
            frame_bytes,
            generation: actors + core::mem::offset_of!(Actor, generation) as u64,
            actor_bytes,
        }
    }

    /// Builds a worker, with its ends of all its rings.
    ///
    /// # Safety
    /// The areas are live at the addresses of this plan, of the sizes it states, zeroed, and stay so until the worker has ended.
    /// Each worker is built once, before any of them runs; `module` is of this plan's `max_lines` and `lane_bytes`.
    pub unsafe fn build(&self, worker: u32, module: *const ModuleTable, hooks: Hooks) {
        let l = &self.limits;
        let w = u64::from(worker);
        let lines = u64::from(l.max_lines) * LINE;
        let peers: *mut Peer =
            pointer(self.device + self.in_device(Device::Peers) + w * u64::from(l.workers) * size_of::<Peer>() as u64);
        let inlets: *mut Consumer =
            pointer(self.device + self.in_device(Device::Inlets) + w * (1 + MAX_PORTS as u64) * size_of::<Consumer>() as u64);
        // SAFETY: the areas are live and this worker's parts of them are nobody else's (contract). A ring gets one producer and one
        // consumer: the worker that sends builds the one, the worker that receives the other.
        unsafe {
            for other in (0..l.workers).filter(|other| *other != worker) {
                let (requests_out, replies_out) = self.mesh(worker, other);
                let (requests_in, replies_in) = self.mesh(other, worker);
                peers.add(other as usize).write(Peer {
                    requests_out: Producer::new(requests_out),
                    replies_out: Producer::new(replies_out),
                    requests_in: Consumer::new(requests_in),
                    replies_in: Consumer::new(replies_in),
                    parked: self.parked(other),
                });
            }
            inlets.write(Consumer::new(self.ingress(worker)));
            for port in 0..l.ports {
                inlets.add(1 + port as usize).write(Consumer::new(self.port(worker, port)));
            }
            let memory = WorkerMemory {
                index: worker,
                workers: l.workers,
                lanes: l.lanes,
                lane_bytes: l.lane_bytes,
                actors: pointer(
                    self.device + self.in_device(Device::Actors) + w * u64::from(l.actors) * size_of::<Actor>() as u64,
                ),
                actor_capacity: l.actors,
                nodes: pointer(self.device + self.in_device(Device::Nodes) + w * u64::from(l.waiting) * lines),
                node_count: l.waiting,
                frames: pointer(
                    self.device + self.in_device(Device::Frames) + w * u64::from(l.frames) * size_of::<Frame>() as u64,
                ),
                frame_count: l.frames,
                frame_lines: pointer(self.device + self.in_device(Device::FrameLines) + w * u64::from(l.frames) * lines),
                timers: self.timers(worker),
                lane_memory: pointer(
                    self.device
                        + self.in_device(Device::Lanes)
                        + w * u64::from(l.frames) * u64::from(l.lanes) * u64::from(l.lane_bytes),
                ),
                peers,
                inlets,
                open_ports: self.open_ports(),
                cells: self.cells(),
                cell_parked: self.cells_parked(),
                ask_limit: l.ask_limit,
                hooks,
                module,
                link: LinkMemory {
                    leave: self.leave(),
                    post: self.post(worker),
                    letters: self.letters(worker),
                    pause_ns: l.pause_ns,
                },
                directory: Directory::new(
                    pointer(self.device + self.in_device(Device::Directories) + w * l.directory.bytes()),
                    l.directory,
                ),
                spawn: SpawnMemory {
                    states: pointer(
                        self.device + self.in_device(Device::Spawned) + w * u64::from(l.spawned) * u64::from(l.spawn_stride),
                    ),
                    stride: l.spawn_stride.into(),
                    count: l.spawned,
                },
            };
            Worker::init(self.worker(worker), &memory);
        }
    }
}
