//! The kernels of the suite, one file each. All of it also compiles for the GPU.

pub mod cell;
pub mod clock;
pub mod echo;
pub mod gate;
pub mod herald;
pub mod mortal;
pub mod parent;
pub mod relay;
pub mod subject;
pub mod team;
pub mod twin;
