//! What a handler may do to other actors' lives: spawn them, end them, hear of their end.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::{RingContext, poll_reply};
use crate::address::{ActorId, Address};
use crate::error::{KernelError, Result};
use crate::exit::Down;
use crate::frame::Waiting;
use crate::message::{FIRST_WORDS, MAX_PAYLOAD, MAX_WORDS, NEXT_WORDS, Parcel, lines_for};
use crate::module::{Exported, Handles};
use crate::team::{Site, Team, with_team};
use crate::worker::{End, How, Notice, Sent, Spawning};

/// Messages that the mailbox of a spawned actor holds, unless [`RingContext::spawn_with_mailbox`] says otherwise.
pub const SPAWNED_MAILBOX: u16 = 1024;

impl<'a> RingContext<'a> {
    /// Makes a new actor on this worker. It is there at once: messages may be sent to it, and its `initialize` runs before the first.
    ///
    /// It lives until it stops itself, is stopped, or crashes; then its slot is given out again, and its address is nobody's. On a GPU
    /// its value is copied into memory that is there from the start; nothing is allocated.
    ///
    /// # Errors
    /// [`KernelError::TooManyActors`] where the worker has no room for it, [`KernelError::WrongModule`] for a kernel of another module,
    /// and what the kernel's `validate` returns.
    #[track_caller]
    pub fn spawn<K: Exported>(&mut self, kernel: K) -> Result<Address<K>> {
        self.spawn_with_mailbox(kernel, SPAWNED_MAILBOX)
    }

    /// As [`spawn`](Self::spawn), with a mailbox of so many messages, at least 1.
    ///
    /// # Errors
    /// As for `spawn`.
    #[track_caller]
    pub fn spawn_with_mailbox<K: Exported>(&mut self, kernel: K, mailbox: u16) -> Result<Address<K>> {
        self.may_spawn(&kernel)?;
        let worker = self.worker;
        with_team!(self.team, |team, _F| {
            team.note(|| u64::from(K::KIND) | u64::from(mailbox) << 16);
            team.lead(|| {
                // SAFETY: only the leader is inside `lead`. The place has room for a kernel of the module, which is plain data.
                unsafe { (*worker).spawn(K::KIND, mailbox, |at| at.cast::<K>().write(core::ptr::read(&raw const kernel))) }
            })
        })
        .map(Address::new)
    }

    /// As [`spawn`](Self::spawn), on another worker (or this one): await the address. The kernel travels in a message, so it has at
    /// most 424 bytes; a larger one does not compile.
    ///
    /// # Errors
    /// As for `spawn`; also [`KernelError::Stopped`] where there is no such worker, and [`KernelError::Deadline`] where it does not
    /// answer within the runtime's `ask_limit`.
    #[track_caller]
    pub fn spawn_on<K: Exported>(&mut self, worker: u32, kernel: K) -> SpawnOn<'_, 'a, K> {
        const {
            assert!(
                size_of::<K>() <= MAX_PAYLOAD,
                "a kernel that is spawned on another worker holds at most 424 bytes: spawn it with a small value and send it the rest"
            )
        };
        SpawnOn { ctx: self, worker, kernel, until: 0, waiting: false, site: Site::caller() }
    }

    fn may_spawn<K: Exported>(&self, kernel: &K) -> Result<()> {
        if !core::ptr::eq(K::module(), self.worker().module) {
            return Err(KernelError::WrongModule);
        }
        kernel.validate()
    }

    /// This actor ends after this message: what waits for it comes back to its senders, or becomes a dead letter, and `shutdown` runs.
    #[track_caller]
    pub fn stop(&mut self) {
        self.lead(|worker, frame| worker.end_self(frame.actor));
    }

    /// Ends another actor (or this one, after this message). One that has ended has ended. The host gets to hear of its end, not the
    /// caller: see [`monitor`](Self::monitor).
    ///
    /// # Errors
    /// [`KernelError::Overloaded`] while the ring to its worker is full: nothing was done.
    #[track_caller]
    pub fn end(&mut self, actor: ActorId, how: How) -> Result<()> {
        let worker = self.worker;
        let what = End { slot: actor.slot, generation: actor.generation, how, for_good: false };
        let sent = with_team!(self.team, |team, F| {
            team.note(|| u64::from(actor.slot));
            // SAFETY: only the leader is inside `lead`.
            team.lead(|| unsafe { (*worker).send_end::<F>(actor, &what) })
        });
        if sent { Ok(()) } else { Err(KernelError::Overloaded) }
    }

