//! Cycles of asks: found by probes, and broken at one of their actors.
//!
//! An actor handles one message at a time, so asks that come back to an actor which waits can never be answered. The method is the
//! edge chasing of Chandy, Misra and Haas, "Distributed deadlock detection" (ACM TOCS 1(2), 1983), for the AND model; here a handler
//! waits for one reply at a time.
//!
//! **Edges.** While the handler of actor X waits for the reply to its ask number n of actor Y, there is an edge (X, n) → Y. It ends
//! when X's worker takes the reply, or when X gives up.
//!
//! **When.** If asks form a cycle, the one that was made last came to an actor that was waiting already. So an ask that an actor sends
//! to a busy one makes the worker look, a little later, at those of its handlers that wait for a reply while messages wait for them.
//! One that is seen twice with the same ask sends a probe along its edge, and again with doubled pauses, [`PROBES`] times in all:
//! a probe for which a ring has no room is dropped. Nothing of this is on the way of an ask to a free actor.
//!
//! **Laps.** Each worker hands the probe on along the edge of the actor that it has come to, or drops it where there is none. It has
//! to come back to its sender twice, over the same edges. That there is a cycle then, and not only edges that were there one after the
//! other:
//!
//! 1. A probe goes through the ring that the ask of its edge went through, behind it. So where it comes to Y, the ask (X, n) has been
//!    put into Y's mailbox or given to Y's handler, or it was refused and the refusal is in the ring of replies.
//! 2. An edge that was seen in both laps was there all the time between, because numbers of asks do not come back. So at the time T
//!    at which the first lap ended, all edges of the cycle were there at once.
//! 3. No reply to any of them was on its way at T. Say that Y had replied to (X, n) before. Y waits with its own edge from its first
//!    visit on, so the reply is older than that visit: it was in the ring of replies then, or it waited for room in Y's worker, which
//!    looks there (`owes`) and would have dropped the probe. From Y the probe went on, around, to X's worker for the second lap;
//!    what Y's worker wrote before it sent the probe is visible there (`SYNC: line`, from ring to ring), and a worker takes all replies
//!    before it judges a probe. So (X, n) would have ended before X's second visit. For the actor that the probe began at, the visit at
//!    T is the first of the two.
//! 4. So at T each of them waited for a reply that only the next one could give, after its own. Nothing but a deadline ends that.
//!
//! The length of a lap is not bounded by memory of where the probe has been: of a walk that runs into a cycle which it did not begin
//! in, R. P. Brent's method (BIT 20, 1980) finds that it goes in circles.

use super::Worker;
use super::notice::{CYCLE_NAMES, Notice};
use crate::address::ActorId;
use crate::error::KernelError;
use crate::frame::{Frame, NONE, Waiting};
use crate::layout;
use crate::mailbox::Status;
use crate::message::{FIRST_WORDS, Header, Kind, NEXT_WORDS, Packed, Parcel};
use crate::ring::{Consumer, Lines};
use crate::scoped::Device;
use crate::team::Fabric;

/// So long a handler waits before it sends its first probe, if asks have no shorter limit.
const PROBE_AFTER_NS: u64 = 2_000_000;
/// Probes for one ask; each pause is twice the one before.
const PROBES: u8 = 8;
/// A probe goes over so many edges at most.
const MOST_EDGES: u32 = 1 << 20;
/// Lines of a probe.
const LINES: u8 = 2;

/// A worker's part in finding cycles.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Cycles {
    /// How many this worker has reported.
    reported: u32,
}

/// A probe: words that fit into two lines with their header.
#[derive(Clone, Copy)]
struct Probe {
    /// Worker and frame of the handler that sent it, as the origin of its ask, and the number of that ask.
    origin: u32,
    number: u32,
    /// The actor that it goes to.
    to: ActorId,
    /// Edges of this lap so far.
    edges: u32,
    /// Edges of the first lap; 0 in the first lap.
    length: u32,
    /// Digests of the edges of the first lap, and of this one.
    first: u64,
    digest: u64,
    /// An actor that it has come by.
    mark: u64,
    /// The edge that it comes along: origin and number of the ask.
    along: u64,
    /// Its actors, as far as there is room.
    names: [u64; CYCLE_NAMES],
}

