//! Names and topics at work: the host's changes of the directory, and messages that go to all subscribers of a topic.
//!
//! A publication goes to each worker that has subscribers once, as a control message with the topic's number in place of a slot,
//! and that worker gives each of them a copy. Until the ring moves on, `correlation` says to how many of its subscribers it has:
//! a dead letter may have to wait for room.

use super::{Step, Worker};
use crate::directory::{Change, Subscriber};
use crate::error::KernelError;
use crate::frame::{Frame, Outcome};
use crate::message::{FROM_HOST, Header, Kind, Parcel};
use crate::name::Name;
use crate::ring::{Consumer, Lines};
use crate::scoped::Device;
use crate::team::Fabric;

/// Control operation: change the directory.
pub const CONTROL_CHANGE: u16 = 32;
/// Control operation: give this message to the topic's subscribers on this worker. It has no answer.
pub const CONTROL_PUBLISH: u16 = 33;
/// Control operation: say what was published on a topic by handlers of this worker, and lost here.
pub const CONTROL_COUNTS: u16 = 34;

/// Whom a publication reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Published {
    /// Subscribers that the message was sent to: it is in their mailbox, or in the ring to their worker.
    pub sent: u32,
    /// Subscribers that lost it, because their mailbox or the ring to their worker was full, or they have stopped.
    pub lost: u32,
}

/// What a handler publishes, besides the payload.
pub(crate) struct Publication {
    pub(crate) topic: Name,
    /// [`message_type`](crate::directory::message_type).
    pub(crate) message: u64,
    pub(crate) lines: u8,
}

/// What became of a publication. All integers, so that lanes hand it on as it is.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Outlet {
    pub(crate) published: Published,
    /// [`Outlet::SENT`] or why not.
    pub(crate) verdict: u32,
}

impl Outlet {
    pub(crate) const SENT: u32 = 0;
    pub(crate) const NO_TOPIC: u32 = 1;
    pub(crate) const OTHER_MESSAGE: u32 = 2;

    const fn refused(verdict: u32) -> Self {
        Self { published: Published { sent: 0, lost: 0 }, verdict }
    }
}

/// The header of a topic's message for one of its subscribers; `of` is the publication's.
fn for_subscriber(of: &Header, who: &Subscriber) -> Header {
    Header { kind: Kind::Tell as u8, tag: who.tag, slot: who.actor.slot, generation: who.actor.generation, correlation: 0, ..*of }
}

impl Worker {
    /// A control message that concerns names or topics. None of them waits for a launch or a stop: what is looked up and published
    /// must not.
    #[cold]
    #[inline(never)]
    pub(super) fn directory_control<F: Fabric>(&mut self, ring: &mut Consumer, lines: Lines) -> Option<Step> {
        // SAFETY: `peek` acquired the lines.
        let header = unsafe { lines.header() };
        match header.tag {
            CONTROL_PUBLISH => {
                if !self.fan_out::<F>(lines, None) {
                    self.blocked = true;
                    return None;
                }
                self.counters.received += u64::from(header.origin != FROM_HOST);
            }
            CONTROL_CHANGE => {
                // SAFETY: as above.
                let change = unsafe { lines.decode::<Change>(header.lines) };
                let done = change.is_ok_and(|change| self.directory.apply(&change));
                let outcome = if done { Outcome::failed } else { Outcome::refused };
                self.answer_control(&header, outcome(KernelError::Malformed), &());
            }
            _ => {
                // SAFETY: as above.
                let topic = unsafe { lines.decode::<u32>(header.lines) };
                let counts = topic.ok().and_then(|topic| self.directory.counts(topic)).map(|of| [of.published, of.lost]);
                let outcome = if counts.is_some() { Outcome::failed } else { Outcome::refused };
                self.answer_control(&header, outcome(KernelError::Malformed), &counts.unwrap_or_default());
            }
        }
        ring.advance(header.lines);
        Some(Step::Again)
    }

    /// Gives a publication at the head of a ring to the topic's subscribers here, or, with `refuse`, to nobody any more. False: a
    /// dead letter has to wait for room, so leave the publication where it is.
    #[cold]
    #[inline(never)]
    pub(super) fn fan_out<F: Fabric>(&mut self, lines: Lines, refuse: Option<KernelError>) -> bool {
        // SAFETY: the caller's `peek` acquired the lines, as many as the header says.
        let header = unsafe { lines.header() };
        // SAFETY: as above.
        unsafe { lines.with_parcel(header.lines, |parcel| self.fan_parcel::<F>(&header, lines, parcel, refuse)) }
    }

