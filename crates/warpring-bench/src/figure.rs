//! Figures, the report that holds them, its table and its JSON.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::{Clock, Compared, Slice};

/// One measured figure. What does not apply is `None`, and absent from the JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured, such as `task-asks-actor`.
    pub name: String,
    /// The backend, where the subject is this framework's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub backend: Option<String>,
    /// The library, where the subject is a peer's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peer: Option<String>,
    /// Round trips timed singly, messages counted, or actors.
    pub n: u64,
    /// Median time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p50_ns: Option<f64>,
    /// Time that 99 % did not exceed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p99_ns: Option<f64>,
    /// Time that 99.9 % did not exceed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p999_ns: Option<f64>,
    /// Mean of a batch of round trips in which no single one is timed, the median over batches: the cross check.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub batch_mean_ns: Option<f64>,
    /// Messages per second, the median over slices.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub per_second: Option<f64>,
    /// Heap bytes per actor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bytes_per_actor: Option<f64>,
    /// Time to spawn one actor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ns_per_actor: Option<f64>,
    /// Name of the floor that was measured in alternation.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub floor: Option<String>,
    /// The floor's median time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub floor_p50_ns: Option<f64>,
    /// The floor's rate.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub floor_per_second: Option<f64>,
    /// Subject over floor, the median over pairs of slices; see [`Compared::ratio`].
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ratio: Option<f64>,
    /// Pairs of slices kept, of pairs measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slices_kept: Option<(u32, u32)>,
    /// What a reader must know to read the figure.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub note: Option<String>,
    /// Every recorded value in nanoseconds with its count.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub histogram: Option<Vec<(f64, u64)>>,
    /// The same of the floor.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub floor_histogram: Option<Vec<(f64, u64)>>,
}

impl Figure {
    /// A figure without measurement, to be filled.
    pub fn named(name: &str, n: u64) -> Figure {
        Figure { name: name.to_string(), n, ..Figure::default() }
    }

    /// A figure for itself, such as a floor.
    pub fn alone(name: &str, slice: &Slice) -> Figure {
        let mut figure = Figure::named(name, 0);
        match slice {
            Slice::Times(times) => {
                figure.n = times.count();
                figure.p50_ns = Some(times.percentile_ns(50.0));
                figure.p99_ns = Some(times.percentile_ns(99.0));
                figure.p999_ns = Some(times.percentile_ns(99.9));
                figure.batch_mean_ns = times.batch_mean_ns();
                figure.histogram = Some(times.histogram());
            }
            Slice::Rate(rate) => {
                figure.n = rate.count;
                figure.per_second = Some(rate.per_second());
            }
        }
        figure
    }

    /// A figure with its floor and their ratio.
    pub fn compared(name: &str, floor: &str, compared: &Compared) -> Figure {
        let mut figure = Figure::alone(name, &compared.subject);
        figure.floor = Some(floor.to_string());
        match &compared.floor {
            Slice::Times(times) => {
                figure.floor_p50_ns = Some(times.percentile_ns(50.0));
                figure.floor_histogram = Some(times.histogram());
            }
            Slice::Rate(rate) => figure.floor_per_second = Some(rate.per_second()),
        }
        figure.ratio = Some(compared.ratio);
        figure.slices_kept = Some((compared.kept, compared.slices));
        if compared.unsettled {
            figure = figure.note("the cores moved in every slice: no pair lay between two floors of one class");
        }
        figure
    }

    /// Names the backend.
    pub fn backend(mut self, backend: &str) -> Figure {
        self.backend = Some(backend.to_string());
        self
    }

    /// Names the peer.
    pub fn peer(mut self, peer: &str) -> Figure {
        self.peer = Some(peer.to_string());
        self
    }

    /// Adds a note.
    pub fn note(mut self, note: &str) -> Figure {
        self.note = Some(match self.note.take() {
            Some(before) => format!("{before}; {note}"),
            None => note.to_string(),
        });
        self
    }
}

/// Where figures were measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model.
    pub cpu: String,
    /// Cpus that this process may use.
    pub cores: u32,
    /// The kernel's release.
    pub kernel: String,
    /// The clock, its rate and its cost, as measured.
    pub clock: String,
    /// The machine's load over the minute before, where the system tells: other work on the same cores is in the
    /// figures.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub load_before: Option<f64>,
}

