//! Where launched actors live: which slots of which worker are taken, and the memory of their values.

use std::collections::HashMap;
use std::ops::Range;

use warpring_core::ActorId;

use crate::error::LaunchError;
use crate::launch::rows;
use crate::memory::Block;

/// The generation of a slot's first tenant.
pub(crate) const GENERATION: u16 = 1;

/// The memory of an actor's value.
pub(crate) enum Place {
    Heap(Block),
    /// On the device.
    #[cfg(feature = "cuda")]
    Device {
        at: u64,
        bytes: u64,
    },
}

impl Place {
    /// Where it is, as the workers see it.
    pub(crate) fn address(&self) -> u64 {
        match self {
            Self::Heap(block) => block.address(),
            #[cfg(feature = "cuda")]
            Self::Device { at, .. } => *at,
        }
    }
}

/// How many actors have been launched, and where the next ones go.
pub(crate) struct Slots {
    /// Of each worker, the first slot of those that were never used.
    next: Vec<u32>,
    /// Slots of each worker below that which were never used either: a group has passed them over.
    passed: Vec<Vec<Range<u32>>>,
    /// Slots of each worker whose tenants have ended, with the generation of the next one.
    free: Vec<Vec<(u32, u16)>>,
    turn: u32,
    limit: u32,
    pub(crate) launched: u64,
    pub(crate) ended: u64,
    /// Of actors that were launched one by one.
    places: HashMap<ActorId, Place>,
}

impl Slots {
    pub(crate) fn new(workers: u32, limit: u32) -> Self {
        Self {
            next: vec![0; workers as usize],
            passed: vec![Vec::new(); workers as usize],
            free: vec![Vec::new(); workers as usize],
            turn: 0,
            limit,
            launched: 0,
            ended: 0,
            places: HashMap::new(),
        }
    }

    fn full(&self, wanted: u64) -> LaunchError {
        LaunchError::TooManyActors { wanted, limit: u64::from(self.limit) * self.next.len() as u64 }
    }

    /// A slot for one actor, on this worker or on the next in turn that has room.
    pub(crate) fn take(&mut self, worker: Option<u32>) -> Result<ActorId, LaunchError> {
        let workers = self.next.len() as u32;
        let found = match worker {
            Some(worker) => self.take_on(worker),
            None => (0..workers).find_map(|further| self.take_on((self.turn + further) % workers)),
        };
        let id = found.ok_or_else(|| self.full(self.launched - self.ended + 1))?;
        if worker.is_none() {
            self.turn = u32::from(id.worker) + 1;
        }
        self.launched += 1;
        Ok(id)
    }

    fn take_on(&mut self, worker: u32) -> Option<ActorId> {
        let at = worker as usize;
        let id = |slot, generation| ActorId { slot, generation, worker: worker as u16 };
        if let Some((slot, generation)) = self.free[at].pop() {
            return Some(id(slot, generation));
        }
        while let Some(passed) = self.passed[at].last_mut() {
            match passed.next() {
                Some(slot) => return Some(id(slot, GENERATION)),
                None => drop(self.passed[at].pop()),
            }
        }
        let slot = self.next[at];
        (slot < self.limit).then(|| {
            self.next[at] += 1;
            id(slot, GENERATION)
        })
    }

    /// The same slots on every worker for `count` actors, at most `most` on each, so that an index is enough to find one: the first slot.
    pub(crate) fn take_rows(&mut self, most: u32, count: u32) -> Result<u32, LaunchError> {
        let workers = self.next.len() as u32;
        let base = self.next.iter().copied().max().unwrap_or(0);
        if u64::from(base) + u64::from(most) > u64::from(self.limit) {
            return Err(self.full(u64::from(base) * u64::from(workers) + u64::from(count)));
        }
        for (worker, next) in self.next.iter_mut().enumerate() {
            // What a worker with fewer actors passes over is there for others.
            self.passed[worker].extend((*next < base).then_some(*next..base));
            *next = base + rows(count, workers, worker as u32);
        }
        self.launched += u64::from(count);
        Ok(base)
    }

