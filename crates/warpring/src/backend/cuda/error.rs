//! Why there is no grid on a GPU, each with its cure.

use std::fmt;

/// Why the CUDA backend cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CudaError {
    /// The driver's library is not on this machine.
    NoDriver,
    /// The driver is older than the PTX that runs here.
    DriverTooOld {
        /// Its CUDA version, as 1000 times the major plus 10 times the minor number.
        found: i32,
        /// The oldest that will do.
        needed: i32,
    },
    /// The driver has no such device.
    NoDevice {
        /// The number that was asked for.
        wanted: u32,
        /// How many devices there are.
        found: u32,
    },
    /// The device is older than what Warpring runs on.
    DeviceTooOld {
        /// Its name.
        name: String,
        /// Its compute capability, major and minor.
        found: (i32, i32),
    },
    /// The device cannot do what a persistent grid needs.
    Missing {
        /// Its name.
        name: String,
        /// What it cannot do.
        what: &'static str,
    },
    /// The module was not compiled for the GPU.
    NoPtx {
        /// Its name.
        module: &'static str,
    },
    /// The driver does not take the PTX.
    Ptx {
        /// What it said.
        log: String,
    },
    /// The PTX is not of this program's module.
    Layout {
        /// What differs.
        what: &'static str,
        /// As this program has it.
        host: u64,
        /// As the PTX has it.
        device: u64,
    },
    /// More workers than can run at once.
    TooManyWorkers {
        /// What was asked for.
        wanted: u32,
        /// The most.
        most: u32,
    },
    /// Not enough memory on the device, or of pinned memory on the host.
    Memory {
        /// What was asked for.
        bytes: u64,
        /// What is free on the device.
        free: u64,
    },
    /// The driver refused a call.
    Driver {
        /// The call.
        call: &'static str,
        /// What it said.
        why: String,
    },
    /// The grid could not be launched.
    Launch {
        /// Why.
        why: String,
    },
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver => {
                f.write_str("there is no CUDA driver on this machine: install NVIDIA's driver, or use the cpu backend")
            }
            Self::DriverTooOld { found, needed } => write!(
                f,
                "the CUDA driver is of version {}.{}, and {}.{} is needed: update it",
                found / 1000,
                found % 1000 / 10,
                needed / 1000,
                needed % 1000 / 10
            ),
            Self::NoDevice { wanted, found: 0 } => {
                write!(f, "the CUDA driver finds no device, so there is no device {wanted}: look at CUDA_VISIBLE_DEVICES")
            }
            Self::NoDevice { wanted, found } => {
                write!(f, "there is no device {wanted}: the driver counts from 0 to {}", found - 1)
            }
            Self::DeviceTooOld { name, found } => write!(
                f,
                "{name} has compute capability {}.{}, and 7.0 (Volta) is the oldest that lets the lanes of a warp go on by themselves",
                found.0, found.1
            ),
            Self::Missing { name, what } => write!(f, "{name} has no {what}, which a persistent grid needs: use another device"),
            Self::NoPtx { module } => write!(
                f,
                "module `{module}` was not compiled for the GPU: make its PTX with `warpring ptx` or in a build script with \
                 `warpring-build`, and name it in `export!` (`ptx = include_str!(..);`)"
            ),
            Self::Ptx { log } => write!(f, "the driver does not take the PTX: {log}"),
            Self::Layout { what, host, device } => write!(
                f,
                "the PTX was made from other sources: {what} is {host:#x} in this program and {device:#x} in the PTX; make it again"
            ),
            Self::TooManyWorkers { wanted, most } => {
                write!(f, "{wanted} workers, but {most} blocks run at once on this device: lower `workers`")
            }
            Self::Memory { bytes, free } => write!(
                f,
                "no room for {bytes} bytes ({free} are free on the device): lower `workers`, `ring_lines`, `max_actors`, \
                 `waiting_messages`, `suspended_handlers` or `state_bytes`"
            ),
            Self::Driver { call, why } => write!(f, "the CUDA driver refused {call}: {why}"),
            Self::Launch { why } => write!(f, "the grid could not be launched: {why}"),
        }
    }
}
impl std::error::Error for CudaError {}

impl CudaError {
    /// There is no GPU to use, so that the CPU is the right choice.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::NoDriver | Self::NoDevice { found: 0, .. } | Self::NoPtx { .. })
    }
}
