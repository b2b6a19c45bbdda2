//! What the host's truth refuses, and a change that nobody waits for.

use std::future::Future;
use std::task::{Context, Waker};

use super::*;
use crate::block_on;
use crate::prelude::*;

/// Finds the actor with this name, by its slot; `u32::MAX` if there is none.
#[derive(Clone, Copy, Debug, RingMessage)]
struct Find {
    name: Name,
}

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/finder")]
struct Finder;

impl RingKernelHandler<Find, u32> for Finder {
    async fn handle(&self, ctx: &mut RingContext<'_>, find: Find) -> Result<u32> {
        Ok(ctx.lookup::<Finder>(find.name).map_or(u32::MAX, |found| found.id().slot))
    }
}

crate::export! {
    crate = crate;
    Finder { Find => u32 }
}

fn of(text: &str, slot: u32) -> Registered {
    Registered { text: text.into(), actor: ActorId { slot, generation: 1, worker: 0 }, kind: 0, kernel: "test/kernel" }
}

#[test]
fn two_texts_with_one_number_are_refused_by_both_names() {
    let directory = Directory::new(DirectorySize { names: 4, topics: 1, subscribers: 1 });
    directory.register(of("first", 1)).expect("room");
    // No two names with one number are known: the second is given the number of the first.
    let clash = directory.register_as(Name::new("first"), of("second", 2));
    assert_eq!(clash, Err(RegistryError::SameNumber { name: "second".into(), other: "first".into() }));
    assert_eq!(directory.lookup("first").map(|found| found.actor.slot), Some(1));
    assert!(directory.lookup("second").is_none() && directory.unregister("second").is_none());
}

#[test]
fn a_name_that_was_given_back_makes_room() {
    let directory = Directory::new(DirectorySize { names: 1, topics: 1, subscribers: 1 });
    assert_eq!(directory.register(of("a", 1)), Ok(1));
    assert_eq!(directory.register(of("a", 2)), Err(RegistryError::Taken { name: "a".into(), by: of("a", 1).actor }));
    assert_eq!(directory.register(of("b", 2)), Err(RegistryError::Full { limit: 1 }));
    assert_eq!(directory.unregister("a"), Some(2));
    assert_eq!(directory.unregister("a"), None);
    assert_eq!(directory.register(of("b", 2)), Ok(3));
}

fn finders() -> (Runtime, [ActorRef<Finder>; 2]) {
    let runtime = Runtime::builder().module(&MODULE).backend(Backend::Cpu).workers(2).pin(false).build().expect("two workers");
    let finder = |worker| block_on(runtime.launch(Finder, LaunchOptions::default().on_worker(worker))).expect("room");
    let finders = [finder(0), finder(1)];
    (runtime, finders)
}

fn find(finder: &ActorRef<Finder>, name: &str) -> u32 {
    finder.ask(Find { name: Name::new(name) }).wait().expect("an answer")
}

#[test]
fn a_change_that_was_given_up_is_told_with_the_next() {
    let (runtime, finders) = finders();
    {
        let mut given_up = Box::pin(runtime.register("first", &finders[0]));
        let _ = given_up.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }
    block_on(runtime.register("second", &finders[1])).expect("room");
    for finder in &finders {
        assert_eq!([find(finder, "first"), find(finder, "second")], [0, 0]);
    }
    assert_eq!(runtime.names().len(), 2);
    block_on(runtime.shutdown()).expect("a clean end");
}

#[test]
fn who_waits_for_its_turn_is_woken_once_however_often_it_looks() {
    let (runtime, finders) = finders();
    let directory = &runtime.shared().directory;
    directory.telling.store(true, Ordering::SeqCst);
    {
        let mut waits = Box::pin(runtime.register("first", &finders[0]));
        // First it hears from the worker that the actor is there.
        while directory.waiting().is_empty() {
            let _ = waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        for _ in 0..100 {
            let _ = waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        assert_eq!(directory.waiting().len(), 1);
    }
    drop(Telling(directory));
    block_on(runtime.shutdown()).expect("a clean end");
}

#[test]
fn the_names_of_one_actor_go_in_one_order() {
    let (runtime, finders) = finders();
    let names: Vec<String> = (0..16).map(|n| format!("name/{n}")).collect();
    for name in &names {
        block_on(runtime.register(name, &finders[0])).expect("room");
    }
    let directory = &runtime.shared().directory;
    // Nobody tells the workers meanwhile.
    directory.telling.store(true, Ordering::SeqCst);
    directory.forget_actor(runtime.shared(), finders[0].id());
    let gone: Vec<Name> = directory
        .state()
        .queue
        .iter()
        .filter_map(|change| if let Change::Unregister { name } = change { Some(*name) } else { None })
        .collect();
    assert!(gone.len() == names.len() && gone.is_sorted(), "{gone:?}");
    drop(Telling(directory));
    block_on(runtime.shutdown()).expect("a clean end");
}
