//! Section 9: what becomes of a message.

use std::sync::atomic::{AtomicU64, Ordering};

use warpring::prelude::*;
use warpring::{DeadLetter, Refusal, block_on};

use crate::kernels::mortal::{Mortal, Start};
use crate::kernels::relay::{Relay, TellOn, What};
use crate::kernels::subject::{Add, Crash, Nap, Subject};
use crate::letters::Letters;
use crate::setup::{Held, Named, Setup, end, eventually, launch_on, same};

/// What the senders know of their messages.
#[derive(Default)]
struct Sent {
    /// Messages that a sender has tried to send, whatever came of it.
    tried: AtomicU64,
    /// Tells that were accepted.
    told: AtomicU64,
    /// Asks that were answered by the handler.
    answered: AtomicU64,
    /// Messages that came back.
    returned: AtomicU64,
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::SeqCst);
}

/// Sends until the runtime has stopped, at most so many messages, then waits for the answers.
fn send(actors: &[ActorRef<Mortal>], mut port: Option<Port>, seed: usize, most: u32, sent: &Sent) -> Result<(), String> {
    let mut replies = Vec::new();
    for i in 0..most as usize {
        let actor = &actors[(i * 7 + seed) % actors.len()];
        add(&sent.tried);
        let told = match (i % 4, &mut port) {
            (0, Some(port)) => port.try_tell(actor.address(), Add { n: 1 }).map_err(|error| error.reason),
            (0, None) => actor.try_tell(Add { n: 1 }).map_err(|error| error.reason),
            (1, Some(port)) => port.try_tell(actor.address(), Nap { ns: 5_000, n: 1 }).map_err(|error| error.reason),
            (1, None) => actor.try_tell(Nap { ns: 5_000, n: 1 }).map_err(|error| error.reason),
            _ => match actor.ask(Add { n: 1 }).send() {
                Ok(reply) => {
                    replies.push(reply);
                    continue;
                }
                Err(AskError::NotHandled { reason, .. }) => Err(reason),
                Err(other) => return Err(format!("an ask that was not sent: {other}")),
            },
        };
        match told {
            Ok(()) => add(&sent.told),
            Err(reason) => {
                add(&sent.returned);
                if reason == Refusal::RuntimeStopped {
                    break;
                }
            }
        }
    }
    for reply in replies {
        match reply.wait() {
            Ok(_) => add(&sent.answered),
            Err(AskError::NotHandled { message: Add { n: 1 }, .. }) => add(&sent.returned),
            Err(other) => return Err(format!("an ask that was accepted: {other}")),
        }
    }
    Ok(())
}

/// What became of the messages of a runtime that ended under load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Messages that were sent, or tried to be.
    pub tried: u64,
    /// Those that a handler took to its end.
    pub handled: u64,
    /// Those that became dead letters.
    pub dead: u64,
    /// Those that came back to their sender.
    pub returned: u64,
}

/// Ends a runtime, by `shutdown` or by a drop, while three threads send up to `most` messages each to eight actors with small
/// mailboxes, and accounts for every message. In the simulator, where nothing runs beside the caller, the end comes when they have
/// sent.
///
/// # Errors
/// A message without a fate, one with two, or an actor whose life did not end as it should.
pub fn stop_under_load(setup: &Setup, seed: u32, by_drop: bool, most: u32) -> Result<Fates, String> {
    let builder = setup.builder().workers(2 + seed % 2).waiting_messages(40).suspended_handlers(8);
    let (letters, builder) = Letters::of(builder);
    let runtime = builder.build().named("building the runtime")?;
    let workers = runtime.workers();
    let mut actors = Vec::new();
    for i in 0..8 {
        let options = LaunchOptions::default().on_worker(i % workers).mailbox(4);
        let launched = runtime.launch(Mortal::new(Start::Plain, Address::default()), options);
        actors.push(block_on(launched).named("launching an actor")?);
    }
    let sent = Sent::default();
    let stop = |runtime: Runtime| {
        if by_drop {
            drop(runtime);
            return Ok(());
        }
        end(runtime)
    };
    if setup.simulated() {
        send(&actors, None, seed as usize, most, &sent)?;
        let port = runtime.port(1).named("opening a port")?;
        send(&actors, Some(port), seed as usize + 1, most, &sent)?;
        // Some more, which nobody waits for.
        for actor in &actors {
            add(&sent.tried);
            actor.try_tell(Add { n: 1 }).named("telling")?;
            add(&sent.told);
        }
        stop(runtime)?;
    } else {
        let mut ports = vec![Some(runtime.port(1).named("opening a port")?), None, None];
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for thread in 0..3 {
                let (port, actors, sent) = (ports.pop().flatten(), &actors, &sent);
                threads.push(scope.spawn(move || send(actors, port, seed as usize + thread, most, sent)));
            }
            // The end comes while they send: sooner or later, by the seed.
            let sooner = u64::from(40 * (seed % 16 + 1)).min(u64::from(most));
            let ended = eventually("the senders are at work", || Ok(sent.tried.load(Ordering::SeqCst) >= sooner));
            let ended = ended.and_then(|()| stop(runtime));
            let mut joined = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("a sender panicked".into())));
            ended.and(joined.try_for_each(|result| result))
        })?;
    }
    let count = |of: &AtomicU64| of.load(Ordering::SeqCst);
    let handled = letters.handled(&actors)?.into_iter().map(u64::from).sum();
    let fates =
        Fates { tried: count(&sent.tried), handled, dead: letters.others().len() as u64, returned: count(&sent.returned) };
    same("handled and dead, against accepted", fates.handled + fates.dead, count(&sent.told) + count(&sent.answered))
        .named(format_args!("{fates:?}"))?;
    same("fates of all that was tried", fates.handled + fates.dead + fates.returned, fates.tried)?;
    Ok(fates)
}

