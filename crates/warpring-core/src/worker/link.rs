//! What a worker of a grid has to do with the host, beside its rings: when it leaves its loop, what it posts, its dead letters.

use core::ptr;

use super::{List, Step, Worker};
use crate::error::KernelError;
use crate::frame::{NONE, Waiting};
use crate::message::{Header, Packed, Parcel, RingMessage, encode, lines_for};
use crate::post::{Exit, Left, Post};
use crate::ring::{Lines, Producer, RingMemory, publish_cell};
use crate::scoped::{Scope, Word32};
use crate::team::Fabric;

/// After so many idle rounds a worker says that it has nothing to do.
const IDLE_AFTER: u32 = 1;
/// A worker says that it lives about so often, in nanoseconds.
const REPORT_NS: u64 = 100_000;
/// So long the last letters wait for a host that does not take them.
const AT_LAST_NS: u64 = 10_000_000_000;

/// The payload of this dead letter is behind its header.
pub const LETTER_WHOLE: u32 = 1 << 16;

/// A worker's way to the host.
#[repr(C)]
pub struct Link {
    leave: *const Word32,
    post: *mut Post,
    letters: Option<Producer>,
    #[cfg_attr(not(target_arch = "nvptx64"), allow(dead_code, reason = "only the device pauses"))]
    pause_ns: u32,
    /// Number of the launch that runs now, from 1.
    launch: u32,
    /// Why the worker leaves, if it does.
    why: Option<Left>,
    /// Since when the host was told that there is nothing to do; 0: that there is.
    said: u64,
    /// Since when there is nothing to do.
    idle_from: u64,
    /// Line of the last panic.
    pub(crate) fallen_line: u32,
    /// The worker has ended, and says what it has left to say.
    pub(super) at_last: bool,
    /// The launch ends at this time.
    until: u64,
    /// The launch ends when so many messages are handled.
    count: u64,
    /// When the host was last told something.
    told_at: u64,
    /// The device's clock when the worker was built.
    pub(crate) epoch: u64,
}

/// The memory of a link.
#[derive(Clone, Copy)]
pub struct LinkMemory {
    /// The word that tells the worker to leave its loop.
    pub leave: *const Word32,
    /// What it posts.
    pub post: *mut Post,
    /// The ring for dead letters, if it does not tell the host directly.
    pub letters: Option<RingMemory>,
    /// An idle worker pauses for so long between two looks; 0: never. On a GPU only.
    pub pause_ns: u32,
}

impl LinkMemory {
    /// No way to the host but the hooks.
    pub const NONE: Self = Self { leave: ptr::null(), post: ptr::null_mut(), letters: None, pause_ns: 0 };
}

/// How long a launch may last.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Launch {
    /// From 1 on.
    pub number: u32,
    /// Nanoseconds; `u64::MAX` for no limit.
    pub residency_ns: u64,
    /// Messages that a worker handles; `u64::MAX` for no limit.
    pub messages: u64,
}

impl Link {
    /// # Safety
    /// The word, the post and the ring live as long as the worker, which alone writes the post and the ring.
    pub(super) unsafe fn new(memory: &LinkMemory) -> Self {
        Self {
            leave: memory.leave,
            post: memory.post,
            // SAFETY: contract.
            letters: memory.letters.map(|ring| unsafe { Producer::new(ring) }),
            pause_ns: memory.pause_ns,
            launch: 0,
            why: None,
            said: 0,
            idle_from: 0,
            fallen_line: 0,
            at_last: false,
            until: u64::MAX,
            count: u64::MAX,
            told_at: 0,
            epoch: 0,
        }
    }

    #[inline(always)]
    pub(super) fn leaves(&self) -> bool {
        self.why.is_some()
    }

    pub(super) fn told_to_leave<S: Scope>(&self) -> bool {
        // SYNC: sleep: what hosts sent before the word was set is seen after it.
        // SAFETY: the word lives as long as the worker (`new`).
        !self.leave.is_null() && unsafe { (*self.leave).acquire::<S>() } != 0
    }

    /// The word that tells the worker to leave, as it may be now.
    #[inline(always)]
    pub(super) fn glance_at_leave<S: Scope>(&self) -> u32 {
        // SAFETY: the word lives as long as the worker (`new`).
        if self.leave.is_null() { 0 } else { unsafe { (*self.leave).glance::<S>() } }
    }

    pub(super) fn has_letters(&self) -> bool {
        self.letters.is_some()
    }

    /// An idle worker of the device gives its power to others.
    #[cfg(target_arch = "nvptx64")]
    #[inline(always)]
    pub(super) fn pause(&self) {
        if self.pause_ns > 0 {
            crate::scoped::pause(self.pause_ns);
        }
    }
}

