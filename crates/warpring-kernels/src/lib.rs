//! Ready-made ring kernels: the state and the logic of one actor each.
//!
//! Everything here is `no_std`, without allocation, pointers or `usize` in state, so that the same code runs on a CPU
//! worker and inside the persistent grid. Each kernel is a plain state struct whose `apply` takes one message and
//! returns the reply or a named error code; the handler around it only opens the state.
//!
//! | kernel id | kernel | state | message -> reply |
//! |---|---|---|---|
//! | `fraud/customer-window` | [`fraud::customer_window::Customer`] | [`fraud::customer_window::CustomerWindow`] | [`fraud::Transaction`] -> [`fraud::customer_window::CustomerFeatures`] |
//! | `fraud/terminal-risk` | [`fraud::terminal_risk::Terminal`] | [`fraud::terminal_risk::TerminalRisk`] | [`fraud::Transaction`] -> [`fraud::terminal_risk::TerminalFeatures`] |
//! | `market/book` | [`market::book::Book`] | [`market::book::BookState`] | [`market::book::BookUpdate`] -> [`market::book::BookReply`] |
#![no_std]

pub mod fraud;
pub mod market;

use fraud::Transaction;
use fraud::customer_window::{Customer, CustomerFeatures};
use fraud::terminal_risk::{Terminal, TerminalFeatures};
use market::book::{Book, BookReply, BookUpdate};

warpring::export! {
    ptx = include_str!("../ptx/kernels.ptx");
    Customer { Transaction => CustomerFeatures }
    Terminal { Transaction => TerminalFeatures }
    Book { BookUpdate => BookReply }
}