impl Machine {
    /// This machine.
    pub fn here(clock: &Clock) -> Machine {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let cpu_info = read("/proc/cpuinfo");
        let cpu = cpu_info
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, model)| model.trim()))
            .unwrap_or(std::env::consts::ARCH);
        let release = read("/proc/sys/kernel/osrelease");
        Machine {
            cpu: cpu.to_string(),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
            kernel: format!("{} {}", std::env::consts::OS, release.trim()).trim_end().to_string(),
            clock: clock.note(),
            load_before: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()),
        }
    }
}

/// All figures of one run, with machine, commit and date.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// The commit of the working directory, with `-dirty` where it has changes; `None` outside a checkout.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// When the run started: ISO 8601, UTC, to the second.
    pub date: String,
    /// What.
    pub figures: Vec<Figure>,
}

impl Report {
    /// An empty report of this machine, now.
    pub fn new(clock: &Clock) -> Report {
        let now = jiff::Timestamp::now();
        let seconds = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
        Report { machine: Machine::here(clock), commit: commit(), date: seconds.to_string(), figures: Vec::new() }
    }

    /// Adds a figure.
    pub fn push(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Prints the machine and a table: one line per figure, notes beneath.
    ///
    /// # Errors
    /// What writing gives.
    pub fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let machine = &self.machine;
        writeln!(out, "{}, {} cpus, {}", machine.cpu, machine.cores, machine.kernel)?;
        writeln!(out, "clock: {} (in every single time, not subtracted)", machine.clock)?;
        if let Some(load) = machine.load_before {
            writeln!(out, "load before: {load:.2}")?;
        }
        writeln!(out, "commit {}, {}", self.commit.as_deref().unwrap_or("unknown"), self.date)?;
        writeln!(out, "ratio: subject over floor; of times, times the floor; of rates, the part of the floor reached")?;
        writeln!(out)?;
        let rows: Vec<[String; 10]> = std::iter::once(HEADER.map(String::from)).chain(self.figures.iter().map(row)).collect();
        let mut widths = [0; 10];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in &rows {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
                // Names to the left, numbers to the right.
                match column {
                    0 | 1 | 7 => line += &format!("{cell:<width$}  "),
                    _ => line += &format!("{cell:>width$}  "),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        for figure in &self.figures {
            if let Some(note) = &figure.note {
                writeln!(out, "note: {} {}: {note}", figure.name, who(figure))?;
            }
        }
        Ok(())
    }

    /// Writes the report as JSON, with the raw histograms.
    ///
    /// # Errors
    /// What creating or writing the file gives.
    pub fn write_json(&self, path: &Path) -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        serde_json::to_writer(&mut file, self)?;
        file.write_all(b"\n")?;
        file.flush()
    }
}

const HEADER: [&str; 10] = ["figure", "subject", "p50", "p99", "p99.9", "batch mean", "per second", "floor", "of floor", "ratio"];

fn who(figure: &Figure) -> &str {
    figure.peer.as_deref().or(figure.backend.as_deref()).unwrap_or("floor")
}

fn row(figure: &Figure) -> [String; 10] {
    let time = |value: Option<f64>| value.map(nanoseconds).unwrap_or_default();
    let floor_value = time(figure.floor_p50_ns) + &figure.floor_per_second.map(rate).unwrap_or_default();
    let count = match (figure.per_second, figure.bytes_per_actor) {
        (Some(per_second), _) => rate(per_second),
        (None, Some(bytes)) => format!("{bytes:.0} B each"),
        (None, None) => String::new(),
    };
    [
        figure.name.clone(),
        who(figure).to_string(),
        // The time of a spawn has no percentiles: it is one time over the number of actors.
        time(figure.p50_ns) + &figure.ns_per_actor.map(|each| nanoseconds(each) + " each").unwrap_or_default(),
        time(figure.p99_ns),
        time(figure.p999_ns),
        time(figure.batch_mean_ns),
        count,
        figure.floor.clone().unwrap_or_default(),
        floor_value,
        figure.ratio.map(three_digits).unwrap_or_default(),
    ]
}

fn nanoseconds(value: f64) -> String {
    match value {
        v if v < 10_000.0 => format!("{v:.1} ns"),
        v if v < 10_000_000.0 => format!("{:.1} us", v / 1e3),
        v => format!("{:.1} ms", v / 1e6),
    }
}

fn three_digits(ratio: f64) -> String {
    match ratio {
        r if r < 10.0 => format!("{r:.3}"),
        r if r < 100.0 => format!("{r:.1}"),
        r => format!("{r:.0}"),
    }
}

fn rate(per_second: f64) -> String {
    match per_second {
        r if r < 1e4 => format!("{r:.0} /s"),
        r if r < 1e6 => format!("{:.1} k/s", r / 1e3),
        r => format!("{:.2} M/s", r / 1e6),
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let commit = git(&["rev-parse", "HEAD"])?;
    let dirty = git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty());
    Some(if dirty { commit + "-dirty" } else { commit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interleaved, Rate, Times};
    use serde_json::{Value, json};

    fn times(values: &[f64]) -> Slice {
        let mut times = Times::new();
        values.iter().for_each(|&value| times.record_ns(value));
        times.record_batch(3_000.0, 30);
        Slice::Times(times)
    }

    fn report(figures: Vec<Figure>) -> Report {
        let machine =
            Machine { cpu: "Abacus 3".into(), cores: 2, kernel: "linux 6.1".into(), clock: "sundial".into(), load_before: None };
        Report { machine, commit: Some("c0ffee-dirty".into()), date: "2025-01-02T03:04:05Z".into(), figures }
    }

    #[test]
    fn json_holds_what_applies_and_nothing_else() {
        let compared = Interleaved::run(1, || times(&[100.0]), || times(&[400.0, 400.0, 400.0]));
        let figure = Figure::compared("task-asks-actor", "cache-line-round-trip", &compared).peer("tokio");
        let mut value = serde_json::to_value(&figure).unwrap();
        let ratio = value["ratio"].take().as_f64().unwrap();
        assert!((ratio - 4.0).abs() < 0.01, "{ratio}");
        let object = value.as_object().unwrap();
        let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
        keys.sort_unstable();
        let expected = [
            "batch_mean_ns",
            "floor",
            "floor_histogram",
            "floor_p50_ns",
            "histogram",
            "n",
            "name",
            "p50_ns",
            "p999_ns",
            "p99_ns",
            "peer",
            "ratio",
            "slices_kept",
        ];
        assert_eq!(keys, expected);
        assert_eq!((&object["n"], &object["slices_kept"]), (&json!(3), &json!([1, 1])));
        let histogram = object["histogram"].as_array().unwrap();
        assert_eq!((histogram.len(), &histogram[0][1]), (1, &json!(3)));
    }

    #[test]
    fn a_rate_and_an_actor_count_have_their_own_fields() {
        let rate = Figure::alone("pair-one-way", &Slice::Rate(Rate::new(10, 2.0))).backend("cpu");
        assert_eq!(
            serde_json::to_value(rate).unwrap(),
            json!({"name": "pair-one-way", "backend": "cpu", "n": 10, "per_second": 5.0})
        );
        let mut actors = Figure::named("million-actors", 7).peer("p");
        actors.bytes_per_actor = Some(64.0);
        actors.ns_per_actor = Some(1.5);
        let expected = json!({"name": "million-actors", "peer": "p", "n": 7, "bytes_per_actor": 64.0,
                              "ns_per_actor": 1.5});
        assert_eq!(serde_json::to_value(actors).unwrap(), expected);
    }

    #[test]
    fn a_report_survives_its_file() {
        let before = report(vec![Figure::alone("a", &times(&[1.5, 2.5])).note("one").note("two")]);
        let path = std::env::temp_dir().join(format!("warpring-bench-{}.json", std::process::id()));
        before.write_json(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["figures"][0]["note"], "one; two");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), before);
    }

