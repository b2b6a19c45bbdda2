//! Ready-made ring kernels: the state and the logic of one actor each.
//!
//! Everything here is `no_std`, without allocation, pointers or `usize` in state, so that the same code runs on a CPU
//! worker and inside the persistent grid. Each kernel is a plain state struct whose `apply` takes one message and
//! returns the reply or a named error code; the handler around it only opens the state.
//!
//! | kernel id | state | message -> reply |
//! |---|---|---|
//! | `fraud/customer-window` | [`fraud::customer_window::CustomerWindow`] | [`fraud::Transaction`] -> [`fraud::customer_window::CustomerFeatures`] |
//! | `fraud/terminal-risk` | [`fraud::terminal_risk::TerminalRisk`] | [`fraud::Transaction`] -> [`fraud::terminal_risk::TerminalFeatures`] |
//! | `market/book` | [`market::book::BookState`] | [`market::book::BookUpdate`] -> [`market::book::BookReply`] |
#![no_std]

pub mod fraud;
pub mod market;
