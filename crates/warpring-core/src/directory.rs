//! What a worker knows of names and topics: its own copy of the directory that the host keeps. Handlers look things up here, in
//! plain memory of their worker.
//!
//! | memory | writer | readers |
//! |---|---|---|
//! | names, topics, subscribers | the leader, when a [`Change`] of the host comes, between two steps of handlers | all lanes, between collectives |
//! | the counts of a topic | the leader, inside `lead` or between two steps | the leader |
//!
//! A table of names is open addressing with linear probing (Knuth, volume 3, 6.4, algorithms L and R): at most half full, and
//! without marks of what was removed, so that a lookup stays short whatever has come and gone.

use core::ptr;

use crate::address::ActorId;
use crate::layout::round_up;
use crate::message::{Malformed, RingMessage};
use crate::name::Name;

/// How much a directory holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DirectorySize {
    /// Names of actors.
    pub names: u32,
    /// Topics.
    pub topics: u32,
    /// Subscribers of each topic.
    pub subscribers: u32,
}

/// A name in a table, and what it stands for.
#[derive(Clone, Copy, Default)]
#[repr(C)]
struct Entry {
    /// 0: a free place.
    name: u64,
    /// The actor's kind; of a topic, its number.
    what: u64,
    /// The actor's id; of a topic, the type of its messages.
    of: u64,
}

/// A topic: what was published on it by this worker, and lost here.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Topic {
    subscribers: u32,
    /// Messages that handlers of this worker published.
    pub(crate) published: u64,
    /// Messages that this worker could not give to a subscriber.
    pub(crate) lost: u64,
}

/// An actor that a topic's messages go to, and its handler for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// The actor.
    pub actor: ActorId,
    /// Number of the handler in the module.
    pub tag: u16,
}

impl Subscriber {
    /// The order of a topic's subscribers: those of one worker side by side.
    pub const fn rank(&self) -> u64 {
        (self.actor.worker as u64) << 48 | (self.actor.slot as u64) << 16 | self.actor.generation as u64
    }
}

/// A subscriber as it lies in a directory: id and handler, a word each, which move as words. (LLVM would move structs of a list byte by
/// byte on the GPU.)
type Seat = [u64; 2];

/// The type of a topic's messages, as a number.
pub const fn message_type<M: RingMessage>() -> u64 {
    crate::layout::mix(M::FINGERPRINT, M::SIZE as u64)
}

/// A change of the directory, as the host tells it to each worker. Said twice it changes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The name stands for this actor from now on.
    Register {
        /// The name.
        name: Name,
        /// The actor.
        actor: ActorId,
        /// Its kind.
        kind: u16,
    },
    /// The name stands for nobody any more.
    Unregister {
        /// The name.
        name: Name,
    },
    /// There is a topic.
    Open {
        /// Its name.
        name: Name,
        /// Its number.
        topic: u32,
        /// The [`message_type`].
        message: u64,
    },
    /// The topic's messages go to this actor too.
    Subscribe {
        /// The topic.
        topic: u32,
        /// Who, and its handler.
        who: Subscriber,
    },
    /// The topic's messages do not go to this actor any more.
    Unsubscribe {
        /// The topic.
        topic: u32,
        /// The actor.
        actor: ActorId,
    },
}

impl RingMessage for Change {
    const SIZE: usize = 32;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 32;
    fn encode(&self, out: &mut [u8]) {
        let words = |op: u64, small: u16, topic: u32, name: u64, actor: u64, message: u64| {
            [op | u64::from(small) << 16 | u64::from(topic) << 32, name, actor, message]
        };
        match *self {
            Self::Register { name, actor, kind } => words(1, kind, 0, name.number(), actor.to_bits(), 0),
            Self::Unregister { name } => words(2, 0, 0, name.number(), 0, 0),
            Self::Open { name, topic, message } => words(3, 0, topic, name.number(), 0, message),
            Self::Subscribe { topic, who } => words(4, who.tag, topic, 0, who.actor.to_bits(), 0),
            Self::Unsubscribe { topic, actor } => words(5, 0, topic, 0, actor.to_bits(), 0),
        }
        .encode(out)
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let w = <[u64; 4]>::decode(bytes)?;
        let (small, topic, actor) = ((w[0] >> 16) as u16, (w[0] >> 32) as u32, ActorId::from_bits(w[2]));
        let name = Name::decode(&w[1].to_le_bytes())?;
        Ok(match w[0] as u16 {
            1 => Self::Register { name, actor, kind: small },
            2 => Self::Unregister { name },
            3 => Self::Open { name, topic, message: w[3] },
            4 => Self::Subscribe { topic, who: Subscriber { actor, tag: small } },
            5 => Self::Unsubscribe { topic, actor },
            _ => return Err(Malformed),
        })
    }
}