// They fill the probe's second line.
const _: () = assert!(CYCLE_NAMES == NEXT_WORDS);

impl Worker {
    /// An actor asks one that is busy: the worker looks for cycles after a while.
    #[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
    pub(super) fn suspect(&mut self) {
        let at = self.now.saturating_add(self.probe_pause());
        if at < self.next_probe {
            self.next_probe = at;
        }
    }

    #[inline(always)]
    fn probe_pause(&self) -> u64 {
        PROBE_AFTER_NS.min(self.ask_limit >> 3)
    }

    /// Looks at the handlers that wait for a reply while messages wait for their actors. Called when `next_probe` has come.
    #[cold]
    #[inline(never)]
    pub(super) fn look_for_cycles<F: Fabric>(&mut self) {
        self.next_probe = u64::MAX;
        self.take_all_replies::<F>();
        let pause = self.probe_pause();
        let mut next = u64::MAX;
        let mut left = self.frames_used;
        for index in 0..self.frame_count {
            if left == 0 {
                break;
            }
            let frame = self.frame(index);
            // SAFETY: the frame and its actor are this worker's.
            unsafe {
                if !(*frame).in_use {
                    continue;
                }
                left -= 1;
                if (*frame).waiting != Waiting::Reply || (*self.actor((*frame).actor)).waiting == 0 {
                    continue;
                }
                if (*frame).suspected != (*frame).asks {
                    (*frame).suspected = (*frame).asks;
                    (*frame).probes = 0;
                    (*frame).probe_at = self.now.saturating_add(pause);
                } else if (*frame).probe_at <= self.now && (*frame).probes < PROBES {
                    (*frame).probes += 1;
                    (*frame).probe_at = self.now.saturating_add(pause << (*frame).probes);
                    let probe = self.probe_of(frame);
                    self.chase::<F>(probe);
                }
                if (*frame).probes < PROBES {
                    next = next.min((*frame).probe_at);
                }
            }
        }
        self.next_probe = self.next_probe.min(next);
    }

    /// # Safety
    /// The frame is this worker's, and waits for a reply.
    unsafe fn probe_of(&self, frame: *const Frame) -> Probe {
        // SAFETY: contract.
        let (origin, number) = unsafe { (self.index << 16 | (*frame).index, (*frame).asks) };
        let mut probe = Probe {
            origin,
            number,
            to: ActorId::default(),
            edges: 0,
            length: 0,
            first: 0,
            digest: layout::EMPTY,
            mark: 0,
            along: 0,
            names: [0; CYCLE_NAMES],
        };
        // SAFETY: contract.
        unsafe { self.follow(frame, &mut probe) };
        probe
    }

    /// Moves a probe along the edge of a frame.
    ///
    /// # Safety
    /// As for `probe_of`.
    unsafe fn follow(&self, frame: *const Frame, probe: &mut Probe) {
        // SAFETY: contract.
        unsafe {
            let slot = (*frame).actor;
            let generation = (*self.actor(slot)).generation;
            let actor = ActorId { slot, generation, worker: self.index as u16 }.to_bits();
            if probe.length == 0
                && let Some(name) = probe.names.get_mut(probe.edges as usize)
            {
                *name = actor;
            }
            probe.edges += 1;
            if probe.edges.is_power_of_two() {
                probe.mark = actor;
            }
            probe.along = u64::from(self.index << 16 | (*frame).index) | u64::from((*frame).asks) << 32;
            probe.digest = layout::mix(layout::mix(probe.digest, actor), probe.along);
            probe.to = (*frame).asked;
        }
    }

    /// A probe has come from another worker. All replies have to be taken before.
    pub(super) fn probed<F: Fabric>(&mut self, ring: &mut Consumer, header: &Packed, lines: Lines) {
        let mut names = [0; CYCLE_NAMES];
        // SAFETY: `peek` acquired the lines; a probe has as many as that.
        let [first, digest, mark, along] = unsafe {
            if header.lines() == LINES {
                lines.rest(&mut names);
            }
            lines.first()
        };
        let probe = Probe {
            origin: header.origin(),
            number: header.correlation(),
            to: ActorId { slot: header.slot(), generation: header.generation(), worker: self.index as u16 },
            edges: header.sender(),
            length: header.deadline(),
            first,
            digest,
            mark,
            along,
            names,
        };
        ring.advance(header.lines());
        self.counters.received += 1;
        self.take_all_replies::<F>();
        self.chase::<F>(probe);
    }

