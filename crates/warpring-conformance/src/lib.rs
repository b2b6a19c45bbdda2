//! The conformance suite: what Warpring promises, as numbered sentences ([`CASES`], and `SEMANTICS.md` at the root), each with a
//! case that runs on every backend.
//!
//! The kernels are plain data and `no_std`, and nothing of them touches the host: what a case wants to know, it asks for. So
//! the same source runs on CPU threads, in the simulator and on a GPU.
//!
//! ```
//! use warpring_conformance::{CASES, Setup};
//!
//! let setup = Setup::new(warpring::Backend::Cpu);
//! let first = &CASES[0];
//! first.check(&setup).unwrap_or_else(|why| panic!("{} {}: {why}", first.number, first.sentence));
//! ```
#![cfg_attr(target_arch = "nvptx64", no_std)]

#[cfg(not(target_arch = "nvptx64"))]
mod cases;
pub mod kernels;
#[cfg(not(target_arch = "nvptx64"))]
mod letters;
#[cfg(not(target_arch = "nvptx64"))]
mod setup;

#[cfg(not(target_arch = "nvptx64"))]
pub use cases::{CASES, Case, Fates, stop_under_load};
#[cfg(not(target_arch = "nvptx64"))]
pub use letters::Letters;
#[cfg(not(target_arch = "nvptx64"))]
pub use setup::{Named, Setup, eventually, launch, launch_on, same};

use warpring::{ActorId, Down, Timer};

use kernels::{cell::*, clock::*, echo::*, gate::*, herald::*, mortal::*, parent::*, relay::*, subject::*, team::*, twin::*};

/// The PTX of these kernels for teams of a whole block; that in `MODULE` is for teams of a warp.
#[cfg(not(target_arch = "nvptx64"))]
pub static BLOCK_PTX: &str = include_str!("../ptx/block.ptx");

warpring::export! {
    ptx = include_str!("../ptx/kernels.ptx");
    Gate { Arrive => u32, Arrived => u32, IsOpen => bool, Open => () }
    Subject {
        Add => u64, Get => u64, Hold => u64, Busy => u64, Nap => u64, Carry => Carried, Fail => (), Crash => (), Note => (),
        ReadLog => Log, Even => u32
    }
    Relay {
        Spread => u64, Forward => u64, Through => u32, AskSelf => bool, Travel => u32, TellOn => (), Look => Seen, Provoke => u32,
        Greet => u64, Walk => u32, Serve => (), Passed => (), ReadRally => [u32; 2]
    }
    Mortal { Add => u64, Nap => u64, ReadLife => Life }
    Echo {
        Bytes<0> => Bytes<0>, Bytes<1> => Bytes<1>, Bytes<32> => Bytes<32>, Bytes<33> => Bytes<33>, Bytes<88> => Bytes<88>,
        Bytes<89> => Bytes<89>, Bytes<424> => Bytes<424>, Fields => Fields, Hold => u64
    }
    Team { Bump => Bumped, Fill => Filled, Together => Sums, Vote => Votes }
    Cell { Mix => u64 }
    Clock {
        Wind => u32, Remind => (), Unwind => bool, UnwindThis => bool, LastTimer => Timer, Alarm => (), ReadAlarms => Alarms,
        Doze => u64, LastWish => ()
    }
    Twin { Grow => u64, Sides => Both, OtherSides => Both }
    Parent {
        Bear => ActorId, Quit => (), Finish => (), Watch => (), Tie => (), Down => (), ReadParent => Fared, Add => u64, Get => u64,
        Hold => u64, Crash => (), Fail => ()
    }
    Herald { Find => Found, Proclaim => Reached, Recite => Reached, Scatter => Reached, Tome => (), ReadTomes => Tomes }
}
