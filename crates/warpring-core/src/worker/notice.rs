//! What a worker tells the host of its own accord, besides dead letters.

use super::Worker;
use crate::address::ActorId;
use crate::exit::ExitReason;
use crate::message::{Header, Kind, Malformed, Parcel, RingMessage, encode};
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
}

const ENDED: u64 = 1;
const MONITOR: u64 = 2;
const LINK: u64 = 3;

impl RingMessage for Notice {
    const SIZE: usize = 32;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 6;
    fn encode(&self, out: &mut [u8]) {
        let word = |id: ActorId| u64::from(id.slot) | u64::from(id.generation) << 32 | u64::from(id.worker) << 48;
        let words = match *self {
            Self::Ended { actor, reason, held } => {
                let (code, detail) = reason.to_parts();
                [ENDED, word(actor), u64::from(code) | u64::from(held) << 16 | u64::from(detail) << 32, 0]
            }
            Self::Monitor { watcher, watched, tag } => [MONITOR, word(watcher), word(watched), u64::from(tag)],
            Self::Link { actor, other } => [LINK, word(actor), word(other), 0],
        };
        words.encode(out)
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let w = <[u64; 4]>::decode(bytes)?;
        let id = |w: u64| ActorId { slot: w as u32, generation: (w >> 32) as u16, worker: (w >> 48) as u16 };
        Ok(match w[0] {
            ENDED => Self::Ended {
                actor: id(w[1]),
                reason: ExitReason::from_parts(w[2] as u16, (w[2] >> 32) as u32).ok_or(Malformed)?,
                held: w[2] >> 16 & 1 == 1,
            },
            MONITOR => Self::Monitor { watcher: id(w[1]), watched: id(w[2]), tag: w[3] as u16 },
            LINK => Self::Link { actor: id(w[1]), other: id(w[2]) },
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
            let header = Header { kind: Kind::Control as u8, lines: 1, ..Header::default() };
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
        ];
        for notice in notices {
            let mut bytes = [0; Notice::SIZE];
            notice.encode(&mut bytes);
            assert_eq!(Notice::decode(&bytes), Ok(notice));
        }
        assert_eq!(Notice::decode(&[0xff; Notice::SIZE]), Err(Malformed));
    }
}
