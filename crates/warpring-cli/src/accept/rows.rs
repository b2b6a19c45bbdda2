//! The rows of a GPU: each figure beside the floor of the same run, and what it must reach.

use super::gpu::index;
use super::step::{Answer, On, Outcome, about_to};
use serde_json::{Value, json};
use warpring_bench::gpu::figures::{Amount, Figures, Stream, figures};
use warpring_bench::gpu::{Floors, floors};
use warpring_bench::{Clock, Figure};

/// An ask by the host takes at most so many times the smallest echo.
const HOST_OVER_ECHO: f64 = 1.3;
/// An ask by the host is at least so many times faster than a launch.
const LAUNCH_OVER_HOST: f64 = 2.0;
/// One way to another block takes at most so many times the ping-pong of a line.
const HOP_OVER_LINE: f64 = 1.3;
/// One way to another block, in nanoseconds.
const OTHER_BLOCK_NS: f64 = 500.0;
/// One way within a block, in nanoseconds.
const SAME_BLOCK_NS: f64 = 200.0;
/// Messages per second between actors of all multiprocessors.
const ALL_PAIRS: f64 = 100e6;

/// A figure, its floor, and what it must reach.
#[derive(Debug)]
struct Row {
    name: &'static str,
    unit: &'static str,
    value: Option<f64>,
    floor: Option<(&'static str, f64)>,
    /// What it must reach and does not.
    misses: Vec<String>,
}

impl Row {
    fn new(name: &'static str, unit: &'static str, value: Option<f64>) -> Self {
        let misses = if value.is_some() { Vec::new() } else { vec!["it was not measured".to_owned()] };
        Self { name, unit, value, floor: None, misses }
    }

    /// Beside a floor; without it the row does not hold.
    fn beside(mut self, name: &'static str, floor: Option<f64>) -> Self {
        match floor {
            Some(floor) => self.floor = Some((name, floor)),
            None => self.misses.push(format!("its floor {name} was not measured")),
        }
        self
    }

    fn ratio(&self) -> Option<f64> {
        Some(self.value? / self.floor?.1)
    }

    /// What is true of a value that is there.
    fn must(mut self, holds: Option<bool>, what: String) -> Self {
        if holds == Some(false) {
            self.misses.push(what);
        }
        self
    }

    fn at_most(self, most: f64) -> Self {
        let holds = self.value.map(|value| value <= most);
        let what = format!("it must be at most {most} {}", self.unit);
        self.must(holds, what)
    }

    fn at_most_times_the_floor(self, most: f64) -> Self {
        let holds = self.ratio().map(|ratio| ratio <= most);
        self.must(holds, format!("it must be at most {most} times its floor"))
    }

    fn at_least(self, least: f64) -> Self {
        let holds = self.value.map(|value| value >= least);
        let what = format!("it must be at least {}", in_words(least, self.unit));
        self.must(holds, what)
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": self.unit,
            "value": self.value,
            "floor": self.floor.map(|floor| floor.0),
            "floor_value": self.floor.map(|floor| floor.1),
            "ratio": self.ratio(),
            "misses": self.misses,
        })
    }

    fn line(&self) -> String {
        let Some(value) = self.value else { return format!("{}: {}", self.name, self.misses.join(", ")) };
        let floor = self
            .floor
            .zip(self.ratio())
            .map_or(String::new(), |((name, floor), ratio)| format!(" ({ratio:.2} of {name}, {})", in_words(floor, self.unit)));
        let misses = if self.misses.is_empty() { String::new() } else { format!(", but {}", self.misses.join(" and ")) };
        format!("{} {}{floor}{misses}", self.name, in_words(value, self.unit))
    }
}

fn in_words(value: f64, unit: &str) -> String {
    if unit == "/s" { format!("{:.1} M/s", value / 1e6) } else { format!("{value:.0} {unit}") }
}

/// Measures the floors, then the framework's figures, which must not be at once: floors allocate and free.
///
/// # Errors
/// Figures that could not be begun. One that misses what it must reach is an outcome with all the others.
pub fn measure(on: &On) -> Answer {
    measure_so(on, None, Amount::full())
}

fn measure_so(on: &On, workers: Option<u32>, amount: Amount) -> Answer {
    let clock = Clock::calibrate();
    let floors = floors(index(on), clock, |what| about_to(what)).unwrap_or_else(|error| Floors::unmeasured(&error));
    let found = figures(on.backend(), workers, amount, clock, |what| about_to(what)).map_err(|error| error.to_string())?;
    outcome(&floors, &found)
}

