//! 100,000 kills, panics, stops and restarts on CPU threads while three threads send: every message has one fate, and memory does not
//! grow.

#![allow(missing_docs, reason = "the kernel is public for the export alone")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use warpring::prelude::*;
use warpring::{ChildSpec, RestartFrom, Strategy, Supervision, block_on};

/// Ends of actors, each followed by a restart.
const ENDS: u64 = 100_000;
/// Messages at most; then the senders are done.
const MESSAGES: usize = 1 << 19;
/// Supervisors, with a group of children each.
const SUPERVISORS: usize = 12;
const CHILDREN: u32 = 2;
/// The heap of the last tenth may be so much larger than that of the first. One entry for each end would be many times that.
const HEAP_SLACK: i64 = 256 << 10;
/// The same for resident memory, which the system counts in pages, of stacks and code too.
const RESIDENT_SLACK: i64 = 8 << 20;

/// Counts the bytes of the heap that are in use.
struct Counting;

static HEAP: AtomicI64 = AtomicI64::new(0);

// SAFETY: it hands every call on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HEAP.fetch_add(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: contract.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HEAP.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What handlers have done with each message, by its number.
static COURSE: [AtomicU8; MESSAGES] = [const { AtomicU8::new(0) }; MESSAGES];
const BEGAN: u8 = 1;
const ENDED: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
#[repr(u8)]
pub enum What {
    Count,
    Yield,
    Panic,
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Work {
    pub number: u64,
    pub what: What,
}

/// Ends the actor, by a message that nobody counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct End {
    pub what: What,
}

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "kills/worker")]
pub struct Worker {
    handled: Resident<u64>,
}

async fn end(ctx: &mut RingContext<'_>, what: What) {
    match what {
        What::Count => {}
        What::Yield => ctx.yield_now().await,
        What::Panic => panic!("as asked"),
        What::Stop => ctx.stop(),
    }
}

impl RingKernelHandler<Work, u64> for Worker {
    async fn handle(&self, ctx: &mut RingContext<'_>, work: Work) -> Result<u64> {
        COURSE[work.number as usize].fetch_add(BEGAN, Ordering::Relaxed);
        ctx.update(&self.handled, |handled| *handled += 1);
        end(ctx, work.what).await;
        COURSE[work.number as usize].fetch_add(ENDED, Ordering::Relaxed);
        Ok(work.number)
    }
}

impl RingKernelHandler<End, ()> for Worker {
    async fn handle(&self, ctx: &mut RingContext<'_>, message: End) -> Result<()> {
        end(ctx, message.what).await;
        Ok(())
    }
}

warpring::export! {
    Worker { Work => u64, End => () }
}

/// A dead letter for each pair of actor and course: how many.
#[derive(Debug, Default, PartialEq, Eq)]
struct Letters {
    not_begun: HashMap<ActorId, u64>,
    fell: HashMap<ActorId, u64>,
}

/// What a sender knows of its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Told,
    Returned,
    Answered,
    Fell,
}

#[derive(Default)]
struct Senders {
    numbers: AtomicU64,
    done: AtomicBool,
}

/// Sends to random actors until the ends are done; a few tells, then an ask whose answer it waits for.
fn send(actors: &[ActorRef<Worker>], mut port: Option<Port>, mut dice: u64, senders: &Senders) -> Vec<(u64, ActorId, Known)> {
    // Its pages are there before anything is measured.
    let mut sent = vec![(0, actors[0].id(), Known::Told); MESSAGES];
    sent.clear();
    while !senders.done.load(Ordering::Relaxed) {
        for turn in 0..8 {
            let number = senders.numbers.fetch_add(1, Ordering::Relaxed);
            if number as usize >= MESSAGES {
                return sent;
            }
            let draw = next(&mut dice);
            let actor = &actors[(draw % actors.len() as u64) as usize];
            let what = [What::Count, What::Yield, What::Count, What::Count][(draw >> 32) as usize % 4];
            let what = if (draw >> 40).is_multiple_of(61) { What::Panic } else { what };
            let work = Work { number, what };
            let known = match (turn, &mut port) {
                (7, None) => known(actor.ask(work).wait()),
                (7, Some(port)) => known(port.ask(actor.address(), work)),
                (_, None) => told(actor.tell(work).wait().is_ok()),
                (_, Some(port)) => told(port.tell(actor.address(), work).is_ok()),
            };
            sent.push((number, actor.id(), known));
        }
    }
    sent
}

fn told(accepted: bool) -> Known {
    if accepted { Known::Told } else { Known::Returned }
}

fn known(answer: Result<u64, AskError<Work>>) -> Known {
    match answer {
        Ok(_) => Known::Answered,
        Err(AskError::NotHandled { .. }) => Known::Returned,
        Err(AskError::Panicked { .. } | AskError::Interrupted { .. } | AskError::Handler(KernelError::Panicked { .. })) => {
            Known::Fell
        }
        Err(other) => panic!("an ask that was accepted: {other}"),
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Bytes of the process that are in memory, where the system tells.
fn resident() -> Option<i64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split(' ').nth(1)?.parse::<i64>().ok()? * 4096)
}

#[derive(Clone, Copy, Debug)]
struct Memory {
    heap: i64,
    resident: Option<i64>,
}

impl Memory {
    fn now() -> Self {
        Self { heap: HEAP.load(Ordering::Relaxed), resident: resident() }
    }
}