    fn fan_parcel<F: Fabric>(&mut self, header: &Header, lines: Lines, parcel: Parcel<'_>, refuse: Option<KernelError>) -> bool {
        let topic = header.slot;
        let mut index = header.correlation;
        while let Some(who) = self.directory.subscriber(topic, index) {
            if u32::from(who.actor.worker) == self.index {
                let to = for_subscriber(header, &who);
                let given = match refuse {
                    None => self.give(&to, parcel),
                    Some(error) => Err(error),
                };
                if let Err(error) = given {
                    if !self.bury::<F>(&to.pack(), Some(lines), error) {
                        // SAFETY: the lines are this worker's until the ring moves on.
                        unsafe { lines.set_header(&Header { correlation: index, ..*header }) }
                        return false;
                    }
                    self.count_lost(topic);
                }
            }
            index += 1;
        }
        true
    }

    /// Puts a copy of a topic's message into the mailbox of an actor of this worker.
    fn give(&mut self, to: &Header, parcel: Parcel<'_>) -> Result<(), KernelError> {
        let packed = to.pack();
        self.accepts(&packed)?;
        // SAFETY: the node holds the largest message of the module, of which a subscriber handles this one.
        self.enqueue(&packed, |node| unsafe { node.store::<Device>(to, parcel) })
    }

    fn count_lost(&mut self, topic: u32) {
        self.counters.refused += 1;
        if let Some(counts) = self.directory.counts(topic) {
            counts.lost += 1;
        }
    }

    /// Publishes from a handler that runs in `frame`. It never waits: who has no room loses the message.
    #[inline(never)]
    pub(crate) fn publish<F: Fabric>(&mut self, frame: *mut Frame, what: &Publication, parcel: Parcel<'_>) -> Outlet {
        let Some((topic, message)) = self.directory.topic(what.topic) else { return Outlet::refused(Outlet::NO_TOPIC) };
        if message != what.message || u32::from(what.lines) > self.cell_lines {
            return Outlet::refused(Outlet::OTHER_MESSAGE);
        }
        // SAFETY: the frame runs on this worker, and its actor is this worker's.
        let (sender, sender_generation, index) = unsafe {
            let own = (*frame).actor;
            (own, (*self.actor(own)).generation, (*frame).index)
        };
        let header = Header {
            kind: Kind::Control as u8,
            lines: what.lines,
            tag: CONTROL_PUBLISH,
            slot: topic,
            sender_generation,
            origin: self.index << 16 | index,
            sender,
            ..Header::default()
        };
        if let Some(counts) = self.directory.counts(topic) {
            counts.published += 1;
        }
        let mut published = Published::default();
        let mut index = 0;
        // The worker that the publication was last sent to, and whether its ring had room.
        let mut far = (self.index, true);
        while let Some(who) = self.directory.subscriber(topic, index) {
            let worker = u32::from(who.actor.worker);
            let given = if worker == self.index {
                self.give(&for_subscriber(&header, &who), parcel)
            } else {
                if far.0 != worker {
                    far = (worker, worker < self.workers && self.push_to_peer::<F>(worker, &header, parcel));
                }
                if far.1 { Ok(()) } else { Err(KernelError::RingFull { worker }) }
            };
            match given {
                Ok(()) => published.sent += 1,
                Err(error) => {
                    published.lost += 1;
                    self.count_lost(topic);
                    self.bury_copy::<F>(frame, &for_subscriber(&header, &who), parcel, error);
                }
            }
            index += 1;
        }
        Outlet { published, verdict: Outlet::SENT }
    }

    /// Makes a dead letter of what a running handler published, if there is room for one: nothing waits here.
    #[cold]
    fn bury_copy<F: Fabric>(&mut self, frame: *mut Frame, to: &Header, parcel: Parcel<'_>, error: KernelError) {
        // SAFETY: the buffer of a frame whose handler runs is free: no ask is under way, and its reply is not written yet. It holds
        // the largest message of the module.
        unsafe {
            let lines = Lines::flat((*frame).buffer);
            lines.store::<Device>(to, parcel);
            self.bury::<F>(&to.pack(), Some(lines), error);
        }
    }
}
