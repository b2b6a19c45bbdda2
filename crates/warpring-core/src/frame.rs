//! Frames: the memory of handlers that run or are suspended. A bounded pool per worker.
//!
//! A frame is a shared part ([`Frame`], written by the leader alone), one area per lane (the lane's context and its future),
//! and a buffer of lines for the reply that a suspended handler waits for, or for the rest of a long reply that goes out.
//!
//! ```text
//!            begin                 Pending                    reply, time, room
//!   free ──────────────► running ──────────────► suspended ───────────────────► resumable
//!    ▲                    │  ▲                                                      │
//!    │  reply sent        │  └──────────────────────────────────────────────────────┘ resume
//!    └────────────────────┤ Ready
//!    ▲                    ▼ the reply's ring is full
//!    └──────────────── flushing
//! ```

use crate::address::ActorId;
use crate::error::KernelError;
use crate::message::{FIRST_WORDS, Kind, Packed, Parcel, RingMessage, encode, lines_for};
use crate::ring::Line;

/// Index of no frame, no actor, no node.
pub(crate) const NONE: u32 = u32::MAX;

/// What a frame waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Waiting {
    /// Nothing: it runs, or yields.
    Nothing,
    /// The reply with the correlation `Frame::asks`, until `wake_at`.
    Reply,
    /// The moment `wake_at`.
    Time,
    /// Room in the request ring to worker `Frame::peer`, until `wake_at`.
    Room,
    /// Room in the reply ring, until `wake_at`: the handler is done, its reply is not out.
    Flush,
}

/// What a frame runs, in the form that both sides of a panic can read.
pub(crate) const OP_HANDLE: u8 = 0;
pub(crate) const OP_INITIALIZE: u8 = 1;
pub(crate) const OP_SHUTDOWN: u8 = 2;
/// `initialize` of an actor that was spawned or restarted, which no launch waits for.
pub(crate) const OP_START: u8 = 3;
/// `shutdown` of one actor, while its worker goes on.
pub(crate) const OP_END: u8 = 4;

/// The shared part of a frame.
#[repr(C, align(64))]
pub struct Frame {
    pub(crate) state: *mut u8,
    pub(crate) state_bytes: u32,
    pub(crate) actor: u32,
    pub(crate) request: Packed,
    /// How many asks this frame has made, over all its uses: pairs a reply with the ask that waits.
    pub(crate) asks: u32,
    /// The ask that was last suspected to be part of a cycle.
    pub(crate) suspected: u32,
    pub(crate) wake_at: u64,
    /// Whom it asked last.
    pub(crate) asked: ActorId,
    pub(crate) next: u32,
    pub(crate) peer: u32,
    pub(crate) kind: u16,
    pub(crate) op: u8,
    pub(crate) waiting: Waiting,
    /// The reply that a suspended ask waited for is in the buffer.
    pub(crate) answered: bool,
    /// The wait ended by time.
    pub(crate) timed_out: bool,
    pub(crate) in_use: bool,
    /// The handler wants to know its number among the frames.
    pub(crate) index: u32,
    /// The outcome, while its reply waits for room.
    pub(crate) outcome: Outcome,
    /// Lines for a reply that comes in, or for the rest of one that goes out.
    pub(crate) buffer: *mut Line,
    /// When the suspected ask sends its next probe, and how many it has sent.
    pub(crate) probe_at: u64,
    pub(crate) probes: u8,
}

impl Frame {
    /// The handler waits for room in the request ring to a worker, until a moment.
    pub(crate) fn wait_for_room(&mut self, peer: u32, until: u64) {
        self.waiting = Waiting::Room;
        self.peer = peer;
        self.timed_out = false;
        self.wake_at = until;
    }
}

/// How a handler ended: what its reply says. Small, so that it stays in registers; the words of a long reply are in the
/// frame's buffer.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Outcome {
    /// A [`Kind`], as a number: an enum would lend its unused values to `Option` and `Poll`, and what is left of the word behind it would
    /// be copied byte by byte on the GPU.
    kind: u8,
    pub(crate) lines: u8,
    pub(crate) code: u16,
    pub(crate) detail: u32,
    pub(crate) first: [u64; FIRST_WORDS],
}

impl Outcome {
    /// A reply, an error of the handler, or a refusal.
    #[inline(always)]
    pub(crate) fn kind(&self) -> Kind {
        match self.kind {
            kind if kind == Kind::Reply as u8 => Kind::Reply,
            kind if kind == Kind::Failed as u8 => Kind::Failed,
            _ => Kind::Refused,
        }
    }

    /// A reply; what does not fit the first line is written to `rest`.
    ///
    /// # Safety
    /// `rest` has room for the words of `R` behind the first line.
    #[inline(always)]
    pub(crate) unsafe fn reply<R: RingMessage>(reply: &R, rest: *mut u64) -> Self {
        encode(reply, |parcel| {
            for (i, word) in parcel.rest.iter().enumerate() {
                // SAFETY: contract.
                unsafe { rest.add(i).write(*word) }
            }
            Self { kind: Kind::Reply as u8, lines: const { lines_for(R::SIZE) as u8 }, code: 0, detail: 0, first: parcel.first }
        })
    }

    /// The handler returned an error.
    #[inline(always)]
    pub(crate) fn failed(error: KernelError) -> Self {
        let (code, detail) = error.to_parts();
        Self { kind: Kind::Failed as u8, lines: 1, code, detail, first: [0; FIRST_WORDS] }
    }

    /// The message was not handled.
    #[inline(always)]
    pub(crate) fn refused(error: KernelError) -> Self {
        Self { kind: Kind::Refused as u8, ..Self::failed(error) }
    }

    /// Why it is no reply, if it is none.
    #[inline(always)]
    pub(crate) fn failure(&self) -> Option<KernelError> {
        (self.kind() != Kind::Reply).then(|| KernelError::from_parts(self.code, self.detail))
    }

    /// The words behind the first line.
    ///
    /// # Safety
    /// `rest` is what `reply` was given.
    #[inline(always)]
    pub(crate) unsafe fn parcel<'a>(&self, rest: *const u64) -> Parcel<'a> {
        let words = (usize::from(self.lines) - 1) * crate::message::NEXT_WORDS;
        // SAFETY: `reply` wrote that many words there, for `lines - 1` further lines.
        Parcel { first: self.first, rest: if words == 0 { &[] } else { unsafe { core::slice::from_raw_parts(rest, words) } } }
    }
}