impl Worker {
    /// A launch begins, or goes on after the worker's lanes fell: then the handler that fell is given up first.
    ///
    /// # Safety
    /// The leader calls it, and nobody runs the worker.
    pub unsafe fn enter<F: Fabric>(&mut self, launch: &Launch) {
        self.now = self.clock();
        self.link.launch = launch.number;
        self.link.why = None;
        self.link.until = self.now.saturating_add(launch.residency_ns);
        self.link.count = self.counters.handled.saturating_add(launch.messages);
        if self.current.get() != NONE {
            let line = self.link.fallen_line;
            // SAFETY: contract.
            unsafe { self.recover::<F>(line) };
        }
    }

    pub(super) fn leave_because(&mut self, why: Left) {
        self.link.why = self.link.why.or(Some(why));
    }

    /// Says now and then that the worker lives, and whether it has something to do; looks whether the launch is over.
    #[inline(never)]
    pub(super) fn report(&mut self) {
        if self.now >= self.link.until {
            self.leave_because(Left::Resident);
        } else if self.counters.handled >= self.link.count {
            self.leave_because(Left::Counted);
        }
        let post = self.link.post;
        if post.is_null() {
            return;
        }
        if self.idle_rounds == IDLE_AFTER {
            self.link.idle_from = self.now.max(1);
        }
        let idle = if self.idle_rounds >= IDLE_AFTER { self.link.idle_from } else { 0 };
        let link = &mut self.link;
        // At once when the first idle time begins; of many short ones, now and then which it is.
        let news = (idle == 0) != (link.said == 0) || idle.wrapping_sub(link.said) > REPORT_NS;
        if !news && self.now.wrapping_sub(link.told_at) < REPORT_NS {
            return;
        }
        link.told_at = self.now;
        // SAFETY: the post is this worker's; the host reads single words of it.
        unsafe {
            (*post).clock.set(self.now);
            if link.said != idle {
                link.said = idle;
                (*post).idle_since.set(idle);
            }
        }
    }

    /// Posts how the worker leaves its loop; the next launch goes on from here.
    #[cold]
    pub(super) fn leave<F: Fabric>(&mut self) -> Step {
        let why = self.link.why.unwrap_or(Left::Told);
        self.post_exit::<F>(why);
        Step::Exit
    }

    #[cold]
    #[inline(never)]
    pub(super) fn post_exit<F: Fabric>(&mut self, why: Left) {
        if self.link.post.is_null() {
            return;
        }
        self.now = self.clock();
        // A message that came before the host said that it sees the workers leave.
        // SAFETY: there is a shared ring (contract of `init`).
        let unread = self.unread::<F>() + u32::from(unsafe { (*self.inlets).holds::<F::Host>() });
        let none = |list: &List| list.is_empty();
        let mut quiet = none(&self.resumable) && none(&self.ready) && none(&self.flushing) && self.nodes.used == 0;
        quiet &= unread == 0 && !self.life.busy();
        let mut next_wake = self.next_timer;
        for index in 0..self.frame_count {
            let frame = self.frame(index);
            // SAFETY: the frame is this worker's.
            unsafe {
                if (*frame).in_use {
                    quiet &= (*frame).waiting == Waiting::Time;
                    next_wake = next_wake.min((*frame).wake_at);
                }
            }
        }
        let counters = self.counters;
        let exit = Exit { why, quiet, next_wake, sent: counters.sent, received: counters.received };
        let header = Header { lines: lines_for(Exit::SIZE) as u8, ..Header::default() };
        let (post, launch) = (self.link.post, self.link.launch);
        // SAFETY: the post is this worker's; the host reads the record after it has seen the launch's number.
        unsafe {
            (*post).clock.set(self.now);
            encode(&exit, |parcel| publish_cell::<F::Host>((&raw const (*post).exit).cast(), launch, &header, parcel));
        }
    }

    /// Posts a dead letter: the message's own header, in which the reason stands instead of the correlation and the deadline.
    #[cold]
    #[inline(never)]
    pub(super) fn post_letter<F: Fabric>(&mut self, header: &Packed, lines: Option<Lines>, error: KernelError) -> bool {
        let (code, detail) = error.to_parts();
        let whole = lines.is_some();
        let header = Header {
            lines: if whole { header.lines() } else { 1 },
            correlation: detail,
            deadline: u32::from(code) | if whole { LETTER_WHOLE } else { 0 },
            ..header.unpack()
        };
        match lines {
            // SAFETY: the lines are acquired or owned, and as many as the header says.
            Some(lines) => unsafe { lines.with_parcel(header.lines, |parcel| self.push_letter::<F>(&header, parcel)) },
            None => self.push_letter::<F>(&header, Parcel::EMPTY),
        }
    }

    /// Puts a letter or a notice into the ring for them. False: there is no room now.
    pub(super) fn push_letter<F: Fabric>(&mut self, header: &Header, parcel: Parcel<'_>) -> bool {
        // After the end nobody comes back to a letter: the host takes them all the while, so there will be room.
        let until = if self.link.at_last { self.clock().saturating_add(AT_LAST_NS) } else { 0 };
        loop {
            let Some(ring) = &mut self.link.letters else { return true };
            if ring.push::<F::Host>(header, parcel) {
                return true;
            }
            if self.clock() >= until {
                return false;
            }
            core::hint::spin_loop();
        }
    }
}
