//! Dead letters: what they carry, their log, and how they are sent again.

mod support;

use std::time::SystemTime;

use support::folder::Folder;
use support::*;
use warpring::prelude::*;
use warpring::{
    BuildError, DeadLetterLog, DeadLetterLogError, PayloadError, Refusal, Resend, ShutdownError, block_on, module::Exported,
};

fn launch<K: Exported>(runtime: &Runtime, kernel: K) -> ActorRef<K> {
    block_on(runtime.launch(kernel, LaunchOptions::default().on_worker(0))).expect("launched")
}

/// An actor that has panicked.
fn dead(runtime: &Runtime) -> ActorRef<Counter> {
    let actor = launch(runtime, Counter::new(tally().0));
    assert!(actor.ask(Crash { pause_ns: 0 }).wait().is_err());
    actor
}

/// Waits until the runtime has heard of so many dead letters.
fn heard(runtime: &Runtime, count: u64) {
    eventually("the dead letters", || block_on(runtime.stats()).expect("it runs").dead_letters >= count);
}

fn a_letter_has_the_message_unless_a_handler_had_taken_it(on: &Backend) {
    let before = SystemTime::now();
    let runtime = builder(on).build().expect("built");
    let (stopped, echo) = (dead(&runtime), launch(&runtime, Echo { next: Address::default() }));
    stopped.tell(Add { n: 17 }).priority(Priority::High).wait().expect("accepted");
    // Of eight lines, to an actor that has no such handler.
    let mut port = runtime.port(1).expect("a port");
    port.tell(Address::<Echo>::new(stopped.id()), Big::<53>::from(9)).expect("accepted");
    let falls = launch(&runtime, Counter::new(tally().0));
    falls.tell(Crash { pause_ns: 0 }).wait().expect("accepted");
    heard(&runtime, 3);
    let mut letters = runtime.dead_letters();
    letters.sort_by_key(|letter| letter.message_type.clone());
    let [add, big, crash] = &letters[..] else { panic!("{letters:?}") };
    assert_eq!((add.message_type.as_deref(), add.kernel.as_deref()), (Some("Add"), Some("test/counter")));
    assert_eq!((add.message(), add.priority, add.to), (Ok(Add { n: 17 }), Priority::High, stopped.id()));
    assert_eq!(add.message::<u64>(), Err(PayloadError::OtherType { found: Some("Add".to_owned()) }));
    assert!(add.time >= before && add.time <= SystemTime::now());
    assert_eq!((big.kernel.as_deref(), big.priority), (Some("test/echo"), Priority::Normal));
    assert_eq!(big.message(), Ok(Big::<53>::from(9)));
    assert_eq!((crash.message::<Crash>(), crash.payload()), (Err(PayloadError::Gone), None));
    assert!(matches!(crash.reason, KernelError::Panicked { .. }));
    let mut numbers: Vec<_> = letters.iter().map(|letter| letter.sequence).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    drop(port);
    assert_eq!(echo.ask(Big::<4>::from(1)).wait(), Ok(Big::<4>::from(1).next()));
    block_on(runtime.shutdown()).expect("clean");
}

fn a_letter_is_sent_again_once(on: &Backend) {
    let runtime = builder(on).build().expect("built");
    let stopped = dead(&runtime);
    for n in [1, 20, 300] {
        stopped.tell(Add { n }).wait().expect("accepted");
    }
    heard(&runtime, 3);
    let letters = runtime.dead_letters();
    // Its own target has not risen: another letter, with a fate of its own.
    assert_eq!(runtime.resend(&letters[..1]), [Resend::Sent(stopped.id())]);
    heard(&runtime, 4);
    let again = runtime.dead_letters().pop().expect("four");
    assert_eq!((again.message(), again.sequence, again.from), (Ok(Add { n: 1 }), 4, None));
    let heir = launch(&runtime, Counter::new(tally().0));
    let all = runtime.dead_letters();
    let results = runtime.resend_with(&all, |letter| (letter.message() != Ok(Add { n: 20 })).then_some(heir.id()));
    assert_eq!(results, [Resend::AlreadySent, Resend::LeftOut, Resend::Sent(heir.id()), Resend::Sent(heir.id())]);
    // From the list that was made before.
    assert_eq!(
        runtime.resend_with(&letters, |_| Some(heir.id())),
        [Resend::AlreadySent, Resend::Sent(heir.id()), Resend::AlreadySent]
    );
    assert_eq!(heir.ask(Get).wait(), Ok(321));
    let nowhere = ActorId { slot: 0, generation: 1, worker: 99 };
    stopped.tell(Add { n: 5 }).wait().expect("accepted");
    heard(&runtime, 5);
    let last = &runtime.dead_letters()[4..];
    assert_eq!(runtime.resend_with(last, |_| Some(nowhere)), [Resend::Refused(Refusal::ActorStopped(nowhere))]);
    assert!(!last[0].is_resent());
    assert_eq!(runtime.resend_with(last, |_| Some(heir.id())), [Resend::Sent(heir.id())]);
    assert_eq!(heir.ask(Get).wait(), Ok(326));
    block_on(runtime.shutdown()).expect("clean");
}

