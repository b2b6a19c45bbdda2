//! Bytes of a file, plain or gzip as its first two bytes say, with a bound on the length of a line.

use super::{InputError, MAX_LINE_BYTES, Problem};
use flate2::bufread::MultiGzDecoder;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Opens a file for reading.
///
/// # Errors
/// Where the file cannot be opened or its first bytes not be read.
pub(super) fn open(path: &Path) -> Result<Box<dyn Read>, InputError> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Problem::Io(error).at(&name, 0))?;
    from_reader(file).map_err(|error| Problem::from_io(error).at(&name, 0))
}

/// The same for bytes from anywhere.
///
/// # Errors
/// Where the first two bytes cannot be read.
pub(super) fn from_reader(mut raw: impl Read + 'static) -> io::Result<Box<dyn Read>> {
    let mut head = Vec::with_capacity(GZIP_MAGIC.len());
    raw.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut head)?;
    let compressed = head == GZIP_MAGIC;
    let whole = BufReader::with_capacity(1 << 16, Cursor::new(head).chain(raw));
    Ok(if compressed { Box::new(BoundedLines::new(MultiGzDecoder::new(whole))) } else { Box::new(BoundedLines::new(whole)) })
}

/// The inner error of an `io::Error` that [`BoundedLines`] makes.
#[derive(Debug)]
pub(super) struct LineTooLong;

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a line is longer than {MAX_LINE_BYTES} bytes")
    }
}

impl std::error::Error for LineTooLong {}

/// Fails once a line grows beyond the bound, so that a file without line ends cannot fill the memory of a reader that
/// collects whole lines (a few kilobytes of gzip can hold gigabytes of zeros).
struct BoundedLines<R> {
    inner: R,
    since_line_end: usize,
}

impl<R> BoundedLines<R> {
    const fn new(inner: R) -> Self {
        Self { inner, since_line_end: 0 }
    }
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A read no longer than the bound means that only the end of what was read can lie in a line that is too long.
        let limit = buffer.len().min(MAX_LINE_BYTES);
        let count = self.inner.read(&mut buffer[..limit])?;
        match buffer[..count].iter().rposition(|byte| *byte == b'\n') {
            Some(line_end) => self.since_line_end = count - line_end - 1,
            None => self.since_line_end += count,
        }
        if self.since_line_end > MAX_LINE_BYTES {
            return Err(io::Error::other(LineTooLong));
        }
        Ok(count)
    }
}
