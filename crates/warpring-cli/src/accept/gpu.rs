//! Steps that ask for a grid, and what this machine has of one.

use super::step::{Answer, On, Outcome, about_to};
use crate::backend::BackendError;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use warpring::prelude::*;
use warpring::{CudaOptions, block_on};
use warpring_bench::{Clock, Figure, Slice, Times, gpu};
use warpring_conformance::kernels::cell::{Cell, Mix, mixed};
use warpring_conformance::kernels::subject::{Nap, Subject};
use warpring_conformance::{Named, launch_on, same};

/// The grid hibernates after so long with nothing to do.
const IDLE: Duration = Duration::from_millis(2);
/// No ask may take longer while another thread works on the same GPU.
const SLOWEST_ASK: Duration = Duration::from_secs(1);
/// That thread works for so long.
const BESIDE: Duration = Duration::from_secs(3);

/// The device that a runtime runs on with its driver, where that is not the processor of the host.
pub fn device(runtime: &Runtime) -> Option<String> {
    if runtime.backend() != "cuda" {
        return None;
    }
    let driver = warpring::devices().ok().and_then(|devices| devices.first().map(|device| device.driver));
    let driver = driver.map_or(String::new(), |version| format!(", driver for CUDA {}.{}", version / 1000, version % 1000 / 10));
    Some(format!("{}{driver}", runtime.device()))
}

/// Starts the kernels of the suite and of the figures twice, and says how long each took: the driver compiles them and keeps what it made, so that no step's
/// limit pays for it. Where the second time is no shorter, the driver keeps nothing, and every step pays.
///
/// # Errors
/// Why the steps could not start either.
pub fn prepare(backend: &Backend) -> Result<Option<[Duration; 2]>, BackendError> {
    if !matches!(backend, Backend::Cuda(_)) {
        return Ok(None);
    }
    let once = || {
        let start = Instant::now();
        for module in [&warpring_conformance::MODULE, &warpring_pace::MODULE] {
            drop(Runtime::builder().module(module).backend(backend.clone()).workers(1).build()?);
        }
        drop(warpring_conformance::Setup::new(backend.clone()).with_block_teams().builder().workers(1).build()?);
        Ok::<_, BackendError>(start.elapsed())
    };
    Ok(Some([once()?, once()?]))
}

fn options(on: &On) -> Option<&CudaOptions> {
    match on.backend() {
        Backend::Cuda(options) => Some(options),
        _ => None,
    }
}

/// Number of the device that the steps run on.
pub fn index(on: &On) -> u32 {
    options(on).map_or(0, |options| options.device)
}

/// Cells, one on each worker, and what their states must be.
struct Cells {
    cells: Vec<ActorRef<Cell>>,
    states: Vec<u64>,
}

impl Cells {
    fn launch(runtime: &Runtime) -> Result<Self, String> {
        let cells = (0..runtime.workers()).map(|worker| launch_on(runtime, worker, Cell::new(worker.into())));
        Ok(Self { cells: cells.collect::<Result<_, _>>()?, states: (0..runtime.workers().into()).collect() })
    }

    /// Asks one of them and checks the reply.
    fn ask(&mut self, index: usize, n: u64) -> Result<Duration, String> {
        let index = index % self.cells.len();
        let start = Instant::now();
        let reply = self.cells[index].ask(Mix { n }).wait();
        let took = start.elapsed();
        self.states[index] = mixed(self.states[index], n);
        same(format_args!("the state on worker {index}"), reply.named("asking a cell")?, self.states[index])?;
        Ok(took)
    }
}

