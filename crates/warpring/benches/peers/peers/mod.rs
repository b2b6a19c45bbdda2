//! The libraries, one file each.

mod actix;
mod kameo;
mod ractor;
mod tokio;

pub use actix::Actix;
pub use kameo::Kameo;
pub use ractor::Ractor;
pub use tokio::Tokio;