fn what_was_logged_is_sent_again_by_the_next_runtime(on: &Backend) {
    let folder = Folder::new();
    let runtime = builder(on).dead_letter_log(folder.file("letters")).build().expect("built");
    let stopped = dead(&runtime);
    for n in 1..=300 {
        stopped.tell(Add { n }).wait().expect("accepted");
    }
    let falls = launch(&runtime, Counter::new(tally().0));
    falls.tell(Crash { pause_ns: 0 }).wait().expect("accepted");
    block_on(runtime.shutdown()).expect("clean");
    let log = DeadLetterLog::read(folder.file("letters")).expect("a log");
    assert_eq!((log.letters.len(), log.missed, log.damaged_bytes), (301, 0, 0));
    assert_eq!(log.modules, [(MODULE.name.to_owned(), MODULE.fingerprint)]);
    assert_eq!(log.is_written(), Ok(false));

    let runtime = builder(on).build().expect("built");
    let heir = launch(&runtime, Counter::new(tally().0));
    let results = runtime.resend_dead_letters_with(folder.file("letters"), |letter| {
        (letter.message().is_ok_and(|add: Add| add.n <= 200)).then_some(heir.id())
    });
    let count = |results: &[(warpring::DeadLetter, Resend)], what: &Resend| results.iter().filter(|(_, r)| r == what).count();
    let results = results.expect("marked");
    assert_eq!(count(&results, &Resend::Sent(heir.id())), 200);
    assert_eq!((count(&results, &Resend::LeftOut), count(&results, &Resend::PayloadGone)), (100, 1));
    assert_eq!(heir.ask(Get).wait(), Ok(200 * 201 / 2));
    let rest = runtime.resend_dead_letters_with(folder.file("letters"), |_| Some(heir.id())).expect("marked");
    assert_eq!((count(&rest, &Resend::AlreadySent), count(&rest, &Resend::Sent(heir.id()))), (200, 100));
    assert_eq!(heir.ask(Get).wait(), Ok(300 * 301 / 2));
    block_on(runtime.shutdown()).expect("clean");
    assert_eq!(
        DeadLetterLog::read(folder.file("letters")).expect("a log").letters.iter().filter(|letter| letter.is_resent()).count(),
        300
    );

    // A module that has no such kernel takes none of them.
    let runtime = Runtime::builder().module(&other::MODULE).backend(Backend::Cpu).workers(1).pin(false).build().expect("built");
    let stranger = launch(&runtime, other::Stranger { x: Resident::new(0) });
    let letters = DeadLetterLog::read(folder.file("letters")).expect("a log").letters;
    let mut results = runtime.resend_with(&letters, |_| Some(stranger.id()));
    results.retain(|result| *result != Resend::AlreadySent);
    assert_eq!(results, [Resend::PayloadGone]);
    block_on(runtime.shutdown()).expect("clean");
}

fn a_runtime_sends_letters_of_its_own_log_and_by_request(on: &Backend) {
    let folder = Folder::new();
    let runtime = builder(on).dead_letter_log(folder.file("letters")).build().expect("built");
    let stopped = dead(&runtime);
    let heir = launch(&runtime, Counter::new(tally().0));
    for n in [1, 20, 300, 4000] {
        stopped.tell(Add { n }).wait().expect("accepted");
    }
    heard(&runtime, 4);
    assert_eq!(runtime.resend_with(&runtime.dead_letters()[..1], |_| Some(heir.id())), [Resend::Sent(heir.id())]);
    let log = DeadLetterLog::read(folder.file("letters")).expect("a log");
    assert_eq!(log.letters.iter().map(|letter| letter.is_resent()).collect::<Vec<_>>(), [true, false, false, false]);
    assert_eq!(log.is_written(), Ok(true));
    // Another runtime may not mark them.
    let stranger = builder(on).build().expect("built");
    let in_use = DeadLetterLogError::InUse { path: folder.file("letters") };
    assert_eq!(stranger.resend_dead_letters(folder.file("letters")).err(), Some(in_use.clone()));
    assert_eq!(builder(on).dead_letter_log(folder.file("letters")).build().err(), Some(BuildError::DeadLetterLog(in_use)));
    drop(stranger);
    // What somebody asks for from outside, to an actor that lives.
    log.request_resend(&log.letters[1..3], Some(heir.id())).expect("asked");
    let waits = DeadLetterLogError::RequestWaits { path: folder.file("letters") };
    assert_eq!(log.request_resend(&log.letters[1..2], None), Err(waits));
    eventually("the request is met", || !log.has_request());
    assert_eq!(heir.ask(Get).wait(), Ok(321));
    // The list knows what was sent from the log.
    let results = runtime.resend_with(&runtime.dead_letters(), |_| Some(heir.id()));
    assert_eq!(results[..3], [Resend::AlreadySent, Resend::AlreadySent, Resend::AlreadySent]);
    assert_eq!(results[3], Resend::Sent(heir.id()));
    let results = runtime.resend_dead_letters(folder.file("letters")).expect("its own");
    assert!(results.iter().all(|(_, result)| *result == Resend::AlreadySent), "{results:?}");
    assert_eq!(heir.ask(Get).wait(), Ok(4321));
    block_on(runtime.shutdown()).expect("clean");
}

