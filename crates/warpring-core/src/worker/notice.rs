//! What a worker tells the host of its own accord, besides dead letters.

use super::Worker;
use crate::address::ActorId;
use crate::exit::ExitReason;
use crate::message::{Header, Kind, Malformed, Parcel, RingMessage, encode, lines_for};
use crate::team::Fabric;

/// What has happened on a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// An actor has ended.
    Ended {
        /// The actor.
        actor: ActorId,
        /// Why.
        reason: ExitReason,
        /// It is supervised: its messages wait until the host says what becomes of it.
        held: bool,
    },
    /// An actor wants to hear of the end of another.
    Monitor {
        /// Who wants to hear of it.
        watcher: ActorId,
        /// The other.
        watched: ActorId,
        /// The handler of the watcher that takes [`Down`](crate::Down).
        tag: u16,
    },
    /// Two actors want to end together.
    Link {
        /// The one.
        actor: ActorId,
        /// The other.
        other: ActorId,
    },
    /// Asks form a cycle, and one of them has failed.
    Cycle {
        /// Number of the report, which that ask's error carries.
        report: u32,
        /// How many actors ask in a circle.
        length: u32,
        /// The first of them, each of which asked the next; no actor's ids beyond `length`.
        actors: [ActorId; CYCLE_NAMES],
    },
}

/// Actors of a cycle that a notice names.
pub const CYCLE_NAMES: usize = 7;

const ENDED: u64 = 1;
const MONITOR: u64 = 2;
const LINK: u64 = 3;
const CYCLE: u64 = 4;
/// Words of a notice: what it is, and at most a report with its actors.
const WORDS: usize = 2 + CYCLE_NAMES;

impl RingMessage for Notice {
    const SIZE: usize = 8 * WORDS;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 6;
    fn encode(&self, out: &mut [u8]) {
        let mut words = [0; WORDS];
        match *self {
            Self::Ended { actor, reason, held } => {
                let (code, detail) = reason.to_parts();
                words[..3].copy_from_slice(&[
                    ENDED,
                    actor.to_bits(),
                    u64::from(code) | u64::from(held) << 16 | u64::from(detail) << 32,
                ]);
            }
            Self::Monitor { watcher, watched, tag } => {
                words[..4].copy_from_slice(&[MONITOR, watcher.to_bits(), watched.to_bits(), u64::from(tag)]);
            }
            Self::Link { actor, other } => words[..3].copy_from_slice(&[LINK, actor.to_bits(), other.to_bits()]),
            Self::Cycle { report, length, ref actors } => {
                words[..2].copy_from_slice(&[CYCLE, u64::from(report) | u64::from(length) << 32]);
                for (word, actor) in words[2..].iter_mut().zip(actors) {
                    *word = actor.to_bits();
                }
            }
        }
        words.encode(out)
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let w = <[u64; WORDS]>::decode(bytes)?;
        let id = ActorId::from_bits;
        Ok(match w[0] {
            ENDED => Self::Ended {
                actor: id(w[1]),
                reason: ExitReason::from_parts(w[2] as u16, (w[2] >> 32) as u32).ok_or(Malformed)?,
                held: w[2] >> 16 & 1 == 1,
            },
            MONITOR => Self::Monitor { watcher: id(w[1]), watched: id(w[2]), tag: w[3] as u16 },
            LINK => Self::Link { actor: id(w[1]), other: id(w[2]) },
            CYCLE => {
                let mut actors = [ActorId::default(); CYCLE_NAMES];
                for (actor, word) in actors.iter_mut().zip(&w[2..]) {
                    *actor = id(*word);
                }
                Self::Cycle { report: w[1] as u32, length: (w[1] >> 32) as u32, actors }
            }
            _ => return Err(Malformed),
        })
    }
}

impl Worker {
    /// Tells the host. False: there is no room now.
    #[cold]
    #[inline(never)]
    pub(crate) fn notify<F: Fabric>(&mut self, notice: &Notice) -> bool {
        // Not `F::GRID`: threads that stand for blocks have the context of a CPU worker.
        if self.link.has_letters() {
            let header =
                Header { kind: Kind::Control as u8, lines: const { lines_for(Notice::SIZE) as u8 }, ..Header::default() };
            return encode(notice, |parcel: Parcel<'_>| self.push_letter::<F>(&header, parcel));
        }
        #[cfg(not(target_arch = "nvptx64"))]
        // SAFETY: the hooks outlive the worker (contract of `init`).
        unsafe {
            (self.hooks.notice)(self.hooks.data, notice)
        }
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn notices_survive_their_way() {
        let (a, b) =
            (ActorId { slot: 1, generation: 2, worker: 3 }, ActorId { slot: u32::MAX, generation: u16::MAX, worker: 511 });
        let notices = [
            Notice::Ended { actor: a, reason: ExitReason::Panicked { line: 7 }, held: true },
            Notice::Ended { actor: b, reason: ExitReason::Normal, held: false },
            Notice::Monitor { watcher: a, watched: b, tag: u16::MAX },
            Notice::Link { actor: b, other: a },
            Notice::Cycle { report: 513, length: u32::MAX, actors: [a, b, a, b, a, b, ActorId::default()] },
        ];
        for notice in notices {
            let mut bytes = [0; Notice::SIZE];
            notice.encode(&mut bytes);
            assert_eq!(Notice::decode(&bytes), Ok(notice));
        }
        assert_eq!(Notice::decode(&[0xff; Notice::SIZE]), Err(Malformed));
    }
}
