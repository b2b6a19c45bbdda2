//! Level-2 order books as exchanges publish them, verified by the exchange's own checksum.

pub mod book;
mod checksum;
pub mod decimal;
mod side;
