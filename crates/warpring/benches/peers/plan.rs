//! The command line, and what it selects.

use std::path::PathBuf;

use warpring_bench::{Effort, Figure, Report, Stage};

/// The stage, the filters, and the report so far.
pub struct Plan {
    stage: Stage,
    quick: bool,
    filters: Vec<String>,
    json: Option<PathBuf>,
    report: Report,
}

impl Plan {
    /// Reads `--quick`, `--json FILE` and filters.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
        let (mut quick, mut json, mut filters) = (false, None, Vec::new());
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo passes it to every benchmark.
                "--bench" => {}
                "--quick" => quick = true,
                "--json" => json = Some(PathBuf::from(arguments.next().ok_or("--json wants a file")?)),
                flag if flag.starts_with('-') => {
                    return Err(format!("unknown option {flag}; known are --quick, --json FILE and parts of names"));
                }
                _ => filters.push(argument),
            }
        }
        let effort = if quick { Effort::quick() } else { Effort::full() };
        let stage = Stage::new(effort).map_err(|error| error.to_string())?;
        let report = Report::new(&stage.clock);
        Ok(Plan { stage, quick, filters, json, report })
    }

    /// Whether this is the smoke test.
    pub fn quick(&self) -> bool {
        self.quick
    }

    /// Measures a figure where no filter is given, or one is part of its name or its subject's.
    pub fn figure(&mut self, name: &str, subject: &str, measure: impl FnOnce(&Stage) -> Figure) {
        let selected = |filter: &String| name.contains(filter.as_str()) || subject.contains(filter.as_str());
        if !self.filters.is_empty() && !self.filters.iter().any(selected) {
            return;
        }
        eprintln!("{name} {subject}");
        let figure = measure(&self.stage);
        self.report.push(figure);
    }

    /// Prints the table to standard output and writes the JSON where one is wanted.
    pub fn finish(mut self) -> Result<(), String> {
        if self.report.figures.is_empty() {
            return Err(format!("no figure is called like {}", self.filters.join(" or ")));
        }
        // Beside each other what is to be compared; the order of measurement stays within a name.
        let order: Vec<String> = self.report.figures.iter().map(|figure| figure.name.clone()).collect();
        self.report.figures.sort_by_key(|figure| order.iter().position(|name| *name == figure.name));
        self.report.print(&mut std::io::stdout()).map_err(|error| format!("the table: {error}"))?;
        if let Some(path) = &self.json {
            // Cargo runs a benchmark in its package's directory, which a relative path starts from.
            let shown = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            self.report.write_json(path).map_err(|error| format!("{}: {error}", shown.display()))?;
            eprintln!("wrote {}", shown.display());
        }
        Ok(())
    }
}