fn outcome(floors: &Floors, found: &Figures) -> Answer {
    let rows = rows(floors, found);
    let missed = rows.iter().filter(|row| !row.misses.is_empty()).count();
    let json = |error: serde_json::Error| format!("the figures are not JSON: {error}");
    let details = json!({
        "rows": rows.iter().map(Row::json).collect::<Vec<_>>(),
        "floors": serde_json::to_value(floors).map_err(json)?,
        "figures": serde_json::to_value(found).map_err(json)?,
    });
    let mut lines: Vec<String> = rows.iter().map(Row::line).collect();
    lines.extend(floors.failed.iter().chain(&found.failed).map(|(name, why)| format!("{name}: {why}")));
    let lines = lines.join("; ");
    if missed == 0 && floors.failed.is_empty() && found.failed.is_empty() {
        return Outcome::passed(lines, details);
    }
    Outcome::missed(format!("{missed} of {} rows do not hold: {lines}", rows.len()), details)
}

fn rows(floors: &Floors, found: &Figures) -> Vec<Row> {
    let p50 = |figure: &Option<Figure>| figure.as_ref()?.p50_ns;
    let of =
        |streams: &[Stream], bytes| streams.iter().find(|stream| stream.payload_bytes == bytes).map(|stream| stream.per_second);
    let line = floors.line.as_ref().map(|hops| hops.median_pair_ns);
    let within = floors.block_global.as_ref().map(|hops| hops.median_pair_ns);
    let (echo, launch, graph) = (p50(&floors.echo), p50(&floors.launch), p50(&floors.graph));
    let memory = floors.messages_per_second();
    let host = p50(&found.host_spins);
    let mut rows = vec![
        Row::new("same block", "ns", found.same_worker.as_ref().map(|hops| hops.median_pair_ns))
            .beside("line-ping-pong-in-a-block-global", within)
            .at_most(SAME_BLOCK_NS),
        Row::new("other block", "ns", found.other_worker.as_ref().map(|hops| hops.median_pair_ns))
            .beside("line-ping-pong", line)
            .at_most(OTHER_BLOCK_NS)
            .at_most_times_the_floor(HOP_OVER_LINE),
        Row::new("a line with a fence", "ns", floors.fenced.as_ref().map(|hops| hops.median_pair_ns))
            .beside("line-ping-pong", line),
        Row::new("host and back", "ns", host).beside("pinned-echo", echo).at_most_times_the_floor(HOST_OVER_ECHO).must(
            host.zip(launch).map(|(host, launch)| launch >= LAUNCH_OVER_HOST * host),
            format!("a launch must take at least {LAUNCH_OVER_HOST} times as long"),
        ),
        Row::new("host and back, awaited", "ns", p50(&found.host_awaits)).beside("pinned-echo", echo),
        Row::new("by a launch", "ns", launch).beside("pinned-echo", echo),
        Row::new("by a graph", "ns", graph).beside("pinned-echo", echo),
        Row::new("one pair, 8 bytes", "/s", of(&found.one_pair, 8)).beside("memory-bandwidth / 64 B", memory),
        Row::new("all pairs, 8 bytes", "/s", of(&found.all_pairs, 8))
            .beside("memory-bandwidth / 64 B", memory)
            .at_least(ALL_PAIRS),
    ];
    for (name, bytes) in [("all pairs, 32 bytes", 32), ("all pairs, 88 bytes", 88), ("all pairs, 424 bytes", 424)] {
        rows.push(Row::new(name, "/s", of(&found.all_pairs, bytes)).beside("memory-bandwidth / 64 B", memory));
    }
    let many = found.many.as_ref();
    rows.push(
        Row::new("a million actors, told by actors", "/s", many.map(|many| many.told_by_actors_per_second))
            .beside("memory-bandwidth / 64 B", memory),
    );
    rows.push(
        Row::new("a million actors, asked by the host", "/s", many.map(|many| many.asked_by_host_per_second))
            .beside("memory-bandwidth / 64 B", memory),
    );
    rows.push(Row::new("launch of one of a million", "ns", many.map(|many| many.launch_ns_each)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use warpring_bench::gpu::figures::Many;
    use warpring_bench::gpu::{GpuError, Hops};

    fn hops(name: &str, ns: f64) -> Option<Hops> {
        let figure = Figure { p50_ns: Some(ns), ..Figure::named(name, 1) };
        Some(Hops { figure, median_pair_ns: ns, least_pair_ns: ns, most_pair_ns: ns, pairs: Vec::new() })
    }

    fn trip(name: &str, ns: f64) -> Option<Figure> {
        Some(Figure { p50_ns: Some(ns), ..Figure::named(name, 1) })
    }

    fn floors() -> Floors {
        let mut floors = Floors::unmeasured(&GpuError::Missing { what: "anything" });
        floors.failed.clear();
        (floors.line, floors.fenced) = (hops("line", 350.0), hops("fenced", 600.0));
        (floors.block_global, floors.block_shared) = (hops("global", 40.0), hops("shared", 20.0));
        (floors.echo, floors.launch, floors.graph) = (trip("echo", 1500.0), trip("launch", 7000.0), trip("graph", 6500.0));
        floors.bytes_per_second = Some(4e12);
        floors
    }

    fn found() -> Figures {
        let stream = |bytes, per_second| Stream { payload_bytes: bytes, pairs: 2, messages: 10, nanoseconds: 1, per_second };
        let streams = |rate: f64| [8, 32, 88, 424].map(|bytes| stream(bytes, rate)).to_vec();
        Figures {
            device: "none".into(),
            workers: 2,
            same_worker: hops("same", 150.0),
            other_worker: hops("other", 440.0),
            host_spins: trip("spins", 1900.0),
            host_awaits: trip("awaits", 2500.0),
            one_pair: streams(3e6),
            all_pairs: streams(150e6),
            many: Some(Many {
                actors: 10,
                launch_ns_each: 10.0,
                state_bytes_each: 8.0,
                told_by_actors_per_second: 1e8,
                asked_by_host_per_second: 1e6,
                window: 256,
            }),
            failed: Vec::new(),
        }
    }

    fn missed(floors: &Floors, found: &Figures) -> Vec<(&'static str, String)> {
        rows(floors, found).into_iter().flat_map(|row| row.misses.into_iter().map(move |miss| (row.name, miss))).collect()
    }

    #[test]
    fn figures_within_their_thresholds_pass_with_all_that_was_found() {
        let Ok(Outcome::Passed { found, details }) = outcome(&floors(), &found()) else {
            panic!("{:?}", missed(&floors(), &found()))
        };
        assert!(found.contains("other block 440 ns (1.26 of line-ping-pong, 350 ns)"), "{found}");
        assert!(found.contains("all pairs, 8 bytes 150.0 M/s"), "{found}");
        assert_eq!(details["rows"].as_array().unwrap().len(), 15);
        assert_eq!(details["floors"]["echo"]["p50_ns"], 1500.0);
    }

    #[test]
    fn each_threshold_is_missed_by_itself_and_keeps_the_figures() {
        type Change = fn(&mut Floors, &mut Figures);
        let cases: [(Change, &str, &str); 7] = [
            (|_, f| f.same_worker = hops("same", 201.0), "same block", "it must be at most 200 ns"),
            (|_, f| f.other_worker = hops("other", 460.0), "other block", "it must be at most 1.3 times its floor"),
            (
                |floors, f| (floors.line, f.other_worker) = (hops("line", 480.0), hops("other", 501.0)),
                "other block",
                "it must be at most 500 ns",
            ),
            (|_, f| f.host_spins = trip("spins", 1951.0), "host and back", "it must be at most 1.3 times its floor"),
            (|floors, _| floors.launch = trip("launch", 3700.0), "host and back", "a launch must take at least 2 times as long"),
            (|_, f| f.all_pairs[0].per_second = 99e6, "all pairs, 8 bytes", "it must be at least 100.0 M/s"),
            (|_, f| f.many = None, "launch of one of a million", "it was not measured"),
        ];
        for (change, row, why) in cases {
            let (mut floors, mut found) = (floors(), found());
            change(&mut floors, &mut found);
            assert!(missed(&floors, &found).contains(&(row, why.to_owned())), "{row}: {:?}", missed(&floors, &found));
            let Ok(Outcome::Missed { found, details }) = outcome(&floors, &found) else { panic!("{row}") };
            assert!(found.contains(why) && details["rows"].is_array(), "{found}");
        }
    }

    #[test]
    fn a_floor_that_failed_is_never_a_pass() {
        let mut floors = floors();
        floors.line = None;
        assert!(missed(&floors, &found()).contains(&("other block", "its floor line-ping-pong was not measured".to_owned())));
        let none = Floors::unmeasured(&GpuError::Missing { what: "clock" });
        let Ok(Outcome::Missed { found, .. }) = outcome(&none, &found()) else { panic!() };
        assert!(found.ends_with("all floors: this device or its driver has no clock"), "{found}");
    }

    /// The whole way but for the device: figures are taken, no floor is, and the step fails with all that was found.
    #[cfg(feature = "sim")]
    #[test]
    fn on_threads_all_figures_are_taken_and_the_floors_are_missed() {
        if warpring::devices().is_ok_and(|devices| !devices.is_empty()) {
            return println!("skipped: there is a device, where `warpring accept` measures");
        }
        let threads = On::new(warpring::Backend::Cuda(warpring::CudaOptions::default().on_threads()), None);
        let Ok(Outcome::Missed { found, details }) = measure_so(&threads, Some(2), Amount::brief()) else { panic!() };
        assert!(found.contains("its floor pinned-echo was not measured") && found.contains("all floors: "), "{found}");
        let rows = details["rows"].as_array().unwrap();
        let measured = rows.iter().filter(|row| row["value"].is_number()).count();
        // Those of the framework; a line with a fence, a launch and a graph are floors themselves.
        assert_eq!((rows.len(), measured), (15, 12), "{found}");
        assert!(details["figures"]["other_worker"]["figure"]["histogram"].as_array().is_some_and(|counts| !counts.is_empty()));
        assert_eq!(details["figures"]["failed"], json!([]));
    }
}
