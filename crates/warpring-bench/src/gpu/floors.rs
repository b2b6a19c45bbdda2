//! The floors: the kernels of `floors.ptx`, each launched in its shape, ended by its own limits, and checked.

use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cudarc::driver::sys::CUdevice_attribute as Attribute;
use serde::Serialize;

use super::device::{Device, GpuError, PATIENCE, Shape};
use super::{Dice, Hops, Pair};
use crate::{Clock, Figure, Times};

/// The kernels.
pub(super) const PTX: &str = include_str!("floors.ptx");

/// A kernel that waits for a line gives up after so long.
const LIMIT_NS: u64 = 3_000_000_000;
/// Batches of a pair, the first of which is the warm-up.
const BATCHES: u32 = 33;
/// Round trips in a batch between multiprocessors.
const ROUNDS: u32 = 64;
/// Round trips in a batch within one multiprocessor, where they are short.
const ROUNDS_WITHIN: u32 = 1024;
/// Pairs of multiprocessors that are sampled.
const PAIRS: u32 = 64;
/// Each pair has a line of its own somewhere in so many bytes, because where a line lies in the second-level cache matters.
const LINES_BYTES: u64 = 4 << 20;
/// Round trips of an echo that are not counted, and that are.
const ECHO_WARM_UP: u32 = 10_000;
const ECHOES: u32 = 200_000;
/// The same of an echo by launches, which are slower.
const LAUNCH_WARM_UP: u32 = 1_000;
const LAUNCHES: u32 = 20_000;
/// An echo by launches is measured for so long at most.
const LAUNCHES_FOR: Duration = Duration::from_secs(1);
/// Bytes that one copy moves.
const COPY_BYTES: usize = 1 << 30;
/// Copies that are timed; the median counts.
const COPIES: usize = 12;

/// A kind of ping-pong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ping {
    Line,
    Fenced,
    BlockGlobal,
    BlockShared,
}

impl Ping {
    const ALL: [Self; 4] = [Self::Line, Self::Fenced, Self::BlockGlobal, Self::BlockShared];

    const fn kernel(self) -> &'static CStr {
        match self {
            Self::Line => c"line_ping_pong",
            Self::Fenced => c"fenced_ping_pong",
            Self::BlockGlobal => c"block_ping_pong_global",
            Self::BlockShared => c"block_ping_pong_shared",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Line => "line-ping-pong",
            Self::Fenced => "fenced-ping-pong",
            Self::BlockGlobal => "line-ping-pong-in-a-block-global",
            Self::BlockShared => "line-ping-pong-in-a-block-shared",
        }
    }

    const fn within_a_block(self) -> bool {
        matches!(self, Self::BlockGlobal | Self::BlockShared)
    }
}

/// All floors of a device, as far as they could be measured.
#[derive(Clone, Debug, Serialize)]
pub struct Floors {
    /// The device, as it calls itself.
    pub device: String,
    /// Cycles per nanosecond of a multiprocessor, by `%clock64` over `%globaltimer` in a kernel of 200 ms before all others.
    pub cycles_per_ns: f64,
    /// One way of a line of 16 bytes between two multiprocessors, without a fence: half a round trip.
    pub line: Option<Hops>,
    /// The same with the payload stored before a release of the flag, and loaded after an acquire.
    pub fenced: Option<Hops>,
    /// One way of a line in global memory between two warps of a block.
    pub block_global: Option<Hops>,
    /// The same in shared memory.
    pub block_shared: Option<Hops>,
    /// Host to a persistent kernel and back, through pinned memory.
    pub echo: Option<Figure>,
    /// The same by `cuLaunchKernel` and `cuStreamSynchronize`.
    pub launch: Option<Figure>,
    /// The same by a graph of one kernel.
    pub graph: Option<Figure>,
    /// Bytes per second that a copy within device memory reads and writes, both counted.
    pub bytes_per_second: Option<f64>,
    /// What could not be measured, and why.
    pub failed: Vec<(String, String)>,
}

impl Floors {
    /// None of them, because of this.
    pub fn unmeasured(why: &GpuError) -> Self {
        Self {
            device: String::new(),
            cycles_per_ns: 0.0,
            line: None,
            fenced: None,
            block_global: None,
            block_shared: None,
            echo: None,
            launch: None,
            graph: None,
            bytes_per_second: None,
            failed: vec![("all floors".to_owned(), why.to_string())],
        }
    }

    /// Messages of 64 bytes that the device's memory could take in a second.
    pub fn messages_per_second(&self) -> Option<f64> {
        self.bytes_per_second.map(|bytes| bytes / 64.0)
    }
}

