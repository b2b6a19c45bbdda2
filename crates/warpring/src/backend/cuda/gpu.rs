//! What the engine needs of a device.

use warpring_core::device::{Grid, Layout};

use super::CudaError;
use crate::backend::grid::Fault;

/// A kernel of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// `warpring_build`.
    Build,
    /// `warpring_run`, all blocks.
    Run,
    /// `warpring_run` beside the grid, in place of one worker that fell.
    Replace,
    /// `warpring_finish`.
    Finish,
}

/// An opened device with a loaded module. Its memory lives as long as this.
pub(crate) trait Gpu: Send + Sync {
    /// What it calls itself.
    fn name(&self) -> String;
    /// What the module says about itself.
    fn layout(&self) -> Layout;
    /// Lanes that a block really has, if it is to have so many.
    fn lanes(&self, lanes: u32) -> u32;
    /// Blocks of so many lanes that can run at once.
    fn most_blocks(&self, lanes: u32) -> Result<u32, CudaError>;
    /// Blocks that a runtime has which names no number.
    fn default_blocks(&self) -> u32;
    /// The device ends kernels that run for long.
    fn has_time_limit(&self) -> bool;
    /// Bytes of device memory that are free.
    fn free_bytes(&self) -> u64;
    /// Zeroed device memory.
    fn device_area(&self, bytes: u64) -> Result<u64, CudaError>;
    /// Zeroed host memory that the device sees at the same address.
    fn shared_area(&self, bytes: u64) -> Result<u64, CudaError>;
    /// Starts a kernel.
    fn start(&self, entry: Entry, grid: *const Grid) -> Result<(), Fault>;
    /// Whether a kernel still runs.
    fn running(&self) -> Result<bool, Fault>;
    /// Copies into device memory, beside the grid; waits until it is there.
    fn copy_in(&self, to: u64, bytes: &[u8]) -> Result<(), Fault>;
    /// Reads a word of device memory, beside the grid.
    fn read_word(&self, at: u64) -> Result<u32, Fault>;
    /// From now on nothing is freed: blocks may still run that nobody can stop, or the device has failed.
    fn abandon(&self);
}
