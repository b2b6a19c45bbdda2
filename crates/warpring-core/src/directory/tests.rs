//! The tables against models of the standard library, also when every place is taken.

use std::collections::{BTreeMap, HashMap};
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Names whose searches begin at few places of a table, so that they get in each other's way.
fn crowded(places: usize) -> Vec<u64> {
    (1..).filter(|name| home(*name, places) < 3 || home(*name, places) == places - 1).take(2 * places).collect()
}

fn entry(name: u64, what: u64) -> Entry {
    Entry { name, what, of: !what }
}

/// Every name of the model is found, with its value, and no other.
fn agrees(table: &[Entry], model: &HashMap<u64, u64>, names: &[u64]) {
    for name in names {
        let found = find(table, *name).map(|entry| (entry.what, entry.of));
        assert_eq!(found, model.get(name).map(|what| (*what, !what)), "name {name}");
    }
    assert_eq!(table.iter().filter(|entry| entry.name != 0).count(), model.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, ..ProptestConfig::default() })]

    #[test]
    fn a_table_does_what_a_map_does(log in 0u32..6, acts in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200)) {
        let places = 1usize << log;
        let names = crowded(places);
        let (mut table, mut model) = (vec![Entry::default(); places], HashMap::new());
        for (number, (puts, which)) in acts.iter().enumerate() {
            let name = *which.get(&names);
            if *puts {
                let fits = model.len() < places || model.contains_key(&name);
                prop_assert_eq!(put(&mut table, entry(name, number as u64)), fits);
                if fits {
                    model.insert(name, number as u64);
                }
            } else {
                take_out(&mut table, name);
                model.remove(&name);
            }
            agrees(&table, &model, &names);
        }
    }

    #[test]
    fn subscribers_are_what_a_sorted_map_holds(acts in prop::collection::vec((any::<bool>(), 0u32..4, 0u16..3, 1u16..3), 0..120)) {
        const MOST: u32 = 6;
        let size = DirectorySize { names: 1, topics: 2, subscribers: MOST };
        let mut memory = vec![0u64; size.bytes() as usize / 8];
        // SAFETY: as many zeroed bytes as it wants, which live as long.
        let mut directory = unsafe { Directory::new(memory.as_mut_ptr().cast(), size) };
        let mut model: BTreeMap<u64, Subscriber> = BTreeMap::new();
        for (joins, slot, worker, generation) in acts {
            let who = Subscriber { actor: ActorId { slot, generation, worker }, tag: slot as u16 };
            if joins {
                let fits = model.len() < MOST as usize || model.contains_key(&who.rank());
                prop_assert_eq!(directory.apply(&Change::Subscribe { topic: 1, who }), fits);
                if fits {
                    model.insert(who.rank(), who);
                }
            } else {
                prop_assert_eq!(directory.apply(&Change::Unsubscribe { topic: 1, actor: who.actor }), true);
                model.remove(&who.rank());
            }
            let listed: Vec<_> = (0..).map_while(|index| directory.subscriber(1, index)).collect();
            prop_assert_eq!(&listed, &model.values().copied().collect::<Vec<_>>());
            // The other topic is another's memory.
            prop_assert_eq!(directory.subscriber(0, 0), None);
        }
    }
}

#[test]
fn a_full_table_finds_and_forgets_every_name() {
    for log in 0..8 {
        let places = 1usize << log;
        let names = crowded(places);
        let (there, others) = names.split_at(places);
        let (mut table, mut model) = (vec![Entry::default(); places], HashMap::new());
        for (what, name) in (0..).zip(there) {
            assert!(put(&mut table, entry(*name, what)));
            model.insert(*name, what);
        }
        assert!(!put(&mut table, entry(others[0], 0)), "no place is free");
        agrees(&table, &model, &names);
        for name in there {
            take_out(&mut table, *name);
            model.remove(name);
            agrees(&table, &model, &names);
        }
    }
}

#[test]
fn names_and_topics_are_apart_and_limits_hold() {
    let size = DirectorySize { names: 2, topics: 1, subscribers: 1 };
    let mut memory = vec![0u64; size.bytes() as usize / 8];
    // SAFETY: as many zeroed bytes as it wants, which live as long.
    let mut directory = unsafe { Directory::new(memory.as_mut_ptr().cast(), size) };
    let (name, actor) = (Name::new("both"), ActorId { slot: 3, generation: 1, worker: 2 });
    assert!(directory.apply(&Change::Register { name, actor, kind: 7 }));
    assert_eq!(directory.topic(name), None);
    assert!(directory.apply(&Change::Open { name, topic: 0, message: 99 }));
    assert_eq!((directory.actor(name, 7), directory.actor(name, 6)), (Some(actor), None));
    assert_eq!(directory.topic(name), Some((0, 99)));
    assert!(directory.apply(&Change::Unregister { name }));
    assert_eq!((directory.actor(name, 7), directory.topic(name)), (None, Some((0, 99))));
    let who = Subscriber { actor, tag: 1 };
    for change in [Change::Open { name, topic: 1, message: 1 }, Change::Subscribe { topic: 1, who }] {
        assert!(!directory.apply(&change), "there is no topic 1: {change:?}");
    }
    assert!(!directory.apply(&Change::Unsubscribe { topic: 1, actor }));
    let mut none = Directory::NONE;
    assert!(!none.apply(&Change::Register { name, actor, kind: 7 }));
    assert_eq!((none.actor(name, 7), none.topic(name), none.subscriber(0, 0)), (None, None, None));
}

#[test]
fn changes_come_back_from_their_bytes() {
    let (name, actor) = (Name::new("n"), ActorId { slot: u32::MAX - 1, generation: u16::MAX, worker: 511 });
    let changes = [
        Change::Register { name, actor, kind: u16::MAX },
        Change::Unregister { name },
        Change::Open { name, topic: u32::MAX, message: u64::MAX },
        Change::Subscribe { topic: 7, who: Subscriber { actor, tag: u16::MAX } },
        Change::Unsubscribe { topic: 7, actor },
    ];
    for change in changes {
        let mut bytes = [0; Change::SIZE];
        change.encode(&mut bytes);
        assert_eq!(Change::decode(&bytes), Ok(change));
    }
    assert_eq!(Change::decode(&[0; Change::SIZE]), Err(Malformed));
}
