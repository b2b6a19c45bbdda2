//! Programs of the Savina actor benchmark suite (S. Imam and V. Sarkar, "Savina: an actor benchmark suite", AGERE! 2014).
//!
//! One file per program: its messages, its kernels, its parameters with the answer that they must give, and `run`, which is the
//! host's part. The parameters `SAVINA` are the suite's own, or the largest for which it names an answer; `SMALL` are for slow
//! backends and debug builds.
//!
//! A mailbox is bounded, and a tell to a full one is a dead letter. So each program states why its mailboxes cannot fill up:
//! an actor has a known number of messages under way, or every so many tells there is an ask, whose reply says that all that was
//! told before is handled (messages from one sender to one receiver keep their order).
//!
//! Of the thirty:
//!
//! | program | here | answer |
//! |---|---|---|
//! | Ping Pong, Counting Actor, Fork Join (throughput), Chameneos, Big | yes | messages of the parameters |
//! | Thread Ring | yes | where the token stops |
//! | Concurrent Dictionary | yes, with fewer entries | its size, and every request was seen |
//! | Concurrent Sorted Linked List | yes | the suite's final size, for both sets of parameters |
//! | Producer-Consumer | yes | the suite's sum, for both sets of parameters |
//! | Dining Philosophers | yes | all meals, and no fork in a hand |
//! | Cigarette Smokers | yes | the suite's next random number |
//! | Logistic Map Series | yes | the suite's sum; a plain loop's for `SMALL` |
//! | Bank Transaction | yes | the suite's total, for both sets of parameters |
//! | Radix Sort | yes, at most 10,000 numbers of 16 bits | the suite's sum, for both sets of parameters, and the order |
//! | Sieve of Eratosthenes | yes | the suite's number of primes, for both sets of parameters |
//! | Trapezoidal Approximation | yes | the suite's integral, for both sets of parameters |
//! | NQueens first N solutions | yes, up to 12 queens | the suite's number of solutions, for both sets of parameters |
//! | Sleeping Barber | yes | the suite's next random number, for both sets of parameters |
//! | All-Pairs Shortest Path | yes | plain loops' distances |
//! | Successive Over-Relaxation | yes, up to 80 by 80 | the suite's sum; plain loops' for `SMALL` |
//! | Bitonic Sort | yes, numbers of 16 bits | the numbers of the beginning in order |
//! | Fork Join (actor creation), Fibonacci | in [`growth`](crate::growth) | the suite's number; the sum of the actors' numbers |
//! | Unbalanced Cobwebbed Tree, Quicksort, Recursive Matrix Multiplication | not yet | |
//! | Online Facility Location, Filter Bank, A-Star Search | no | the suite names no number to compare with |
//! | Precise Pi Computation | no | numbers of 5,000 digits are neither messages nor plain state |

pub mod bank_transaction;
pub mod big;
pub mod bitonic_sort;
pub mod bounded_buffer;
pub mod chameneos;
pub mod cigarette_smokers;
pub mod counting;
pub mod dictionary;
pub mod finish;
pub mod fork_join_throughput;
pub mod logistic_map;
pub mod nqueens;
pub mod over_relaxation;
pub mod philosophers;
pub mod ping_pong;
pub mod radix_sort;
pub mod random;
pub mod shortest_path;
pub mod sieve;
pub mod sleeping_barber;
pub mod sorted_list;
pub mod thread_ring;
pub mod trapezoid;

#[cfg(not(target_arch = "nvptx64"))]
mod suite;
#[cfg(not(target_arch = "nvptx64"))]
pub use suite::{Failure, Outcome, PROGRAMS, Program, Scale};