    #[test]
    fn the_table_has_a_line_per_figure_in_columns() {
        let compared = Interleaved::run(1, || times(&[100.0]), || times(&[25_000.0]));
        let mut out = Vec::new();
        let long = Figure::compared("long", "line", &compared).peer("someone").note("why");
        report(vec![Figure::alone("short", &Slice::Rate(Rate::new(3_000_000, 2.0))), long]).print(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("Abacus 3, 2 cpus") && text.contains("commit c0ffee-dirty, 2025-01-02T03:04:05Z"));
        let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("figure")).collect();
        assert_eq!(table.len(), 4);
        assert!(table[1].starts_with("short") && table[1].ends_with("1.50 M/s"), "{}", table[1]);
        assert!(table[2].contains("25.0 us") && table[2].ends_with("  250"), "{}", table[2]);
        assert_eq!(table[0].find("floor").unwrap(), table[2].find("line").unwrap());
        assert_eq!(table[3], "note: long someone: why");
    }

    #[test]
    fn this_machine_and_this_moment_are_named() {
        let report = Report::new(&Clock::calibrate());
        assert!(!report.machine.cpu.is_empty() && report.machine.cores >= 1);
        assert_eq!((report.date.len(), report.date.ends_with('Z')), (20, true), "{}", report.date);
    }
}
