//! The sequential model: what must hold of a book when the runtime has ended.

use std::collections::HashMap;

use warpring::module::Handles;
use warpring::{ActorId, DeadLetter, KernelError, RestartFrom};

use crate::ledger::{Event, Known, Ledger, Page, Sent, Way};
use crate::scribe::{Do, EMPTY, Long, Scribe};

/// What became of a message, by the book.
#[derive(Clone, Copy, Default)]
struct Course {
    began: u32,
    ended: u32,
}

/// An actor as the model has it.
struct Actor {
    page: Page,
    starts: u32,
    /// `initialize` has ended well, and `shutdown` has not begun.
    open: bool,
    /// The message whose handler has begun and not ended.
    busy: Option<u64>,
}

/// The counts of a run, for whoever wants to see that it did something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub sent: u64,
    pub handled: u64,
    pub fell: u64,
    pub returned: u64,
    pub dead: u64,
    pub restarts: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.handled += other.handled;
        self.fell += other.fell;
        self.returned += other.returned;
        self.dead += other.dead;
        self.restarts += other.restarts;
    }
}

/// Whether a book is in order.
///
/// # Errors
/// The first sentence that does not hold, with the message or the actor.
pub fn check(ledger: &Ledger, supervised: &HashMap<ActorId, RestartFrom>) -> Result<Tally, String> {
    let mut tally = Tally { sent: ledger.sent.len() as u64, ..Tally::default() };
    let courses = histories(ledger, supervised, &mut tally)?;
    fates(ledger, &courses, &mut tally)?;
    letters(ledger, &courses)?;
    Ok(tally)
}

/// Follows each actor through its life: one message at a time, in order, with the state that a plain loop would have.
fn histories(ledger: &Ledger, supervised: &HashMap<ActorId, RestartFrom>, tally: &mut Tally) -> Result<Vec<Course>, String> {
    let mut courses = vec![Course::default(); ledger.sent.len()];
    let mut actors: HashMap<ActorId, Actor> = HashMap::new();
    let mut last: HashMap<(Way, ActorId, bool), u64> = HashMap::new();
    for event in &ledger.events {
        match *event {
            Event::Started { actor, page } => {
                let model = actors.entry(actor).or_insert(Actor { page: EMPTY, starts: 0, open: false, busy: None });
                model.starts += 1;
                if model.starts > 1 {
                    tally.restarts += 1;
                    match supervised.get(&actor) {
                        None => return Err(format!("state: actor {actor}, which nobody supervises, was started again")),
                        Some(RestartFrom::Kept) => {}
                        Some(_) => model.page = EMPTY,
                    }
                }
                same("at its start", actor, page, model.page)?;
                (model.open, model.busy) = (false, None);
            }
            Event::Ready { actor } => find(&mut actors, actor)?.open = true,
            Event::Began { actor, number, page } => {
                let Some(sent) = ledger.sent.get(number as usize) else {
                    return Err(format!("fate: nobody sent message {number}"));
                };
                let model = find(&mut actors, actor)?;
                courses[number as usize].began += 1;
                if courses[number as usize].began > 1 {
                    return Err(format!("fate: message {number} to {actor} was handled twice"));
                }
                if sent.to != actor {
                    return Err(format!("fate: message {number} was for {}, and {actor} has it", sent.to));
                }
                if let Some(before) = model.busy {
                    return Err(format!("order: actor {actor} begins message {number} before {before} has ended"));
                }
                if !model.open {
                    return Err(format!("order: actor {actor} begins message {number} outside of its life"));
                }
                same("before a message", actor, page, model.page)?;
                model.page = model.page.after(number);
                model.busy = Some(number);
                let before = last.insert((sent.way, actor, sent.high), number);
                if let Some(before) = before.filter(|before| *before > number) {
                    return Err(format!(
                        "order: {:?} sent {number} before {before} to {actor}, which came to it later",
                        sent.way
                    ));
                }
            }
            Event::Ended { number } => {
                let actor = ledger.sent[number as usize].to;
                courses[number as usize].ended += 1;
                if find(&mut actors, actor)?.busy.take() != Some(number) {
                    return Err(format!("fate: message {number} to {actor} ended twice, or never began"));
                }
            }
            Event::Smudged { actor } => {
                let model = find(&mut actors, actor)?;
                model.page = model.page.smudged();
            }
            Event::ShutDown { actor } => {
                let model = find(&mut actors, actor)?;
                if !std::mem::replace(&mut model.open, false) {
                    return Err(format!("order: `shutdown` of {actor} runs, which is not up"));
                }
                // A worker that stops drops the handler before.
                model.busy = None;
            }
            Event::Read { actor, page } => same("read by the host", actor, page, find(&mut actors, actor)?.page)?,
        }
    }
    Ok(courses)
}