/// Places of a table for so many names: a power of two, at least twice as many.
const fn places(names: u32) -> u32 {
    (2 * names).next_power_of_two()
}

/// The place where the search for a name begins (Fibonacci hashing). `places` is a power of two.
#[inline(always)]
fn home(name: u64, places: usize) -> usize {
    (name.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & places.wrapping_sub(1)
}

/// Where a name is, or else the free place where it would be put; `None`: it is not there, and no place is free.
#[inline]
fn seek(table: &[Entry], name: u64) -> Option<usize> {
    let mut at = home(name, table.len());
    for _ in 0..table.len() {
        let entry = table.get(at)?;
        if entry.name == name || entry.name == 0 {
            return Some(at);
        }
        at = (at + 1) & (table.len() - 1);
    }
    None
}

#[inline]
fn find(table: &[Entry], name: u64) -> Option<&Entry> {
    table.get(seek(table, name)?).filter(|entry| entry.name != 0)
}

/// Puts an entry in, over one of the same name. False: the table is full.
fn put(table: &mut [Entry], entry: Entry) -> bool {
    let place = seek(table, entry.name).and_then(|at| table.get_mut(at));
    place.map(|place| *place = entry).is_some()
}

/// Takes a name out, and moves up what would not be found any more.
fn take_out(table: &mut [Entry], name: u64) {
    let places = table.len();
    let Some(mut hole) = seek(table, name) else { return };
    let mut at = hole;
    for _ in 1..places {
        at = (at + 1) & (places - 1);
        let Some(entry) = table.get(at).copied().filter(|entry| entry.name != 0) else { break };
        // It may go to the hole unless its search begins behind the hole.
        if at.wrapping_sub(home(entry.name, places)) & (places - 1) >= at.wrapping_sub(hole) & (places - 1) {
            table[hole] = entry;
            hole = at;
        }
    }
    table[hole] = Entry::default();
}

/// A worker's directory: where its parts are.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Directory {
    at: *mut u8,
    size: DirectorySize,
}

impl DirectorySize {
    /// Where the parts begin: names of actors, names of topics, topics, subscribers, and the end.
    const fn parts(&self) -> [usize; 5] {
        let names = places(self.names) as usize * size_of::<Entry>();
        let topics = names + places(self.topics) as usize * size_of::<Entry>();
        let subscribers = topics + self.topics as usize * size_of::<Topic>();
        let end = subscribers + self.topics as usize * self.subscribers as usize * size_of::<Seat>();
        [0, names, topics, subscribers, round_up(end, 64)]
    }

    /// Bytes of a worker's directory.
    pub const fn bytes(&self) -> u64 {
        self.parts()[4] as u64
    }
}

impl Directory {
    /// A directory in which nothing is found and nothing has room.
    pub const NONE: Self = Self { at: ptr::null_mut(), size: DirectorySize { names: 0, topics: 0, subscribers: 0 } };

    /// # Safety
    /// `at` points to [`DirectorySize::bytes`] zeroed bytes, aligned to 8, that are the directory's for good.
    pub unsafe fn new(at: *mut u8, size: DirectorySize) -> Self {
        Self { at, size }
    }

    fn part<T>(&self, part: usize) -> *mut T {
        self.at.wrapping_add(self.size.parts()[part]).cast()
    }

    fn table(&self, part: usize, names: u32) -> &[Entry] {
        if self.at.is_null() {
            return &[];
        }
        // SAFETY: `new` was promised the memory; only `apply` changes it, which has the directory to itself.
        unsafe { core::slice::from_raw_parts(self.part(part), places(names) as usize) }
    }

    fn table_mut(&mut self, part: usize, names: u32) -> &mut [Entry] {
        if self.at.is_null() {
            return &mut [];
        }
        // SAFETY: as for `table`; the caller has the directory to itself.
        unsafe { core::slice::from_raw_parts_mut(self.part(part), places(names) as usize) }
    }

    /// The actor of this kind with this name.
    #[inline]
    pub(crate) fn actor(&self, name: Name, kind: u16) -> Option<ActorId> {
        let entry = find(self.table(0, self.size.names), name.number())?;
        (entry.what == u64::from(kind)).then(|| ActorId::from_bits(entry.of))
    }

