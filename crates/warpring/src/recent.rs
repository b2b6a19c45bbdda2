//! A bounded map of what was last known of actors: the oldest entry makes room for the newest.

use std::collections::{HashMap, VecDeque};

use warpring_core::ActorId;

/// Entries that are kept.
const KEPT: usize = 1024;

pub(crate) struct Recent<V> {
    values: HashMap<ActorId, V>,
    order: VecDeque<ActorId>,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self { values: HashMap::new(), order: VecDeque::new() }
    }
}

impl<V> Recent<V> {
    pub(crate) fn insert(&mut self, actor: ActorId, value: V) {
        if self.values.insert(actor, value).is_some() {
            return;
        }
        if self.order.len() == KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
        self.order.push_back(actor);
    }

    pub(crate) fn get(&self, actor: &ActorId) -> Option<&V> {
        self.values.get(actor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let mut recent = Recent::default();
        let id = |slot| ActorId { slot, generation: 1, worker: 0 };
        for slot in 0..3 * KEPT as u32 {
            recent.insert(id(slot), slot);
            recent.insert(id(slot), slot + 1);
        }
        let last = 3 * KEPT as u32 - 1;
        assert_eq!((recent.get(&id(last)), recent.get(&id(0))), (Some(&(last + 1)), None));
        assert_eq!((recent.values.len(), recent.order.len()), (KEPT, KEPT));
    }
}