    /// When `other` has ended, this actor gets one message [`Down`] with the reason; at once, if it has ended before. The host passes it on,
    /// so this is no way to hear of it within a microsecond. With its own end or restart an actor monitors nobody any more.
    ///
    /// # Errors
    /// [`KernelError::Overloaded`] while the ring to the host is full: nothing was done.
    #[track_caller]
    pub fn monitor<K: Handles<Down>>(&mut self, _this: &K, other: ActorId) -> Result<()> {
        let watcher = self.actor();
        self.notify(Notice::Monitor { watcher, watched: other, tag: K::TAG })
    }

    /// From here on this actor and `other` end together: when the one crashes or is killed, the other is killed. An actor that stops,
    /// or is told to, takes nobody with it. The host passes it on.
    ///
    /// # Errors
    /// As for [`monitor`](Self::monitor).
    #[track_caller]
    pub fn link(&mut self, other: ActorId) -> Result<()> {
        let actor = self.actor();
        self.notify(Notice::Link { actor, other })
    }

    #[track_caller]
    fn notify(&mut self, notice: Notice) -> Result<()> {
        let worker = self.worker;
        // SAFETY: only the leader is inside `lead`.
        let told = with_team!(self.team, |team, F| team.lead(|| unsafe { (*worker).notify::<F>(&notice) }));
        if told { Ok(()) } else { Err(KernelError::Overloaded) }
    }
}

/// An actor that is being spawned on another worker; await its address. Dropped before, the actor may be there, and nobody knows it.
#[must_use = "nothing is spawned until it is awaited"]
pub struct SpawnOn<'c, 'a, K> {
    ctx: &'c mut RingContext<'a>,
    worker: u32,
    kernel: K,
    /// When it stops waiting; 0 before the first poll.
    until: u64,
    waiting: bool,
    site: Site,
}

impl<K: Exported> SpawnOn<'_, '_, K> {
    fn send(&mut self) -> Sent {
        let (worker, frame, to) = (self.ctx.worker, self.ctx.frame, self.worker);
        let mut words = [0u64; MAX_WORDS];
        // SAFETY: a value, which is plain data: bytes, after its padding has become some; as many words as the largest payload has.
        unsafe {
            let kernel = (&raw mut self.kernel).cast::<u8>();
            K::clear_padding(kernel);
            core::ptr::copy_nonoverlapping(kernel, words.as_mut_ptr().cast(), size_of::<K>());
        }
        let lines = const { lines_for(size_of::<K>()) };
        let what = Spawning { kind: K::KIND, mailbox: SPAWNED_MAILBOX, lines: lines as u8, wake_at: self.until };
        let (first, rest) = words.split_at(FIRST_WORDS);
        let rest = &rest[..(lines - 1) * NEXT_WORDS];
        with_team!(self.ctx.team, |team, F| {
            team.note(|| u64::from(to));
            team.lead(|| {
                let parcel = Parcel { first: [first[0], first[1], first[2], first[3]], rest };
                // SAFETY: only the leader is inside `lead`.
                unsafe { (*worker).send_spawn::<F>(frame, to, &what, parcel) }
            })
        })
    }
}

impl<K: Exported> Future for SpawnOn<'_, '_, K> {
    type Output = Result<Address<K>>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: nothing in a SpawnOn is pinned by address.
        let this = unsafe { self.get_unchecked_mut() };
        this.ctx.at(this.site);
        if this.waiting {
            return poll_reply::<ActorId>(this.ctx, this.site).map(|id| {
                this.waiting = false;
                id.map(Address::new)
            });
        }
        if this.until == 0 {
            this.ctx.may_spawn(&this.kernel)?;
            let limit = this.ctx.worker().ask_limit;
            this.until = this.ctx.worker().now.saturating_add(limit).max(1);
            if this.worker == this.ctx.worker_index() {
                // SAFETY: plain data, and the copy here is not used again.
                let kernel = unsafe { core::ptr::read(&raw const this.kernel) };
                return Poll::Ready(this.ctx.spawn(kernel));
            }
        } else if this.ctx.frame().timed_out {
            return Poll::Ready(Err(KernelError::Deadline));
        }
        match this.send() {
            Sent::Yes => this.waiting = true,
            Sent::NoRoom => {
                let (peer, until) = (this.worker, this.until);
                this.ctx.at(this.site);
                this.ctx.lead(|_, frame| frame.wait_for_room(peer, until));
            }
            Sent::Refused(error) => return Poll::Ready(Err(error)),
        }
        Poll::Pending
    }
}

impl<K> Drop for SpawnOn<'_, '_, K> {
    fn drop(&mut self) {
        if self.waiting || self.until != 0 {
            // Nobody waits any more: neither for room, nor for the reply.
            self.ctx.at(self.site);
            self.ctx.lead(|_, frame| {
                frame.waiting = Waiting::Nothing;
                frame.asks = frame.asks.wrapping_add(1);
            });
        }
    }
}
