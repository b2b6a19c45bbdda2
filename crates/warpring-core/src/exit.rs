//! Why an actor ended, and what the host hears of it.

use core::fmt;

use crate::address::ActorId;
use crate::error::KernelError;
use crate::message::{Malformed, RingMessage};

/// Why an actor ended. The words are OTP's: `normal`, `shutdown`, `kill`, and two kinds of crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitReason {
    /// It stopped itself.
    Normal,
    /// It was told to stop: by the host, its supervisor, or another actor.
    Shutdown,
    /// It was killed.
    Killed,
    /// A handler panicked, at this line; the host knows the file.
    Panicked {
        /// Line of the panic, 0 where it is not known.
        line: u32,
    },
    /// Its `initialize` returned an error.
    Initialize(KernelError),
    /// It had ended before anybody asked, and nobody knows why.
    Gone,
}

impl ExitReason {
    /// Whether it is a crash or a kill, and not an end that somebody wished for: then linked actors end too, and a transient actor is
    /// started again.
    pub const fn is_abnormal(self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown)
    }

    /// The two words that carry it.
    pub const fn to_parts(self) -> (u16, u32) {
        match self {
            Self::Normal => (1, 0),
            Self::Shutdown => (2, 0),
            Self::Killed => (3, 0),
            Self::Panicked { line } => (4, line),
            Self::Gone => (5, 0),
            Self::Initialize(error) => {
                let (code, detail) = error.to_parts();
                (0x100 | code, detail)
            }
        }
    }

    /// The inverse of [`to_parts`](Self::to_parts).
    pub const fn from_parts(code: u16, detail: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Normal,
            2 => Self::Shutdown,
            3 => Self::Killed,
            4 => Self::Panicked { line: detail },
            5 => Self::Gone,
            0x100.. => Self::Initialize(KernelError::from_parts(code & 0xff, detail)),
            _ => return None,
        })
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("it stopped itself"),
            Self::Shutdown => f.write_str("it was told to stop"),
            Self::Killed => f.write_str("it was killed"),
            Self::Panicked { line } => write!(f, "it panicked (line {line})"),
            Self::Gone => f.write_str("it had ended before"),
            Self::Initialize(error) => write!(f, "its `initialize` failed: {error}"),
        }
    }
}

/// The message that an actor gets when one that it monitors has ended: implement `RingKernelHandler<Down, ()>` and export it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Down {
    /// Who ended.
    pub actor: ActorId,
    /// Why.
    pub reason: ExitReason,
}

impl RingMessage for Down {
    const SIZE: usize = 16;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = crate::layout::mix_bytes(crate::layout::EMPTY, b"Down 8 2 4");
    fn encode(&self, out: &mut [u8]) {
        let (code, detail) = self.reason.to_parts();
        self.actor.encode(&mut out[..8]);
        (u64::from(code) | u64::from(detail) << 32).encode(&mut out[8..]);
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (Some(actor), Some(why)) = (bytes.get(..8), bytes.get(8..16)) else { return Err(Malformed) };
        let why = u64::decode(why)?;
        let reason = ExitReason::from_parts(why as u16, (why >> 32) as u32).ok_or(Malformed)?;
        Ok(Self { actor: ActorId::decode(actor)?, reason })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn reasons_survive_their_way() {
        let reasons = [
            ExitReason::Normal,
            ExitReason::Shutdown,
            ExitReason::Killed,
            ExitReason::Gone,
            ExitReason::Panicked { line: u32::MAX },
            ExitReason::Initialize(KernelError::Rejected { code: 7 }),
            ExitReason::Initialize(KernelError::Stopped),
        ];
        for reason in reasons {
            let down = Down { actor: ActorId { slot: 1, generation: 2, worker: 3 }, reason };
            let mut bytes = [0; Down::SIZE];
            down.encode(&mut bytes);
            assert_eq!(Down::decode(&bytes), Ok(down));
        }
        assert_eq!(Down::decode(&[0; 16]), Err(Malformed));
        assert_eq!(Down::decode(&[0; 8]), Err(Malformed));
    }
}