/// Measures all floors of a device. `about_to` hears what comes next.
///
/// Nothing else may run on the device, and no grid of the framework: memory is allocated and freed.
///
/// # Errors
/// [`GpuError`] where the device cannot be opened. A floor that cannot be measured is in [`Floors::failed`].
pub fn floors(index: u32, clock: Clock, mut about_to: impl FnMut(&str)) -> Result<Floors, GpuError> {
    about_to("opening the device for the floors");
    let device = Device::open(index, PTX)?;
    let mut failed = Vec::new();
    let cycles_per_ns = warm(&device)?;
    let mut hops = Ping::ALL.map(|ping| {
        let result = measure(&device, ping.name(), &mut about_to, || ping_pong(&device, ping));
        result.map_err(|why| failed.push((ping.name().to_owned(), why))).ok()
    });
    let [line, fenced, block_global, block_shared] = &mut hops;
    let mut try_one = |name: &'static str, floor: &dyn Fn() -> Result<Figure, GpuError>| {
        measure(&device, name, &mut about_to, floor).map_err(|why| failed.push((name.to_owned(), why))).ok()
    };
    let echo = try_one("pinned-echo", &|| pinned_echo(&device, clock));
    let launch = try_one("launch-and-synchronise", &|| by_launches(&device, clock, false));
    let graph = try_one("graph-launch-and-synchronise", &|| by_launches(&device, clock, true));
    let bandwidth = measure(&device, "memory-bandwidth", &mut about_to, || bandwidth(&device));
    let bytes_per_second = bandwidth.map_err(|why| failed.push(("memory-bandwidth".to_owned(), why))).ok();
    Ok(Floors {
        device: device.info().to_string(),
        cycles_per_ns,
        line: line.take(),
        fenced: fenced.take(),
        block_global: block_global.take(),
        block_shared: block_shared.take(),
        echo,
        launch,
        graph,
        bytes_per_second,
        failed,
    })
}

/// One floor, if the device still answers.
fn measure<T>(
    device: &Device,
    name: &str,
    about_to: &mut dyn FnMut(&str),
    floor: impl FnOnce() -> Result<T, GpuError>,
) -> Result<T, String> {
    if device.is_stuck() {
        return Err("not measured, because something before it has not ended".to_owned());
    }
    about_to(name);
    floor().map_err(|error| error.to_string())
}

/// Keeps all multiprocessors busy for 200 ms, so that the clocks rise; cycles per nanosecond.
fn warm(device: &Device) -> Result<f64, GpuError> {
    let out = device.memory(16)?;
    let shape = Shape { blocks: device.info().multiprocessors, threads: 128, shared: 0, cooperative: false };
    // SAFETY: as the kernel's parameters want it; `out` lives until the device is closed.
    unsafe { device.launch(device.kernel(c"warm")?, shape, &[out, 200_000_000])? };
    device.wait("the kernel warm", PATIENCE)?;
    match device.read(out, 2)?[..] {
        [cycles, nanoseconds] if cycles > 0 && nanoseconds > 0 => Ok(cycles as f64 / nanoseconds as f64),
        ref other => Err(GpuError::Wrong { what: format!("the clocks of the device stand still: {other:?}") }),
    }
}

/// What a player of a ping-pong leaves; see `floors.ptx`.
#[derive(Debug)]
struct Player<'a> {
    received: u64,
    wrong: u64,
    multiprocessor: u64,
    gave_up: u64,
    nanoseconds: u64,
    cycles: u64,
    batches: &'a [u64],
}

/// Words that a player leaves before those of the batches.
const PLAYER_WORDS: usize = 8;

impl<'a> Player<'a> {
    fn of(words: &'a [u64]) -> Result<Self, GpuError> {
        let [received, wrong, multiprocessor, gave_up, t0, t1, c0, c1, batches @ ..] = words else {
            return Err(GpuError::Wrong { what: format!("a player left {} words", words.len()) });
        };
        Ok(Self {
            received: *received,
            wrong: *wrong,
            multiprocessor: *multiprocessor,
            gave_up: *gave_up,
            nanoseconds: t1.wrapping_sub(*t0),
            cycles: c1.wrapping_sub(*c0),
            batches,
        })
    }

