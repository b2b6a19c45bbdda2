//! The floor of a million actors: what memory itself delivers.

use std::hint::black_box;

use crate::{Clock, Slice, TwoCpus};

/// Bytes of a message's line.
const LINE: u64 = 64;

/// Buffers of one cpu.
struct Half {
    from: Vec<u64>,
    to: Vec<u64>,
}

/// Copies large buffers on both cpus. It keeps its buffers, so that no slice pays for mapping pages.
pub(crate) struct Memory {
    halves: [Half; 2],
    passes: u64,
}

impl Memory {
    /// Each cpu copies `bytes`, which should be beyond its caches.
    pub(crate) fn new(bytes: usize) -> Memory {
        let half = || {
            let words = bytes / size_of::<u64>();
            Half { from: (0..words as u64).collect(), to: vec![1; words] }
        };
        Memory { halves: [half(), half()], passes: 0 }
    }

    /// Lines of 64 bytes read or written per second, both cpus together.
    ///
    /// # Panics
    /// Where a copy is not like its source.
    pub(crate) fn slice(&mut self, clock: Clock, cpus: TwoCpus) -> Slice {
        self.passes += 1;
        let pass = self.passes;
        let copy = |half: &mut Half| {
            // Another content in each pass: the copy of the pass before must not be taken for this one's.
            let last = half.from.len() - 1;
            half.from[last] = pass;
            let started = clock.now();
            half.to.copy_from_slice(black_box(&half.from));
            black_box(&mut half.to);
            (started, clock.now())
        };
        let [first, second] = &mut self.halves;
        let lines = 2 * (first.from.len() + second.from.len()) as u64 * size_of::<u64>() as u64 / LINE;
        let (a, b) = cpus.run(|| copy(first), || copy(second));
        for half in &self.halves {
            assert_eq!((half.to.last(), half.to[2]), (Some(&pass), 2), "a copy is not like its source");
        }
        // The counters of two cpus of one machine agree to far less than this span of milliseconds.
        Slice::rate(&clock, lines, a.1.max(b.1) - a.0.min(b.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_and_written_are_both_counted() {
        let Ok(cpus) = TwoCpus::discover() else {
            return;
        };
        let mut memory = Memory::new(1 << 16);
        for _ in 0..2 {
            let Slice::Rate(rate) = memory.slice(Clock::calibrate(), cpus) else { panic!("a rate") };
            assert_eq!(rate.count, 2 * 2 * (1 << 16) / 64);
        }
    }
}
