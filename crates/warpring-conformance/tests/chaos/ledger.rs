//! What really happened, written down where it happens: the simulator runs everything on the thread of its host, so handlers and the
//! script write into one book of that thread, and nothing has to be sent to know what was handled.

use std::cell::RefCell;

use warpring::{ActorId, DeadLetter};

/// How a message was sent. Messages of one way to one actor with one priority arrive in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Through a handle.
    Handle,
    /// Through the port with this number.
    Port(usize),
    /// By this actor.
    Actor(ActorId),
}

/// What the sender knows of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It was about to be sent, and the sender never came to say more: it was not sent.
    Sending,
    /// A tell that was accepted: a handler takes it to its end, or it is a dead letter.
    Told,
    /// It came back, or its ask was refused: no handler has begun.
    Returned,
    /// The handler answered, with a value or an error of its own.
    Answered,
    /// The handler began and fell: it panicked, or was dropped.
    Fell,
    /// An ask whose reply nobody waited for to its end: anything, once.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub struct Sent {
    pub way: Way,
    pub to: ActorId,
    pub high: bool,
    pub known: Known,
}

/// The state of a scribe, apart from how often it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub digest: u64,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `initialize` begins, with this state.
    Started { actor: ActorId, page: Page },
    /// `initialize` ends well.
    Ready { actor: ActorId },
    /// A handler begins, with this state.
    Began { actor: ActorId, number: u64, page: Page },
    /// It has come to its end, whatever it returns.
    Ended { number: u64 },
    /// It changes the state, and panics before it is done.
    Smudged { actor: ActorId },
    /// `shutdown` begins.
    ShutDown { actor: ActorId },
    /// The host has read the state.
    Read { actor: ActorId, page: Page },
}

#[derive(Default)]
pub struct Ledger {
    pub events: Vec<Event>,
    /// By number.
    pub sent: Vec<Sent>,
    pub letters: Vec<DeadLetter>,
    /// Actors in the order of their birth, those that handlers have spawned included.
    pub actors: Vec<ActorId>,
}

thread_local! {
    static LEDGER: RefCell<Ledger> = RefCell::default();
}

pub fn with<R>(f: impl FnOnce(&mut Ledger) -> R) -> R {
    LEDGER.with_borrow_mut(f)
}

/// The book so far; the next one is empty.
pub fn close() -> Ledger {
    LEDGER.take()
}

pub fn write(event: Event) {
    with(|ledger| ledger.events.push(event));
}

/// A message is about to be sent: its number.
pub fn send(way: Way, to: ActorId, high: bool) -> u64 {
    with(|ledger| {
        ledger.sent.push(Sent { way, to, high, known: Known::Sending });
        ledger.sent.len() as u64 - 1
    })
}

/// What has become of a message, as far as its sender knows.
pub fn know(number: u64, known: Known) {
    with(|ledger| ledger.sent[number as usize].known = known);
}

pub fn born(actor: ActorId) {
    with(|ledger| ledger.actors.push(actor));
}