/// Step `hibernate`: the grid ends when there is nothing to do, and the next message starts it again with its state as it was.
///
/// # Errors
/// A grid that does not fall asleep or wake, or a state that was lost.
pub fn hibernate(on: &On) -> Answer {
    let backend = match on.backend() {
        Backend::Cuda(options) => Backend::Cuda(options.clone().hibernate_after(IDLE)),
        #[cfg(feature = "sim")]
        Backend::Sim(options) => Backend::Sim(options.clone().hibernate_after(Duration::from_micros(50))),
        _ => return Outcome::not_run("CPU workers sleep by the idle policy"),
    };
    let rounds = on.scale(200_u32, 8);
    let runtime =
        Runtime::builder().module(&warpring_conformance::MODULE).backend(backend).build().named("building the runtime")?;
    let mut cells = Cells::launch(&runtime)?;
    let napper = launch_on(&runtime, 0, Subject::default())?;
    let (mut times, mut last) = (Times::new(), 0);
    about_to(format_args!("{rounds} hibernations"));
    for round in 0..rounds {
        // In the simulator nothing runs unless the host waits for something, so there it waits for a handler that sleeps.
        let nap = Nap { ns: 1_000_000_000, n: 1 };
        let nap = if on.is("sim") { Some(napper.ask(nap).send().named("asking for a nap")?) } else { None };
        let mut nap = std::pin::pin!(nap.map(IntoFuture::into_future));
        let start = Instant::now();
        while !runtime.launches().asleep {
            if start.elapsed() > Duration::from_secs(5) {
                return Err(format!("round {round}: the grid does not fall asleep: {:?}", runtime.launches()));
            }
            match nap.as_mut().as_pin_mut() {
                Some(nap) => drop(nap.poll(&mut Context::from_waker(Waker::noop()))),
                None => std::thread::sleep(Duration::from_micros(100)),
            }
        }
        let asleep = runtime.launches();
        // The ask of the round before has woken it.
        if asleep.hibernations <= last {
            return Err(format!("round {round}: it sleeps, and has not hibernated again: {asleep:?}"));
        }
        last = asleep.hibernations;
        // A stride that has no factor in common with the usual numbers of workers.
        let took = cells.ask(round as usize * 7, round.into()).named(format_args!("round {round}"))?;
        times.record_ns(took.as_nanos() as f64);
        if let Some(nap) = nap.as_mut().as_pin_mut() {
            same("naps", block_on(nap).named("the nap")?, u64::from(round) + 1)?;
        }
    }
    // No other state has suffered.
    for index in 0..cells.cells.len() {
        cells.ask(index, 1).named("after the last hibernation")?;
    }
    let launches = runtime.launches();
    block_on(runtime.shutdown()).named("shutting down")?;
    let found = format!("{} hibernations in {} launches, every state kept", launches.hibernations, launches.count);
    let mut details = json!({ "hibernations": launches.hibernations, "launches": launches.count, "rounds": rounds });
    if on.is("sim") {
        return Outcome::passed(found, details);
    }
    let figure = Figure::alone("first-ask-after-hibernation", &Slice::Times(times)).backend(on.backend().to_string().as_str());
    let (p50, p99) = (figure.p50_ns.unwrap_or_default(), figure.p99_ns.unwrap_or_default());
    details["wake_up"] = serde_json::to_value(&figure).named("the figure as JSON")?;
    Outcome::passed(format!("{found}; the first ask after one takes p50 {:.1} us, p99 {:.1} us", p50 / 1e3, p99 / 1e3), details)
}

/// Step `beside`: another thread loads modules, allocates, copies, frees and launches in a context of its own while the grid runs, and
/// neither waits for the other.
///
/// # Errors
/// An ask that took too long, or other work that did not end.
pub fn beside(on: &On) -> Answer {
    if options(on).is_none() {
        return Outcome::not_run(format!(
            "it looks at other work on a GPU beside the grid, and backend {} has none",
            on.backend()
        ));
    }
    let device = index(on);
    asks_beside(on, |enough| {
        let done = gpu::beside(device, BESIDE, enough, |what| about_to(what)).map_err(|error| error.to_string())?;
        if done.copies == 0 || done.kernels == 0 {
            return Err(format!("it did not come to all: {done:?}"));
        }
        let said = format!(
            "{} modules, {} areas, {} copies there and back (slowest {:.1} ms) and {} kernels (slowest {:.1} ms) beside the grid",
            done.modules,
            done.areas,
            done.copies,
            done.slowest_copy_ns as f64 / 1e6,
            done.kernels,
            done.slowest_kernel_ns as f64 / 1e6
        );
        Ok((said, serde_json::to_value(done).map_err(|error| error.to_string())?))
    })
}

