//! The `warpring` command.

// Compiled for tests until the runtime is there to run the jobs.
#[cfg(test)]
mod input;
#[cfg(test)]
mod run;
#[cfg(test)]
mod test_data;

fn main() {}
