//! Section 9, from 9.4 on: what dead letters carry, their log, and what comes of sending them again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use warpring::prelude::*;
use warpring::{DeadLetter, DeadLetterLog, PayloadError, Resend, block_on};

use crate::kernels::echo::{Bytes, Echo};
use crate::kernels::relay::{Relay, TellOn, What};
use crate::kernels::subject::{Add, Crash, Even, Get, Subject};
use crate::setup::{Held, Named, Setup, end, eventually, launch_on, same};

/// A log in a folder that goes with the case.
struct Log(PathBuf);

impl Log {
    fn new() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("warpring-conformance-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).named("a folder for the log")?;
        Ok(Self(folder))
    }

    fn path(&self) -> PathBuf {
        self.0.join("letters")
    }

    fn read(&self) -> Result<DeadLetterLog, String> {
        DeadLetterLog::read(self.path()).named("reading the log")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // What is left lies among other temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An actor on worker 0 that has panicked.
fn dead(runtime: &Runtime) -> Result<ActorRef<Subject>, String> {
    let dead = launch_on(runtime, 0, Subject::default())?;
    if dead.ask(Crash { pause_ns: 0 }).wait().is_ok() {
        return Err("a handler that panics answered".into());
    }
    Ok(dead)
}

/// The letters, once there are so many.
fn letters(runtime: &Runtime, count: usize) -> Result<Vec<DeadLetter>, String> {
    eventually(format_args!("{count} dead letters"), || {
        let stats = block_on(runtime.stats()).named("asking for figures")?;
        Ok(stats.dead_letters >= count as u64)
    })?;
    let letters = runtime.dead_letters();
    same("dead letters", letters.len(), count)?;
    Ok(letters)
}

pub(super) fn a_letter_carries_its_message(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let dead = dead(&runtime)?;
    let carries = |count: usize, n| {
        let letter = letters(&runtime, count)?.pop().ok_or("no letter")?;
        same("the type", letter.message_type.as_deref(), Some("Add"))?;
        same("the message", letter.message(), Ok(Add { n }))?;
        same("another type", letter.message::<Get>().is_err(), true)
    };
    // Refused from the rings of the host, from a mailbox, and from the ring of another worker.
    dead.tell(Add { n: 3 }).wait().named("telling")?;
    carries(1, 3)?;
    let mut port = runtime.port(1).named("opening a port")?;
    port.tell(dead.address(), Add { n: 4 }).named("telling by port")?;
    carries(2, 4)?;
    let held = Held::with(&runtime, LaunchOptions::default().mailbox(1))?;
    let full = held.subject.ask(Add { n: 1 }).send().named("asking")?;
    held.settle()?;
    held.subject.tell(Add { n: 5 }).wait().named("telling")?;
    carries(3, 5)?;
    held.open()?;
    full.wait().named("what was accepted")?;
    let far = launch_on(&runtime, 1, Relay::default())?;
    far.ask(TellOn { to: dead.address(), what: What::Add }).wait().named("a ring takes it")?;
    carries(4, 1)?;
    // Of eight lines, and one that is none.
    let long = Bytes::<424>::seeded(7);
    port.tell(Address::<Echo>::new(dead.id()), long).named("telling by port")?;
    same("the longest message", letters(&runtime, 5)?[4].message(), Ok(long))?;
    let live = launch_on(&runtime, 0, Subject::default())?;
    live.tell(Even(3)).wait().named("telling")?;
    let odd = letters(&runtime, 6)?.pop().ok_or("no letter")?;
    same("bytes of no value", odd.message::<Even>(), Err(PayloadError::Malformed))?;
    same("bytes of no value", odd.payload(), Some(&[3, 0, 0, 0][..]))?;
    live.tell(Crash { pause_ns: 0 }).wait().named("telling")?;
    same("a message that a handler had", letters(&runtime, 7)?[6].message::<Crash>(), Err(PayloadError::Gone))?;
    drop(port);
    end(runtime)
}

pub(super) fn a_letter_sent_again_is_a_new_message(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let dead = dead(&runtime)?;
    let heir = launch_on(&runtime, 1, Subject::default())?;
    dead.tell(Add { n: 5 }).wait().named("telling")?;
    dead.tell(Add { n: 70 }).wait().named("telling")?;
    let first = letters(&runtime, 2)?;
    // One to where it came from, which does not take it, the other to an actor that lives.
    let results =
        runtime.resend_with(&first, |letter| Some(if letter.message() == Ok(Add { n: 5 }) { dead.id() } else { heir.id() }));
    same("what came of it", results, vec![Resend::Sent(dead.id()), Resend::Sent(heir.id())])?;
    same("the total", heir.ask(Get).wait(), Ok(70))?;
    let again = letters(&runtime, 3)?.pop().ok_or("no letter")?;
    same("the second fate of a message", (again.message(), again.reason), (Ok(Add { n: 5 }), KernelError::Stopped))?;
    same("a new letter", (again.sequence, again.is_resent()), (3, false))?;
    end(runtime)?;
    Ok(())
}

pub(super) fn a_letter_is_sent_again_once(setup: &Setup) -> Result<(), String> {
    let log = Log::new()?;
    let runtime = setup.builder().dead_letter_log(log.path()).build().named("building the runtime")?;
    let dead = dead(&runtime)?;
    for n in [1, 20, 300] {
        dead.tell(Add { n }).wait().named("telling")?;
    }
    let listed = letters(&runtime, 3)?;
    let heir = launch_on(&runtime, 0, Subject::default())?;
    let sent = |results: Vec<Resend>| results.iter().filter(|result| **result == Resend::Sent(heir.id())).count();
    same("sent from the list", sent(runtime.resend_with(&listed[..1], |_| Some(heir.id()))), 1)?;
    same("sent from the list again", sent(runtime.resend_with(&listed[..1], |_| Some(heir.id()))), 0)?;
    let from_log = |runtime: &Runtime, least: u64, to: ActorId| -> Result<Vec<Resend>, String> {
        let wanted = |letter: &DeadLetter| letter.message().is_ok_and(|add: Add| add.n >= least).then_some(to);
        let results = runtime.resend_dead_letters_with(log.path(), wanted).named("sending the log again")?;
        Ok(results.into_iter().map(|(_, result)| result).collect())
    };
    same("sent from the log", sent(from_log(&runtime, 300, heir.id())?), 1)?;
    same("sent from the log again", sent(from_log(&runtime, 300, heir.id())?), 0)?;
    same("sent from the log, and then from the list", sent(runtime.resend_with(&listed[2..], |_| Some(heir.id()))), 0)?;
    same("the total", heir.ask(Get).wait(), Ok(301))?;
    end(runtime)?;
    // The next runtime sends what is left.
    let runtime = setup.runtime()?;
    let heir = launch_on(&runtime, 0, Subject::default())?;
    let results = from_log(&runtime, 0, heir.id())?;
    same("sent by the next runtime", results, vec![Resend::AlreadySent, Resend::Sent(heir.id()), Resend::AlreadySent])?;
    same("the total", heir.ask(Get).wait(), Ok(20))?;
    end(runtime)
}

pub(super) fn a_log_is_whole_or_says_what_it_lacks(setup: &Setup) -> Result<(), String> {
    let told = setup.scale(20_000, 500);
    for by_drop in [false, true] {
        let log = Log::new()?;
        let runtime = setup.builder().dead_letter_log(log.path()).build().named("building the runtime")?;
        let dead = dead(&runtime)?;
        let mut port = runtime.port(1).named("opening a port")?;
        for n in 0..told {
            port.tell(dead.address(), Add { n: n.into() }).named("telling by port")?;
        }
        if by_drop {
            drop(runtime);
            drop(port);
        } else {
            drop(port);
            end(runtime)?;
        }
        let read = log.read()?;
        same("letters and those that it lacks", read.letters.len() as u64 + read.missed, told.into())?;
        same("damage", read.damaged_bytes, 0)?;
        let mut numbers: Vec<_> =
            read.letters.iter().filter_map(|letter| letter.message::<Add>().ok()).map(|add| add.n).collect();
        same("letters with their message", numbers.len(), read.letters.len())?;
        numbers.dedup();
        same("different letters in the order of one port", (numbers.len(), numbers.is_sorted()), (read.letters.len(), true))?;
    }
    Ok(())
}