    /// The topic with this name, and the type of its messages.
    pub(crate) fn topic(&self, name: Name) -> Option<(u32, u64)> {
        find(self.table(1, self.size.topics), name.number()).map(|entry| (entry.what as u32, entry.of))
    }

    /// A topic's counts.
    pub(crate) fn counts(&mut self, topic: u32) -> Option<&mut Topic> {
        // SAFETY: there are as many topics (`new`), and the caller has the directory to itself.
        (topic < self.size.topics).then(|| unsafe { &mut *self.part::<Topic>(2).add(topic as usize) })
    }

    /// Subscriber `index` of a topic, in the order of [`Subscriber::rank`]; `None` behind the last.
    #[inline]
    pub(crate) fn subscriber(&self, topic: u32, index: u32) -> Option<Subscriber> {
        if topic >= self.size.topics {
            return None;
        }
        // SAFETY: there are as many topics, and `size.subscribers` seats for each, of which a topic counts those in use.
        unsafe {
            let count = (*self.part::<Topic>(2).add(topic as usize)).subscribers;
            (index < count).then(|| {
                let [actor, tag] = *self.seat(topic, index);
                Subscriber { actor: ActorId::from_bits(actor), tag: tag as u16 }
            })
        }
    }

    fn seat(&self, topic: u32, index: u32) -> *mut Seat {
        self.part::<Seat>(3).wrapping_add(topic as usize * self.size.subscribers as usize + index as usize)
    }

    /// The first subscriber of a topic whose rank is not below this one's.
    fn first_from(&self, topic: u32, rank: u64) -> u32 {
        let mut index = 0;
        while self.subscriber(topic, index).is_some_and(|other| other.rank() < rank) {
            index += 1;
        }
        index
    }

    /// Carries a change out. False: there is no room for it, or no such topic.
    pub(crate) fn apply(&mut self, change: &Change) -> bool {
        let size = self.size;
        match *change {
            Change::Register { name, actor, kind } => {
                put(self.table_mut(0, size.names), Entry { name: name.number(), what: kind.into(), of: actor.to_bits() })
            }
            Change::Unregister { name } => {
                take_out(self.table_mut(0, size.names), name.number());
                true
            }
            Change::Open { name, topic, message } => {
                topic < size.topics
                    && put(self.table_mut(1, size.topics), Entry { name: name.number(), what: topic.into(), of: message })
            }
            Change::Subscribe { topic, who } => self.subscribe(topic, who),
            Change::Unsubscribe { topic, actor } => self.unsubscribe(topic, actor),
        }
    }

    fn subscribe(&mut self, topic: u32, who: Subscriber) -> bool {
        let at = self.first_from(topic, who.rank());
        if self.subscriber(topic, at).is_some_and(|other| other.actor == who.actor) {
            return true;
        }
        let most = self.size.subscribers;
        let Some(counts) = self.counts(topic).filter(|counts| counts.subscribers < most) else { return false };
        let end = counts.subscribers;
        counts.subscribers += 1;
        // SAFETY: the seat behind the last is free, so all from `at` on can move up by one.
        unsafe {
            for index in (at..end).rev() {
                self.move_seat(topic, index, index + 1);
            }
            self.seat(topic, at).write([who.actor.to_bits(), who.tag.into()]);
        }
        true
    }

    fn unsubscribe(&mut self, topic: u32, actor: ActorId) -> bool {
        let at = self.first_from(topic, Subscriber { actor, tag: 0 }.rank());
        if self.subscriber(topic, at).is_none_or(|other| other.actor != actor) {
            return topic < self.size.topics;
        }
        let Some(counts) = self.counts(topic) else { return false };
        counts.subscribers -= 1;
        let end = counts.subscribers;
        for index in at..end {
            // SAFETY: there was one more subscriber than `end`.
            unsafe { self.move_seat(topic, index + 1, index) }
        }
        true
    }

    /// # Safety
    /// Both seats are the topic's.
    unsafe fn move_seat(&mut self, topic: u32, from: u32, to: u32) {
        let (from, to) = (self.seat(topic, from).cast::<u64>(), self.seat(topic, to).cast::<u64>());
        // SAFETY: contract; a seat is two words. Volatile, or LLVM makes one copy of bytes out of a loop of these.
        unsafe {
            to.write_volatile(from.read_volatile());
            to.add(1).write_volatile(from.add(1).read_volatile());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