    /// The hops of each batch but the first, in nanoseconds: half a round trip, by this multiprocessor's clock, whose rate is taken
    /// against `%globaltimer` over all of these batches.
    fn hops_ns(&self, rounds: u32) -> Result<Vec<f64>, GpuError> {
        let all = self.batches.len() as u64 * u64::from(rounds);
        if self.wrong != 0 || self.gave_up != 0 || self.received != all {
            return Err(GpuError::Wrong {
                what: format!(
                    "a player on multiprocessor {} received {} lines of {all}{}{}",
                    self.multiprocessor,
                    self.received,
                    if self.wrong == 0 { "" } else { ", some of them wrong" },
                    if self.gave_up == 0 { "" } else { ", and gave up" },
                ),
            });
        }
        let sum: u64 = self.batches.iter().skip(1).sum();
        if self.nanoseconds == 0 || self.cycles == 0 || sum != self.cycles {
            return Err(GpuError::Wrong {
                what: format!("{} cycles in {} ns, and {sum} cycles in the batches", self.cycles, self.nanoseconds),
            });
        }
        let cycles_per_ns = self.cycles as f64 / self.nanoseconds as f64;
        Ok(self.batches.iter().skip(1).map(|cycles| *cycles as f64 / cycles_per_ns / f64::from(rounds) / 2.0).collect())
    }
}

fn ping_pong(device: &Device, ping: Ping) -> Result<Hops, GpuError> {
    let kernel = device.kernel(ping.kernel())?;
    let words = PLAYER_WORDS + BATCHES as usize;
    let multiprocessors = device.info().multiprocessors;
    let lines = device.memory(LINES_BYTES as usize)?;
    let out = device.memory(2 * words * 8)?;
    let mut dice = Dice(0x0005_eed0_f1a5);
    let (shape, rounds, pairs) = if ping.within_a_block() {
        (Shape { blocks: 1, threads: 64, shared: 0, cooperative: false }, ROUNDS_WITHIN, 16)
    } else {
        if multiprocessors < 2 {
            return Err(GpuError::Missing { what: "second multiprocessor" });
        }
        // More than half of a multiprocessor's shared memory for each block, so that no two of them share one.
        let all = device.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)?;
        let most = device.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let shared = (all / 2 + 1024).min(most);
        device.allow_shared(kernel, shared)?;
        (Shape { blocks: multiprocessors, threads: 32, shared, cooperative: true }, ROUNDS, PAIRS)
    };
    let mut times = Times::new();
    let mut found = Vec::new();
    for _ in 0..pairs {
        let (a, b) = if ping.within_a_block() { (0, 1) } else { dice.two_below(multiprocessors) };
        let line = lines + u64::from(dice.below((LINES_BYTES / 128) as u32)) * 128;
        device.clear(line, 16)?;
        device.clear(out, 2 * words * 8)?;
        let arguments = [line, out, a.into(), b.into(), rounds.into(), BATCHES.into(), LIMIT_NS];
        // SAFETY: as the kernel's parameters want it: a line of 16 bytes, and room for what two players leave.
        unsafe { device.launch(kernel, shape, &arguments)? };
        device.wait(ping.name(), PATIENCE)?;
        let left = device.read(out, 2 * words)?;
        let (first, second) = left.split_at(words);
        let (first, second) = (Player::of(first)?, Player::of(second)?);
        // The second one's batches are checked as well; the times are the first one's.
        second.hops_ns(rounds)?;
        let hops = first.hops_ns(rounds)?;
        let (m, n) = (first.multiprocessor as u32, second.multiprocessor as u32);
        if (m == n) != ping.within_a_block() {
            return Err(GpuError::Wrong { what: format!("the players ran on multiprocessors {m} and {n}") });
        }
        hops.iter().for_each(|hop| times.record_ns(*hop));
        found.push(Pair::of(m, n, &hops));
    }
    device.free(lines)?;
    let mut hops = Hops::of(ping.name(), times, found);
    hops.figure = hops.figure.backend("floor").note(&format!(
        "one way is half of a round trip: %clock64 of one multiprocessor, its rate by %globaltimer in the same run; each count is a \
         batch of {rounds} round trips, every line checked by both sides"
    ));
    Ok(hops)
}

/// What the echo makes of (x, y) after a history `h`: the answer, whose first half is the next history.
const fn echoed(h: u32, x: u32, y: u32) -> (u32, u32) {
    let x = x.wrapping_mul(1_664_525).wrapping_add(h);
    (x, y ^ x)
}

/// The host's end of an echo: a line each way in pinned memory.
struct Lines<'a> {
    request: &'a [AtomicU64],
    reply: &'a [AtomicU64],
    history: u32,
    sequence: u32,
}

/// Words from one line to the other, so that they share no line of any cache.
const APART: usize = 32;