fn letters_that_come_at_the_end_are_in_the_log(on: &Backend) {
    for by_drop in [false, true] {
        let folder = Folder::new();
        let runtime = builder(on).dead_letter_log(folder.file("letters")).build().expect("built");
        let stopped = dead(&runtime);
        let mut port = runtime.port(1).expect("a port");
        for n in 0..100 {
            port.tell(stopped.address(), Add { n }).expect("accepted");
        }
        if by_drop {
            drop(runtime);
            drop(port);
        } else {
            drop(port);
            block_on(runtime.shutdown()).expect("clean");
        }
        let log = DeadLetterLog::read(folder.file("letters")).expect("a log");
        assert_eq!(
            log.letters.iter().filter_map(|letter| letter.message().ok()).collect::<Vec<Add>>(),
            (0..100).map(|n| Add { n }).collect::<Vec<_>>()
        );
        assert_eq!(log.missed, 0);
    }
}

/// More letters than the queue and the log hold: what is there is the end, and what is not is counted.
#[test]
fn a_flood_is_bounded_and_counted() {
    let folder = Folder::new();
    let build = |bytes| builder(&Backend::Cpu).dead_letter_log(folder.file("letters")).dead_letter_log_bytes(bytes).build();
    assert!(matches!(build(1000), Err(BuildError::Setting { name: "dead_letter_log_bytes", given: 1000, .. })));
    let runtime = build(1 << 20).expect("built");
    let stopped = dead(&runtime);
    let all = 100_000;
    let mut port = runtime.port(1).expect("a port");
    for n in 0..all {
        port.tell(stopped.address(), Add { n }).expect("accepted");
    }
    drop(port);
    heard(&runtime, all);
    block_on(runtime.shutdown()).expect("clean");
    let log = DeadLetterLog::read(folder.file("letters")).expect("a log");
    let bytes = |end: &str| std::fs::metadata(folder.file(&format!("letters{end}"))).map_or(0, |data| data.len());
    assert!(bytes("") + bytes(".1") <= 1 << 20);
    let kept = log.letters.len() as u64;
    assert!(kept > 3000, "{kept}");
    assert!(log.letters.is_sorted_by_key(|letter| letter.sequence));
    // Of those behind the first that is left, every one is there or counted.
    let first = log.letters[0].sequence;
    assert!(all + 1 - first <= kept + log.missed, "from {first} on {kept} are kept, {} missed", log.missed);
}

/// A log that cannot be written any more is said at the end.
#[test]
#[cfg(target_os = "linux")]
fn a_log_that_cannot_be_written_is_said() {
    let folder = Folder::new();
    let builder = || builder(&Backend::Cpu).dead_letter_log_bytes(1 << 20);
    let missing = builder().dead_letter_log(folder.file("no folder/letters")).build();
    assert!(matches!(missing, Err(BuildError::DeadLetterLog(DeadLetterLogError::Io { .. }))));
    let runtime = builder().dead_letter_log(folder.file("letters")).build().expect("built");
    let stopped = dead(&runtime);
    // Nothing can take the place of a folder that is not empty, so the full log cannot become the older one.
    std::fs::create_dir_all(folder.file("letters.1/full")).expect("made");
    for n in 0..20_000 {
        stopped.tell(Add { n }).wait().expect("accepted");
    }
    let ended = block_on(runtime.shutdown());
    assert!(matches!(ended, Err(ShutdownError::DeadLetterLog(DeadLetterLogError::Io { .. }))), "{ended:?}");
}

on_every_backend! {
    a_letter_has_the_message_unless_a_handler_had_taken_it
    a_letter_is_sent_again_once
    what_was_logged_is_sent_again_by_the_next_runtime
    a_runtime_sends_letters_of_its_own_log_and_by_request
    letters_that_come_at_the_end_are_in_the_log
}
