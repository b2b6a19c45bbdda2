//! What the host does beside a grid: it launches the workers, reads what they post, takes their dead letters, lets the grid
//! hibernate and wakes it. The simulator calls [`Watch::tend`] between two turns of its machine, the CUDA backend's thread again and
//! again.
//!
//! ```text
//!            all idle for long: leave = 1            all left, nothing to do
//!  running ───────────────────────────────► leaving ────────────────────────► asleep
//!     ▲ ▲                                      │ something to do after all      │
//!     │ └──────────────────────────────────────┘                                │
//!     └─────────────────────────────────────────────────────────────────────────┘ a message, or a timer
//! ```
//! A launch that ends by itself (it has run for as long, or handled as many messages, as it may) goes on at once with the next one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use warpring_core::message::Kind;
use warpring_core::post::{Exit, Left, Post};
use warpring_core::ring::{Consumer, read_cell};
use warpring_core::scoped::System;
use warpring_core::worker::{LETTER_WHOLE, Launch, Notice};
use warpring_core::{ActorId, KernelError};

use crate::barrier;
use crate::lock::lock;
use crate::runtime::Launches;
use crate::shared::{PanicSite, Shared};

/// Lines of the ring in which a worker posts dead letters.
pub(crate) const LETTER_LINES: u32 = 256;

/// The device has failed, and with it all that ran on it.
#[derive(Clone, Debug)]
pub(crate) struct Fault(pub(crate) String);

/// What a grid runs on.
pub(crate) trait Device {
    /// Starts a launch: of all workers, or of one in place of that whose lanes fell.
    fn launch(&mut self, launch: &Launch, only: Option<u32>) -> Result<(), Fault>;
    /// Whether a block still runs.
    fn running(&mut self) -> Result<bool, Fault>;
}

/// When a grid ends by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Nothing to do for so long, in nanoseconds on the workers' clock.
    pub(crate) hibernate_after: Option<u64>,
    /// A launch runs at most so long, in nanoseconds.
    pub(crate) residency: u64,
    /// A worker handles at most so many messages in a launch.
    pub(crate) messages: u64,
}

/// How a grid is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    Running,
    /// No block runs. The first timer is due at this time on the workers' clock.
    Asleep {
        until: u64,
    },
    /// All workers have stopped.
    Ended,
}

/// The host's knowledge of a grid.
pub(crate) struct Watch {
    state: Mutex<State>,
    limits: Limits,
    roused: AtomicBool,
}

struct State {
    letters: Vec<Consumer>,
    fallen: Vec<u32>,
    /// Launches of all workers so far; the number of the last.
    number: u32,
    hibernations: u64,
    pulse: Pulse,
    leaving: bool,
}

// SAFETY: the consumers name rings in the shared area, which lives as long as the runtime; one thread at a time has the state.
unsafe impl Send for State {}

impl Watch {
    /// # Safety
    /// Nobody else has the host's ends of the letter rings of `shared`'s plan.
    pub(crate) unsafe fn new(shared: &Shared, limits: Limits) -> Self {
        let workers = shared.settings.workers;
        // SAFETY: contract.
        let letters = (0..workers).filter_map(|w| shared.plan.letters(w)).map(|ring| unsafe { Consumer::new(ring) }).collect();
        let state =
            State { letters, fallen: vec![0; workers as usize], number: 0, hibernations: 0, pulse: Pulse::Ended, leaving: false };
        Self { state: Mutex::new(state), limits, roused: AtomicBool::new(false) }
    }

    pub(crate) fn launches(&self) -> Launches {
        let state = self.state();
        Launches {
            count: state.number.into(),
            hibernations: state.hibernations,
            asleep: matches!(state.pulse, Pulse::Asleep { .. }),
        }
    }

    /// All workers have stopped.
    #[cfg(feature = "sim")]
    pub(crate) fn has_ended(&self) -> bool {
        self.state().pulse == Pulse::Ended
    }

