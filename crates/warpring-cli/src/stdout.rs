//! Standard output, for results alone.

use std::io::{self, Write};

/// Prints results. Unlike `println!` it does not panic when nobody reads them any more.
///
/// # Errors
/// Those of writing.
pub fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush())
}
