//! What a terminal shows while a job runs. Nothing where standard error is not a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A job looks at the clock once in so many steps only; a step may take less time than that look.
const STEPS_PER_UPDATE: u64 = 4096;

/// Counts steps, and shows the count, the rate and, if the end is known, how much is left.
pub struct Progress {
    bar: ProgressBar,
    steps: u64,
}

impl Progress {
    /// No steps yet, of so many if that is known. The bar hides itself where standard error is not a terminal.
    #[must_use]
    pub fn new(total: Option<u64>, unit: &str) -> Self {
        // Without colours, so that `NO_COLOR` has nothing to switch off.
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{wide_bar} {human_pos}/{human_len} {msg}, {per_sec}, {eta} left"),
            None => (ProgressBar::no_length(), "{spinner} {human_pos} {msg}, {per_sec}"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: bar.with_style(style).with_message(unit.to_owned()), steps: 0 }
    }

    /// One step is done.
    pub fn step(&mut self) {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_PER_UPDATE) {
            self.bar.set_position(self.steps);
        }
    }
}

impl Drop for Progress {
    /// Leaves no trace on the terminal, whether the job ended well or not.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