    /// A message has come for a grid that sleeps or is about to.
    pub(crate) fn rouse(&self) {
        self.roused.store(true, Ordering::Release);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Launches the grid.
    pub(crate) fn start(&self, shared: &Shared, device: &mut impl Device) -> Result<(), Fault> {
        self.launch(&mut self.state(), shared, device)
    }

    /// The limits of the launch that runs now.
    fn current(&self, state: &State) -> Launch {
        Launch { number: state.number, residency_ns: self.limits.residency, messages: self.limits.messages }
    }

    fn launch(&self, state: &mut State, shared: &Shared, device: &mut impl Device) -> Result<(), Fault> {
        self.roused.store(false, Ordering::Relaxed);
        shared.seats.iter().for_each(|seat| seat.parked().store(0, Ordering::Relaxed));
        set_leave(shared, false);
        state.number += 1;
        state.leaving = false;
        state.pulse = Pulse::Running;
        device.launch(&self.current(state), None)
    }

    /// Takes the dead letters that have come.
    pub(crate) fn take_letters(&self, shared: &Shared) {
        self.state().take_letters(shared);
    }

    /// Looks after the grid once. `now` is the time on the workers' clock.
    pub(crate) fn tend(&self, shared: &Shared, device: &mut impl Device, now: u64) -> Result<Pulse, Fault> {
        let state = &mut *self.state();
        state.take_letters(shared);
        match state.pulse {
            Pulse::Running => {
                self.replace_fallen(state, shared, device)?;
                if !device.running()? {
                    state.take_letters(shared);
                    self.left(state, shared, device)?;
                } else if (0..shared.settings.workers)
                    .any(|worker| state.exit_of(shared, worker).is_some_and(|exit| exit.why != Left::Stopped))
                {
                    // One has run for as long as it may: the others would wait for its answers.
                    set_leave(shared, true);
                } else if !state.leaving && self.limits.hibernate_after.is_some_and(|limit| idle_for(shared, now) >= limit) {
                    // From here on whoever sends sees that the grid is about to sleep, and rouses it.
                    shared.seats.iter().for_each(|seat| seat.parked().store(1, Ordering::Release));
                    // SYNC: sleep (pairs with the light barrier after each send).
                    barrier::heavy();
                    state.leaving = true;
                    set_leave(shared, true);
                }
            }
            Pulse::Asleep { until } => {
                if self.roused.load(Ordering::Acquire) || now >= until {
                    self.launch(state, shared, device)?;
                }
            }
            Pulse::Ended => {}
        }
        Ok(state.pulse)
    }

    /// Lets others run in place of workers whose lanes fell.
    fn replace_fallen(&self, state: &mut State, shared: &Shared, device: &mut impl Device) -> Result<(), Fault> {
        for worker in 0..shared.settings.workers {
            // SAFETY: the post is in the shared area; the lanes that wrote the records have ended once the count is seen.
            unsafe {
                let post: *const Post = shared.plan.post(worker);
                // SYNC: fallen (acquire).
                let count = (*post).fallen.acquire::<System>();
                if count == state.fallen[worker as usize] {
                    continue;
                }
                state.fallen[worker as usize] = count;
                let mut site = None;
                for lane in &(*post).lanes {
                    let record = lane.take::<System, _>(|actor, file, line, text| {
                        let text = String::from_utf8_lossy(text).into_owned();
                        let message = if text.is_empty() { "a panic with values in its text".into() } else { text };
                        (actor, PanicSite { file: String::from_utf8_lossy(file).into_owned(), line, message })
                    });
                    site = site.or(record);
                }
                let unknown = || PanicSite { file: "unknown".into(), line: 0, message: "a lane ended".into() };
                match site {
                    Some((Some((slot, generation)), site)) => {
                        super::cpu::record(shared, ActorId { slot, generation, worker: worker as u16 }, &site);
                    }
                    other => {
                        // No handler ran: the scheduler itself fell.
                        let site = other.map_or_else(unknown, |(_, site)| site);
                        return Err(Fault(format!("worker {worker} fell at {}:{}: {}", site.file, site.line, site.message)));
                    }
                }
            }
            device.launch(&self.current(state), Some(worker))?;
        }
        Ok(())
    }

    /// No block runs any more: sleep, go on, or end.
    fn left(&self, state: &mut State, shared: &Shared, device: &mut impl Device) -> Result<(), Fault> {
        let mut exits = Vec::with_capacity(state.fallen.len());
        for worker in 0..shared.settings.workers {
            let exit = state.exit_of(shared, worker);
            let Some(exit) = exit else { return Err(Fault(format!("worker {worker} ended without a word"))) };
            exits.push(exit);
        }
        if exits.iter().all(|exit| exit.why == Left::Stopped) {
            state.pulse = Pulse::Ended;
            return Ok(());
        }
        let sum = |f: fn(&Exit) -> u64| exits.iter().map(f).fold(0u64, u64::wrapping_add);
        let quiet = exits.iter().all(|exit| exit.quiet) && sum(|e| e.sent) == sum(|e| e.received);
        if state.leaving && quiet && !self.roused.load(Ordering::Acquire) {
            state.hibernations += 1;
            let until = exits.iter().map(|exit| exit.next_wake).min().unwrap_or(u64::MAX);
            state.pulse = Pulse::Asleep { until };
            return Ok(());
        }
        self.launch(state, shared, device)
    }
}

impl State {
    /// How a worker has left this launch, if it has.
    fn exit_of(&self, shared: &Shared, worker: u32) -> Option<Exit> {
        // SAFETY: the post is in the shared area; the record is read once its sequence is that of this launch, and written once in it.
        unsafe {
            let post: *const Post = shared.plan.post(worker);
            read_cell::<System>((&raw const (*post).exit).cast(), self.number)
                .and_then(|lines| lines.decode::<Exit>(lines.header().lines).ok())
        }
    }

    fn take_letters(&mut self, shared: &Shared) {
        for (worker, ring) in self.letters.iter_mut().enumerate() {
            while let Some(lines) = ring.peek::<System>() {
                // SAFETY: `peek` acquired the lines.
                let header = unsafe { lines.header() };
                if header.kind() == Kind::Control as u8 {
                    // SAFETY: as above.
                    if let Ok(notice) = unsafe { lines.decode::<Notice>(header.lines) } {
                        shared.hear(&notice);
                    }
                    ring.advance(header.lines);
                    continue;
                }
                let reason = KernelError::from_parts((header.deadline & !LETTER_WHOLE) as u16, header.correlation);
                let whole = (header.deadline & LETTER_WHOLE != 0).then_some(lines);
                // SAFETY: as above; a letter that is whole has the message's lines.
                unsafe { shared.dead.add(worker as u32, &header, whole, reason) }
                ring.advance(header.lines);
            }
        }
    }
}

fn set_leave(shared: &Shared, leave: bool) {
    // SAFETY: a word of the shared area.
    unsafe { (*shared.plan.leave()).release::<System>(u32::from(leave)) }
}

/// For how long no worker has had anything to do, as far as they have said.
pub(crate) fn idle_for(shared: &Shared, now: u64) -> u64 {
    let mut last = 0;
    for worker in 0..shared.settings.workers {
        // SAFETY: the post is in the shared area; the word is read while the worker may write it, as a whole.
        let since = unsafe { (*shared.plan.post(worker)).idle_since.get() };
        if since == 0 {
            return 0;
        }
        last = last.max(since);
    }
    now.saturating_sub(last)
}
