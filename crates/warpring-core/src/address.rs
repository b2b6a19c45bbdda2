//! Names of actors: plain numbers, so that they can be sent in messages and kept in state.

use core::fmt;
use core::marker::PhantomData;

use crate::layout;
use crate::message::{Malformed, RingMessage};
use crate::resident::State;

/// Where an actor is: worker, slot, and the slot's generation, so that a stale id never reaches another actor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct ActorId {
    /// Slot on its worker.
    pub slot: u32,
    /// Generation of the slot; 0 is no actor's.
    pub generation: u16,
    /// Worker.
    pub worker: u16,
}

impl ActorId {
    /// All three as one word, the slot lowest: what messages, letters and files carry.
    #[inline(always)]
    pub const fn to_bits(self) -> u64 {
        self.slot as u64 | (self.generation as u64) << 32 | (self.worker as u64) << 48
    }
    /// The id of such a word; every word is one.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        Self { slot: bits as u32, generation: (bits >> 32) as u16, worker: (bits >> 48) as u16 }
    }
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}.{}", self.worker, self.slot, self.generation)
    }
}

// SAFETY: three integers in C layout without padding.
unsafe impl State for ActorId {
    const FINGERPRINT: u64 = layout::mix_bytes(layout::EMPTY, b"ActorId 4 2 2");
}

impl RingMessage for ActorId {
    const SIZE: usize = 8;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = <Self as State>::FINGERPRINT;
    #[inline(always)]
    fn encode(&self, out: &mut [u8]) {
        self.to_bits().encode(out)
    }
    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        u64::decode(bytes).map(Self::from_bits)
    }
}

/// The id of an actor of type `K`, as handlers use it: eight bytes that may be sent and stored.
#[repr(transparent)]
pub struct Address<K> {
    id: ActorId,
    kernel: PhantomData<fn() -> K>,
}

impl<K> Address<K> {
    /// Says that the actor is a `K`. A wrong claim makes every message to it fail as malformed; nothing worse.
    pub const fn new(id: ActorId) -> Self {
        Self { id, kernel: PhantomData }
    }
    /// The untyped id.
    pub const fn id(self) -> ActorId {
        self.id
    }
}

/// The actors of one group launch, by index: sixteen bytes that may be sent and stored.
#[repr(C)]
pub struct GroupAddress<K> {
    base: u32,
    count: u32,
    workers: u32,
    generation: u32,
    kernel: PhantomData<fn() -> K>,
}

impl<K> GroupAddress<K> {
    /// Actors `0..count`, dealt out over the workers in turn, from slot `base` on each.
    pub const fn new(base: u32, count: u32, workers: u16, generation: u16) -> Self {
        Self { base, count, workers: workers as u32, generation: generation as u32, kernel: PhantomData }
    }
    /// How many there are.
    pub const fn len(self) -> u32 {
        self.count
    }
    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.count == 0
    }
    /// Number `index`, or `None` beyond the end.
    #[inline(always)]
    pub const fn get(self, index: u32) -> Option<Address<K>> {
        if index >= self.count || self.workers == 0 {
            return None;
        }
        // Groups of one worker are the common case on small machines, and a division costs ten times a compare.
        let (worker, row) = if self.workers == 1 { (0, index) } else { (index % self.workers, index / self.workers) };
        Some(Address::new(ActorId {
            slot: self.base.wrapping_add(row),
            generation: self.generation as u16,
            worker: worker as u16,
        }))
    }
}

macro_rules! plain_name {
    ($t:ident, $words:expr, |$v:ident| $to:expr, |$w:ident| $from:expr) => {
        impl<K> Clone for $t<K> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<K> Copy for $t<K> {}
        // SAFETY: integers in C layout without padding; the type parameter is a PhantomData.
        unsafe impl<K: 'static> State for $t<K> {
            const FINGERPRINT: u64 = layout::mix_bytes(layout::EMPTY, stringify!($t).as_bytes());
        }
        impl<K: 'static> RingMessage for $t<K> {
            const SIZE: usize = $words * 8;
            const ALIGN: usize = 8;
            const FINGERPRINT: u64 = <Self as State>::FINGERPRINT;
            #[inline(always)]
            fn encode(&self, out: &mut [u8]) {
                let $v = self;
                $to.encode(out)
            }
            #[inline(always)]
            fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
                let $w = <[u64; $words]>::decode(bytes)?;
                Ok($from)
            }
        }
    };
}
plain_name!(Address, 1, |a| [a.id.to_bits()], |w| Self::new(ActorId::from_bits(w[0])));
plain_name!(
    GroupAddress,
    2,
    |g| [u64::from(g.base) | u64::from(g.count) << 32, u64::from(g.workers) | u64::from(g.generation) << 32],
    |w| Self {
        base: w[0] as u32,
        count: (w[0] >> 32) as u32,
        workers: w[1] as u32,
        generation: (w[1] >> 32) as u32,
        kernel: PhantomData
    }
);

impl<K> PartialEq for Address<K> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}
impl<K> Eq for Address<K> {}
impl<K> fmt::Debug for Address<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.id)
    }
}
impl<K> fmt::Debug for GroupAddress<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupAddress({} actors)", self.count)
    }
}
impl<K> Default for Address<K> {
    /// No actor: every message to it fails with [`KernelError::Stopped`](crate::KernelError::Stopped).
    fn default() -> Self {
        Self::new(ActorId { slot: 0, generation: 0, worker: 0 })
    }
}
impl<K> Default for GroupAddress<K> {
    /// An empty group.
    fn default() -> Self {
        Self::new(0, 0, 0, 0)
    }
}