fn all_accounted_for(setup: &Setup, by_drop: bool) -> Result<(), String> {
    let most = setup.scale(20_000, 60);
    let mut handled = 0;
    for seed in 0..setup.scale(8, 3) {
        handled += stop_under_load(setup, seed, by_drop, most).named(format_args!("round {seed}"))?.handled;
    }
    if handled == 0 { Err("nothing was ever handled".into()) } else { Ok(()) }
}

pub(super) fn one_fate_by_shutdown(setup: &Setup) -> Result<(), String> {
    all_accounted_for(setup, false)
}

pub(super) fn one_fate_by_drop(setup: &Setup) -> Result<(), String> {
    all_accounted_for(setup, true)
}

pub(super) fn dead_letters_say_why(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let dead = launch_on(&runtime, 0, Subject::default())?;
    if dead.ask(Crash { pause_ns: 0 }).wait().is_ok() {
        return Err("a handler that panics answered".into());
    }
    let held = Held::with(&runtime, LaunchOptions::default().mailbox(1))?;
    let full = held.subject.ask(Add { n: 1 }).send().named("asking")?;
    held.settle()?;
    let mut expected = Vec::new();
    let mut check = |to: ActorId, from: Option<ActorId>, reason| {
        expected.push((to, from, reason));
        let letters = || -> Result<Vec<_>, String> {
            // Something to wait for, also where nothing runs unless somebody waits.
            held.settle()?;
            Ok(runtime.dead_letters().iter().map(|DeadLetter { to, from, reason, .. }| (*to, *from, *reason)).collect())
        };
        eventually("a dead letter", || Ok(letters()?.len() >= expected.len()))?;
        same("dead letters", letters()?, expected.clone())
    };
    dead.tell(Add { n: 1 }).wait().named("telling")?;
    check(dead.id(), None, KernelError::Stopped)?;
    let mut port = runtime.port(1).named("opening a port")?;
    port.tell(dead.address(), Add { n: 1 }).named("telling by port")?;
    check(dead.id(), None, KernelError::Stopped)?;
    held.subject.tell(Add { n: 1 }).wait().named("telling")?;
    check(held.subject.id(), None, KernelError::MailboxFull { capacity: 1 })?;
    let far = launch_on(&runtime, 1, Relay::default())?;
    far.ask(TellOn { to: dead.address(), what: What::Add }).wait().named("a ring takes it")?;
    check(dead.id(), Some(far.id()), KernelError::Stopped)?;
    // On the same worker the sender hears of it itself.
    let near = launch_on(&runtime, 0, Relay::default())?;
    let told = near.ask(TellOn { to: dead.address(), what: What::Add }).wait();
    same("a tell on the same worker", told, Err(AskError::Handler(KernelError::Stopped)))?;
    same("dead letters in all", runtime.dead_letters().len(), 4)?;
    held.open()?;
    same("what was accepted", full.wait(), Ok(1))?;
    end(runtime)
}