/// Asks without end while `work` works on another thread, which is told when it is enough.
fn asks_beside(on: &On, work: impl FnOnce(&AtomicBool) -> Result<(String, Value), String> + Send) -> Answer {
    let runtime = on.builder().build().named("building the runtime")?;
    let mut cells = Cells::launch(&runtime)?;
    let clock = Clock::calibrate();
    let mut times = Times::new();
    let (enough, done) = (AtomicBool::new(false), AtomicBool::new(false));
    about_to("asks beside other work");
    let (asked, worked) = std::thread::scope(|scope| {
        let (enough, done) = (&enough, &done);
        let worker = scope.spawn(move || {
            let worked = work(enough);
            done.store(true, Ordering::Release);
            worked
        });
        let mut ask = || {
            let mut n = 0;
            while !done.load(Ordering::Acquire) {
                let started = clock.now();
                cells.ask(n, n as u64)?;
                times.record_ns(clock.nanoseconds(clock.now() - started));
                n += 1;
            }
            Ok(n)
        };
        let asked: Result<usize, String> = ask();
        enough.store(true, Ordering::Release);
        // Its waits all end.
        (asked, worker.join().unwrap_or_else(|_| Err("it panicked".to_owned())))
    });
    let asked = asked.named("an ask beside other work")?;
    let (said, work) = worked.named(format_args!("the other work, beside {asked} asks that went well"))?;
    let slowest = times.percentile_ns(100.0);
    let figure = Figure::alone("asks-beside-other-work", &Slice::Times(times));
    let details =
        json!({ "asks": asked, "slowest_ns": slowest, "work": work, "figure": serde_json::to_value(&figure).named("JSON")? });
    if asked == 0 || slowest > SLOWEST_ASK.as_nanos() as f64 {
        return Outcome::missed(format!("{asked} asks, the slowest took {:.1} ms; {said}", slowest / 1e6), details);
    }
    block_on(runtime.shutdown()).named("shutting down")?;
    let (p50, p99) = (figure.p50_ns.unwrap_or_default(), figure.p99_ns.unwrap_or_default());
    let times = format!("p50 {:.1} us, p99 {:.1} us, slowest {:.2} ms", p50 / 1e3, p99 / 1e3, slowest / 1e6);
    Outcome::passed(format!("{asked} asks, {times}; {said}"), details)
}

/// Step `copies`: no byte of actors' state is copied between host and device while messages flow.
///
/// # Errors
/// A copy, or a counter that does not count.
pub fn copies(on: &On) -> Answer {
    if options(on).is_none() {
        return Outcome::not_run(format!("it counts copies between host and GPU, and backend {} makes none", on.backend()));
    }
    copies_over(on, 1_000_000)
}