    /// Follows a probe over the edges of this worker, and sends it on to the next.
    fn chase<F: Fabric>(&mut self, mut probe: Probe) {
        while probe.edges < MOST_EDGES {
            let ActorId { slot, generation, worker } = probe.to;
            if u32::from(worker) != self.index {
                return self.send_probe::<F>(&probe);
            }
            if slot >= self.actor_capacity {
                return;
            }
            // SAFETY: the slot is in range, and of zeroed memory it is free; an actor's frame is this worker's.
            let frame = unsafe {
                let actor = &*self.actor(slot);
                if actor.generation != generation || actor.status == Status::Free || actor.frame >= self.frame_count {
                    return;
                }
                self.frame(actor.frame)
            };
            // SAFETY: as above.
            let (waiting, asks, index) = unsafe { ((*frame).waiting, (*frame).asks, (*frame).index) };
            if waiting != Waiting::Reply || self.owes(probe.along) {
                return;
            }
            if probe.origin == self.index << 16 | index {
                if probe.number != asks {
                    return;
                }
                if probe.length != 0 {
                    if (probe.length, probe.first) == (probe.edges, probe.digest) {
                        self.break_cycle::<F>(frame, &probe);
                    }
                    return;
                }
                probe = Probe { first: probe.digest, length: probe.edges, digest: layout::EMPTY, edges: 0, ..probe };
            } else if probe.mark == probe.to.to_bits() {
                // A cycle that it did not begin in: those who are in it send probes of their own.
                return;
            }
            // SAFETY: the frame is this worker's, and waits for a reply.
            unsafe { self.follow(frame, &mut probe) }
        }
    }

    /// Whether the reply to this ask waits here for room.
    fn owes(&self, along: u64) -> bool {
        let mut index = self.flushing.head;
        while index != NONE {
            let frame = self.frame(index);
            // SAFETY: a listed frame is this worker's.
            unsafe {
                if (*frame).waiting == Waiting::Flush
                    && (*frame).request.kind() == Kind::Ask as u8
                    && (*frame).request.reply == along
                {
                    return true;
                }
                index = (*frame).next;
            }
        }
        false
    }

    /// Sends a probe to another worker, behind the ask that it follows; without room it is dropped, and another one comes later.
    fn send_probe<F: Fabric>(&mut self, probe: &Probe) {
        let worker = u32::from(probe.to.worker);
        if worker >= self.workers {
            return;
        }
        let header = Header {
            kind: Kind::Probe as u8,
            lines: LINES,
            tag: 0,
            slot: probe.to.slot,
            generation: probe.to.generation,
            sender_generation: 0,
            origin: probe.origin,
            correlation: probe.number,
            sender: probe.edges,
            deadline: probe.length,
        };
        let first: [u64; FIRST_WORDS] = [probe.first, probe.digest, probe.mark, probe.along];
        let _ = self.push_to_peer::<F>(worker, &header, Parcel { first, rest: &probe.names });
    }

    /// The ask of this frame is part of a cycle: the host is told, and then the ask fails. Without room for the report it goes on
    /// waiting, until the next probe.
    #[cold]
    #[inline(never)]
    fn break_cycle<F: Fabric>(&mut self, frame: *mut Frame, probe: &Probe) {
        let report = self.cycles.reported.wrapping_add(1) << 9 | self.index;
        let actors = probe.names.map(ActorId::from_bits);
        if !self.notify::<F>(&Notice::Cycle { report, length: probe.length, actors }) {
            return;
        }
        self.cycles.reported = self.cycles.reported.wrapping_add(1);
        let (tag, sender) = KernelError::AskCycle { report }.to_parts();
        let header = Header { kind: Kind::Failed as u8, lines: 1, tag, sender, ..Header::default() };
        // SAFETY: the frame is this worker's, waits for a reply, and so is in no list; its buffer holds one.
        unsafe {
            Lines::flat((*frame).buffer).store::<Device>(&header, Parcel::EMPTY);
            (*frame).waiting = Waiting::Nothing;
            (*frame).answered = true;
            self.push_resumable((*frame).index);
        }
    }
}