fn find(actors: &mut HashMap<ActorId, Actor>, actor: ActorId) -> Result<&mut Actor, String> {
    actors.get_mut(&actor).ok_or_else(|| format!("order: actor {actor} does something before its `initialize`"))
}

fn same(when: &str, actor: ActorId, found: Page, expected: Page) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("state: actor {actor}, {when}: found {found:?}, the model has {expected:?}"))
    }
}

/// What a sender knows must be what happened.
fn fates(ledger: &Ledger, courses: &[Course], tally: &mut Tally) -> Result<(), String> {
    for (number, (sent, course)) in ledger.sent.iter().zip(courses).enumerate() {
        let (began, ended) = (course.began == 1, course.ended == 1);
        let right = match sent.known {
            Known::Returned | Known::Sending => !began,
            Known::Answered => ended,
            Known::Fell => began && !ended,
            Known::Told | Known::Unknown => true,
        };
        if !right {
            return Err(format!("fate: message {number}, {sent:?}: began {began}, ended {ended}"));
        }
        tally.handled += u64::from(ended);
        tally.fell += u64::from(began && !ended);
        tally.returned += u64::from(sent.known == Known::Returned);
    }
    tally.dead = ledger.letters.len() as u64;
    Ok(())
}

/// Of the tells from one sender to one actor, as many are dead letters as were not handled; apart those that a handler began.
fn letters(ledger: &Ledger, courses: &[Course]) -> Result<(), String> {
    type Pair = (Option<ActorId>, ActorId);
    let mut missing: HashMap<Pair, [Vec<usize>; 2]> = HashMap::new();
    for (number, (sent, course)) in ledger.sent.iter().zip(courses).enumerate() {
        if sent.known == Known::Told && course.ended == 0 {
            missing.entry((from(sent), sent.to)).or_default()[course.began as usize].push(number);
        }
    }
    let mut dead: HashMap<Pair, [usize; 2]> = HashMap::new();
    for letter in ledger.letters.iter().filter(|letter| is_ours(letter)) {
        let fell = matches!(letter.reason, KernelError::Panicked { .. } | KernelError::Interrupted);
        dead.entry((letter.from, letter.to)).or_default()[usize::from(fell)] += 1;
    }
    for pair in dead.keys() {
        missing.entry(*pair).or_default();
    }
    for ((from, to), numbers) in &missing {
        let letters = dead.get(&(*from, *to)).copied().unwrap_or_default();
        for (fell, numbers) in numbers.iter().enumerate() {
            if numbers.len() != letters[fell] {
                let what = ["of which no handler has begun", "whose handler fell"][fell];
                return Err(format!(
                    "fate: {} tells {what} from {from:?} to {to}, and {} dead letters: {numbers:?}",
                    numbers.len(),
                    letters[fell]
                ));
            }
        }
    }
    Ok(())
}

fn from(sent: &Sent) -> Option<ActorId> {
    match sent.way {
        Way::Actor(id) => Some(id),
        _ => None,
    }
}

fn is_ours(letter: &DeadLetter) -> bool {
    [<Scribe as Handles<Do>>::TAG, <Scribe as Handles<Long>>::TAG].contains(&letter.handler)
}
