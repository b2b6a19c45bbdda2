//! Seven programs of the Savina actor benchmark suite (S. Imam and V. Sarkar, "Savina: an actor benchmark suite", AGERE! 2014).
//!
//! One file per program: its messages, its kernels, its parameters with the answer that they must give, and `run`, which is the
//! host's part. The parameters `SAVINA` are the suite's own; `SMALL` are for slow backends and debug builds.
//!
//! A mailbox is bounded, and a tell to a full one is a dead letter. So each program states why its mailboxes cannot fill up:
//! an actor has a known number of messages under way, or every so many tells there is an ask, whose reply says that all that was
//! told before is handled (messages from one sender to one receiver keep their order).

pub mod bank_transaction;
pub mod big;
pub mod chameneos;
pub mod counting;
pub mod finish;
pub mod fork_join_throughput;
pub mod ping_pong;
pub mod thread_ring;

#[cfg(not(target_arch = "nvptx64"))]
mod suite;
#[cfg(not(target_arch = "nvptx64"))]
pub use suite::{Failure, Outcome, PROGRAMS, Program, Scale};