    /// All slots up to these ends and beyond the last of a worker that handlers had spawned into, of a runtime in which nobody was
    /// launched; else says how many were.
    pub(crate) fn restore(&mut self, ends: &[u32], last: u32, launched: u64) -> Result<Result<(), u64>, LaunchError> {
        if self.launched > 0 {
            return Ok(Err(self.launched));
        }
        let most = ends.iter().copied().max().unwrap_or(0).max(last);
        if most > self.limit {
            return Err(self.full(u64::from(most) * self.next.len() as u64));
        }
        self.next.copy_from_slice(ends);
        self.launched = launched;
        Ok(Ok(()))
    }

    /// Keeps the memory of an actor's value until it has ended.
    pub(crate) fn keep(&mut self, actor: ActorId, place: Place) {
        self.places.insert(actor, place);
    }

    /// The actor has ended, or never began: its slot has a next tenant. Gives its memory, if that is its own.
    pub(crate) fn give_back(&mut self, actor: ActorId) -> Option<Place> {
        let worker = usize::from(actor.worker);
        if self.next.get(worker).is_none_or(|next| actor.slot >= *next) {
            // A handler spawned it: the slot is the worker's to give out.
            return None;
        }
        self.ended += 1;
        // After the last generation nobody comes: a stale handle never reaches another actor.
        if actor.generation < u16::MAX {
            self.free[worker].push((actor.slot, actor.generation + 1));
        }
        self.places.remove(&actor)
    }

    /// Bytes of the values that are kept one by one.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |place: &Place| match place {
            Place::Heap(block) => block.bytes() as u64,
            #[cfg(feature = "cuda")]
            Place::Device { .. } => 0,
        };
        self.places.values().map(bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_another_generation_for_each_tenant() {
        let mut slots = Slots::new(2, 2);
        let first = slots.take(None).expect("room");
        let second = slots.take(None).expect("room");
        assert_eq!((first.worker, second.worker), (0, 1));
        assert!(slots.give_back(first).is_none());
        let third = slots.take(Some(0)).expect("room");
        assert_eq!((third.slot, third.generation), (first.slot, first.generation + 1));
        assert!(slots.take(Some(0)).is_ok());
        let full = slots.take(Some(0));
        assert_eq!(full, Err(LaunchError::TooManyActors { wanted: 4, limit: 4 }));
    }

    #[test]
    fn one_full_worker_is_passed_over() {
        let mut slots = Slots::new(3, 2);
        for _ in 0..2 {
            slots.take(Some(0)).expect("room");
        }
        let workers: Vec<_> = (0..4).map(|_| slots.take(None).expect("two workers have room").worker).collect();
        assert_eq!(workers, [1, 2, 1, 2]);
        assert_eq!(slots.take(None), Err(LaunchError::TooManyActors { wanted: 7, limit: 6 }));
    }

    #[test]
    fn what_a_group_passes_over_is_used() {
        let mut slots = Slots::new(2, 4);
        for _ in 0..2 {
            slots.take(Some(0)).expect("room");
        }
        // Slot 2 of both workers, and slot 3 of the first.
        assert_eq!(slots.take_rows(2, 3), Ok(2));
        let rest: Vec<_> =
            (0..3).map(|_| slots.take(None).expect("the second worker has room")).map(|id| (id.worker, id.slot)).collect();
        assert_eq!(rest, [(1, 0), (1, 1), (1, 3)]);
        assert!(slots.take(None).is_err());
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_given_up() {
        let mut slots = Slots::new(1, 1);
        let mut tenants = 0u32;
        while let Ok(id) = slots.take(None) {
            tenants += 1;
            slots.give_back(id);
        }
        assert_eq!(tenants, u32::from(u16::MAX));
    }

    #[test]
    fn what_a_handler_spawned_is_not_the_hosts() {
        let mut slots = Slots::new(1, 8);
        let spawned = ActorId { slot: 7, generation: 1, worker: 0 };
        assert!(slots.give_back(spawned).is_none());
        assert_eq!(slots.ended, 0);
    }
}