fn copies_over(on: &On, messages: u64) -> Answer {
    const WINDOW: usize = 256;
    let runtime = on.builder().build().named("building the runtime")?;
    let Cells { cells, mut states } = Cells::launch(&runtime)?;
    let copied = || Ok::<_, String>(block_on(runtime.stats()).named("statistics")?.copied_bytes);
    let before = copied()?;
    let mut port = runtime.port(WINDOW as u32).named("opening a port")?;
    let mut asked = VecDeque::with_capacity(WINDOW);
    about_to(format_args!("{messages} messages"));
    for n in 0..messages {
        if asked.len() == WINDOW
            && let Some((expected, ticket)) = asked.pop_front()
        {
            same("a reply", port.wait(ticket).named("a cell")?, expected)?;
        }
        let index = (n % cells.len() as u64) as usize;
        states[index] = mixed(states[index], n);
        asked.push_back((states[index], port.send(cells[index].address(), Mix { n }).named("asking")?));
    }
    for (expected, ticket) in asked {
        same("a reply", port.wait(ticket).named("a cell")?, expected)?;
    }
    let after = copied()?;
    same(format_args!("bytes copied after {messages} messages"), after, before)?;
    launch_on(&runtime, 0, Cell::new(1))?;
    let launched = copied()?;
    same("bytes copied for one more actor of 8 bytes", launched - after, 8)?;
    drop(port);
    block_on(runtime.shutdown()).named("shutting down")?;
    Outcome::passed(
        format!(
            "{before} bytes copied for {} actors, and not one more in {messages} messages, every reply as computed",
            cells.len()
        ),
        json!({ "messages": messages, "copied_before": before, "copied_after": after, "copied_by_a_launch": launched - after }),
    )
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use super::*;

    /// The host's side of the backend, over threads in place of a device.
    fn threads() -> On {
        On::new(Backend::Cuda(CudaOptions::default().on_threads()), None)
    }

    fn passed(answer: Answer) -> (String, Value) {
        match answer {
            Ok(Outcome::Passed { found, details }) => (found, details),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_grid_hibernates_and_its_state_is_there_on_threads_and_in_the_simulator() {
        let (found, details) = passed(hibernate(&threads()));
        assert!(details["hibernations"].as_u64() >= Some(200), "{found}");
        assert!(details["wake_up"]["p99_ns"].as_f64() > Some(0.0), "{details}");
        let (found, details) = passed(hibernate(&On::new(Backend::Sim(Default::default()), None)));
        assert!(details["hibernations"].as_u64() >= Some(8), "{found}");
        assert!(details["wake_up"].is_null(), "its time is virtual: {details}");
    }

    #[test]
    fn asks_go_on_beside_other_work_and_slow_work_is_no_failure() {
        let (found, details) = passed(asks_beside(&threads(), |_| {
            std::thread::sleep(Duration::from_millis(50));
            Ok(("a nap".to_owned(), json!({ "naps": 1 })))
        }));
        assert!(found.ends_with("a nap") && details["asks"].as_u64() > Some(10), "{found}");
        assert_eq!(details["work"]["naps"], 1);
    }

    #[test]
    fn other_work_that_fails_fails_the_step_and_so_does_a_machine_without_a_device() {
        let failed = asks_beside(&threads(), |_| Err("no room".to_owned())).unwrap_err();
        assert!(failed.starts_with("the other work, beside ") && failed.ends_with(": no room"), "{failed}");
        if warpring::devices().is_ok_and(|devices| !devices.is_empty()) {
            return println!("skipped: there is a device");
        }
        assert!(beside(&threads()).unwrap_err().contains("CUDA"));
    }

    #[test]
    fn the_kernels_are_prepared_for_a_grid_only() {
        assert!(prepare(threads().backend()).unwrap().is_some());
        assert!(prepare(&Backend::Cpu).unwrap().is_none());
    }

    #[test]
    fn a_device_that_is_lost_beside_other_work_fails_the_step() {
        let failing = On::new(Backend::Cuda(CudaOptions::default().on_threads_that_fail(Duration::from_millis(100))), None);
        let lost = asks_beside(&failing, |enough| {
            while !enough.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            Ok(("nothing".to_owned(), Value::Null))
        });
        assert!(lost.unwrap_err().starts_with("an ask beside other work: "));
    }

    #[test]
    fn messages_copy_nothing_and_a_launch_does() {
        let (found, details) = passed(copies_over(&threads(), 20_000));
        assert_eq!((&details["copied_by_a_launch"], &details["messages"]), (&8.into(), &20_000.into()), "{found}");
        assert_eq!(details["copied_before"], details["copied_after"]);
    }
}
