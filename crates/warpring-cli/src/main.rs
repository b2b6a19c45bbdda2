//! The `warpring` command.
mod input;
mod run;
#[cfg(test)]
mod test_data;
fn main() {}