impl<'a> Lines<'a> {
    /// In so many words of pinned memory, and where the device sees the lines.
    fn new(device: &'a Device) -> Result<(Self, u64, u64), GpuError> {
        let (words, at) = device.pinned(2 * APART)?;
        let (request, reply) = words.split_at(APART);
        Ok((Self { request, reply, history: 0, sequence: 0 }, at, at + (APART * 8) as u64))
    }

    /// Writes the next request.
    #[inline]
    fn send(&mut self) -> (u32, u32) {
        self.sequence += 1;
        let (x, y) = (self.sequence.wrapping_mul(0x9e37_79b9), !self.sequence);
        let half = |value: u32| u64::from(self.sequence) | u64::from(value) << 32;
        // Each half carries the sequence, so their order does not matter; release, so that neither waits for anything later.
        self.request[0].store(half(x), Ordering::Release);
        self.request[1].store(half(y), Ordering::Release);
        (x, y)
    }

    /// The reply, if it is there.
    #[inline]
    fn reply(&self) -> Option<(u32, u32)> {
        let (first, second) = (self.reply[0].load(Ordering::Acquire), self.reply[1].load(Ordering::Acquire));
        (first as u32 == self.sequence && second as u32 == self.sequence).then_some(((first >> 32) as u32, (second >> 32) as u32))
    }

    /// Checks a reply to a request.
    #[inline]
    fn check(&mut self, (x, y): (u32, u32), reply: (u32, u32)) -> Result<(), GpuError> {
        let expected = echoed(self.history, x, y);
        self.history = expected.0;
        if reply == expected {
            return Ok(());
        }
        Err(GpuError::Wrong { what: format!("echo {}: found {reply:x?}, expected {expected:x?}", self.sequence) })
    }
}

fn pinned_echo(device: &Device, clock: Clock) -> Result<Figure, GpuError> {
    const STOP: u32 = u32::MAX;
    let (mut lines, request, reply) = Lines::new(device)?;
    let out = device.memory(16)?;
    let kernel = device.kernel(c"echo")?;
    // Longer than the round trips may take, and then the kernel ends whatever the host does.
    let limit = 6_000_000_000;
    // SAFETY: as the kernel's parameters want it; all of it lives until the device is closed.
    unsafe { device.launch(kernel, Shape::ONE, &[request, reply, out, STOP.into(), limit])? };
    let result = echo_trips(device, clock, &mut lines);
    // Whatever came of it, the kernel is told to end.
    lines.request[0].store(STOP.into(), Ordering::Release);
    device.wait("the kernel echo", PATIENCE)?;
    let times = result?;
    let left = device.read(out, 2)?;
    if left[..] != [u64::from(lines.sequence), 0] {
        return Err(GpuError::Wrong { what: format!("the echo answered {left:?}, and {} were sent", lines.sequence) });
    }
    let figure = Figure::alone("pinned-echo", &crate::Slice::Times(times)).backend("floor");
    Ok(figure
        .note("the host spins without a pause; every answer depends on its request and on all answers before, and is checked"))
}

fn echo_trips(device: &Device, clock: Clock, lines: &mut Lines<'_>) -> Result<Times, GpuError> {
    let mut times = Times::new();
    for trip in 0..ECHO_WARM_UP + ECHOES {
        let started = clock.now();
        let sent = lines.send();
        let mut looks = 0_u32;
        let answer = loop {
            if let Some(answer) = lines.reply() {
                break answer;
            }
            looks += 1;
            // Some ten milliseconds without an answer: has the kernel ended?
            if looks.is_multiple_of(1 << 20) && device.idle()? {
                return Err(GpuError::Wrong { what: format!("the echo ended before it answered request {}", lines.sequence) });
            }
        };
        let took = clock.now() - started;
        lines.check(sent, answer)?;
        if trip >= ECHO_WARM_UP {
            times.record_ns(clock.nanoseconds(took));
        }
    }
    Ok(times)
}