/// Ends one child of each supervisor at a time, again and again, in a mix that the seed decides. The memory at the end of each tenth.
fn kill(groups: &[Vec<ActorRef<Worker>>], restarts: impl Fn() -> u64, mut dice: u64) -> Vec<Memory> {
    let mut tenths = Vec::with_capacity(10);
    while restarts() < ENDS {
        let mut ends: Vec<_> = (groups.iter())
            .map(|group| {
                let draw = next(&mut dice);
                Box::pin(finish(&group[(draw % group.len() as u64) as usize], draw >> 32))
            })
            .collect();
        block_on(std::future::poll_fn(|cx| {
            ends.retain_mut(|end| end.as_mut().poll(cx).is_pending());
            if ends.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        }));
        while restarts() >= ENDS / 10 * (tenths.len() as u64 + 1) && tenths.len() < 10 {
            tenths.push(Memory::now());
        }
    }
    tenths
}

/// Ends an actor in one of several ways. One that is held, or ends already, has been ended by somebody else.
async fn finish(actor: &ActorRef<Worker>, draw: u64) {
    match draw & 7 {
        0 => _ = actor.stop().await,
        1 => _ = actor.drain().await,
        2 => _ = actor.ask(End { what: What::Panic }).await,
        3 => _ = actor.ask(End { what: What::Stop }).await,
        _ => _ = actor.kill().await,
    }
}

/// Handlers panic as they are asked to; nobody has to read that.
fn hush() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&"as asked") {
            usual(panic);
        }
    }));
}

#[test]
fn a_hundred_thousand_ends_lose_nothing_and_keep_nothing() {
    hush();
    // The book is in memory before it is measured.
    COURSE.iter().for_each(|course| course.store(0, Ordering::Relaxed));
    let letters: &'static Mutex<Letters> = Box::leak(Box::default());
    let runtime = Runtime::builder()
        .module(&MODULE)
        .backend(Backend::Cpu)
        .workers(2)
        .pin(false)
        .max_actors(256)
        .waiting_messages(512)
        .suspended_handlers(64)
        .ask_limit(Duration::from_secs(30))
        .on_dead_letter(move |letter| {
            let mut letters = letters.lock().expect("no hook panics");
            let fell = matches!(letter.reason, KernelError::Panicked { .. } | KernelError::Interrupted);
            let counts = if fell { &mut letters.fell } else { &mut letters.not_begun };
            *counts.entry(letter.to).or_default() += 1;
        })
        .build()
        .expect("the settings are in range");
    let what = || Supervision::new(Strategy::OneForOne).limit(u32::MAX, Duration::from_millis(100));
    let supervisors: Vec<_> = (0..SUPERVISORS).map(|_| runtime.supervise(what())).collect();
    let from = [RestartFrom::Initial, RestartFrom::Kept];
    let groups: Vec<Vec<_>> = (supervisors.iter().enumerate())
        .map(|(i, supervisor)| {
            let spec = ChildSpec::permanent().from(from[i % 2].clone()).launch(LaunchOptions::default().mailbox(16));
            let group = block_on(supervisor.launch_many(CHILDREN, spec, |_| Worker { handled: Resident::new(0) }));
            let group = group.expect("there is room");
            (0..CHILDREN).filter_map(|index| group.get(index)).collect()
        })
        .collect();
    let actors: Vec<_> = groups.iter().flatten().cloned().collect();
    let senders = Senders::default();
    let mut ports = [None, None, Some(runtime.port(4).expect("a port is free"))];
    let restarts = || supervisors.iter().map(|supervisor| supervisor.restarts()).sum::<u64>();
    let start = Instant::now();
    let (tenths, sent) = std::thread::scope(|scope| {
        let threads: Vec<_> = (ports.iter_mut().enumerate())
            .map(|(thread, port)| {
                let (port, actors, senders) = (port.take(), &actors, &senders);
                scope.spawn(move || send(actors, port, 100 + thread as u64, senders))
            })
            .collect();
        let tenths = kill(&groups, restarts, 17);
        senders.done.store(true, Ordering::Relaxed);
        let sent: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().expect("a sender does not panic")).collect();
        (tenths, sent)
    });
    let took = start.elapsed();
    let ended = restarts();
    block_on(runtime.shutdown()).expect("all that was accepted has been handled");
    println!(
        "{ended} ends and restarts and {} messages in {took:.1?}: {:.0} ends a second",
        sent.len(),
        ended as f64 / took.as_secs_f64()
    );
    println!("memory at the end of each tenth: {tenths:?}");

    let mut expected = Letters::default();
    for &(number, to, known) in &sent {
        let course = COURSE[number as usize].load(Ordering::Relaxed);
        let right = match known {
            Known::Told => matches!(course, 0 | BEGAN) || course == BEGAN + ENDED,
            Known::Returned => course == 0,
            Known::Answered => course == BEGAN + ENDED,
            Known::Fell => course == BEGAN,
        };
        assert!(right, "fate: message {number} to {to}: its sender knows {known:?}, and its course is {course:#x}");
        match (known, course) {
            (Known::Told, 0) => *expected.not_begun.entry(to).or_default() += 1,
            (Known::Told, BEGAN) => *expected.fell.entry(to).or_default() += 1,
            _ => {}
        }
    }
    assert_eq!(*letters.lock().expect("no hook panics"), expected, "a dead letter for each tell that was not handled");
    let (first, last) = (tenths[0], tenths[9]);
    assert!(last.heap - first.heap < HEAP_SLACK, "the heap grows: {tenths:?}");
    if let (Some(first), Some(last)) = (first.resident, last.resident) {
        assert!(last - first < RESIDENT_SLACK, "resident memory grows: {tenths:?}");
    }
}
