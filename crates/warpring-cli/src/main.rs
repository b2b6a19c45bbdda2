//! The `warpring` command.
fn main() {}