fn by_launches(device: &Device, clock: Clock, as_graph: bool) -> Result<Figure, GpuError> {
    let (mut lines, request, reply) = Lines::new(device)?;
    let history = device.memory(16)?;
    let kernel = device.kernel(c"echo_once")?;
    let arguments = [request, reply, history];
    // SAFETY: as the kernel's parameters want it; all of it lives until the device is closed.
    let graph = if as_graph { Some(unsafe { device.graph(kernel, Shape::ONE, &arguments)? }) } else { None };
    let mut times = Times::new();
    let start = Instant::now();
    for trip in 0..LAUNCH_WARM_UP + LAUNCHES {
        let started = clock.now();
        let sent = lines.send();
        match graph {
            Some(graph) => device.launch_graph(graph)?,
            // SAFETY: as above.
            None => unsafe { device.launch(kernel, Shape::ONE, &arguments)? },
        }
        device.synchronise()?;
        let answer = lines.reply();
        let took = clock.now() - started;
        let Some(answer) = answer else {
            return Err(GpuError::Wrong { what: format!("launch {} ended without an answer", lines.sequence) });
        };
        lines.check(sent, answer)?;
        if trip >= LAUNCH_WARM_UP {
            times.record_ns(clock.nanoseconds(took));
            if start.elapsed() > LAUNCHES_FOR {
                break;
            }
        }
    }
    let (name, note) = if as_graph {
        ("graph-launch-and-synchronise", "cuGraphLaunch of one kernel and cuStreamSynchronize, every answer checked")
    } else {
        ("launch-and-synchronise", "cuLaunchKernel and cuStreamSynchronize, every answer checked")
    };
    Ok(Figure::alone(name, &crate::Slice::Times(times)).backend("floor").note(note))
}

fn bandwidth(device: &Device) -> Result<f64, GpuError> {
    let (from, to) = (device.memory(COPY_BYTES)?, device.memory(COPY_BYTES)?);
    let mut rates = Vec::with_capacity(COPIES);
    for copy in 0..COPIES + 2 {
        let began = device.event()?;
        // SAFETY: both areas are so large, and are freed after the wait.
        unsafe { device.copy(to, from, COPY_BYTES)? };
        let ended = device.event()?;
        device.wait("a copy within device memory", PATIENCE)?;
        // The first two are the warm-up.
        if copy >= 2 {
            rates.push(2.0 * COPY_BYTES as f64 / device.seconds(began, ended)?);
        }
    }
    device.free(from)?;
    device.free(to)?;
    Ok(crate::slice::median(&rates))
}

#[cfg(test)]
mod tests {
    use super::*;
    use warpring_build::ptxas::{Ptxas, PtxasError};

    const KERNELS: [&str; 7] =
        ["line_ping_pong", "fenced_ping_pong", "block_ping_pong_global", "block_ping_pong_shared", "echo", "echo_once", "warm"];

    #[test]
    fn every_architecture_takes_the_kernels_and_none_spills() {
        let ptxas = match Ptxas::find() {
            Ok(ptxas) => ptxas,
            Err(error @ PtxasError::Missing) => return println!("skipped: {error}"),
            Err(error) => panic!("{error}"),
        };
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gpu/floors.ptx");
        for arch in ["sm_70", "sm_80", "sm_90", "sm_100"] {
            let usages = ptxas.assemble(&path, arch).unwrap();
            for kernel in KERNELS {
                let usage = usages.iter().find(|usage| usage.name == kernel).unwrap_or_else(|| panic!("{kernel} on {arch}"));
                assert_eq!((usage.stack_bytes, usage.spill_bytes()), (0, 0), "{kernel} on {arch}");
            }
            assert_eq!(usages.len(), KERNELS.len(), "{arch}");
        }
    }

    fn player(words: &[u64]) -> Result<Vec<f64>, String> {
        Player::of(words).and_then(|player| player.hops_ns(10)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_hop_is_half_a_round_trip_by_the_clock_of_the_same_run() {
        // 3 batches of 10 round trips; the second and third took 4,000 and 8,000 cycles, at 2 cycles a nanosecond.
        let good = [30, 0, 5, 0, 1_000, 7_000, 500, 12_500, 99_999, 4_000, 8_000];
        assert_eq!(player(&good), Ok(vec![100.0, 200.0]));
        for (word, value, why) in [
            (0, 29, "a player on multiprocessor 5 received 29 lines of 30"),
            (1, 8, "received 30 lines of 30, some of them wrong"),
            (3, 1, "received 30 lines of 30, and gave up"),
            (5, 1_000, "12000 cycles in 0 ns, and 12000 cycles in the batches"),
            (9, 3_999, "12000 cycles in 6000 ns, and 11999 cycles in the batches"),
        ] {
            let mut bad = good;
            bad[word] = value;
            let said = player(&bad).unwrap_err();
            assert!(said.ends_with(why), "{said}");
        }
        assert!(player(&[1, 2]).is_err());
    }

    #[test]
    fn without_a_device_the_floors_are_an_error_that_says_so() {
        if warpring::devices().is_ok_and(|devices| !devices.is_empty()) {
            return println!("skipped: there is a device, where `warpring accept` measures the floors");
        }
        let error = floors(0, Clock::calibrate(), |_| {}).unwrap_err();
        assert!(matches!(error, GpuError::Device(_)), "{error:?}");
        assert!(error.to_string().contains("driver"), "{error}");
    }
}
