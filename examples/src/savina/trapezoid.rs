//! Trapezoidal Approximation: W workers integrate f(x) = sin(x^3 - 1) / (x + 1) * sqrt(1 + exp(sqrt(2 x))) from 1 to 5, in N pieces
//! together. The lanes of a worker's team share its pieces.
//!
//! Bound: each worker is asked once.

use warpring::prelude::*;

const LEFT: f64 = 1.0;
const RIGHT: f64 = 5.0;

/// Add up so many pieces.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Integrate {
    /// Where the first begins.
    pub left: f64,
    /// How wide a piece is.
    pub width: f64,
    /// How many.
    pub pieces: u32,
}

/// An area.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Area {
    /// How large.
    pub value: f64,
}

fn f(x: f64) -> f64 {
    libm::sin(x * x * x - 1.0) / (x + 1.0) * libm::sqrt(1.0 + libm::exp(libm::sqrt(2.0 * x)))
}

/// Integrates.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/trapezoid-worker")]
pub struct Worker;

impl RingKernelHandler<Integrate, Area> for Worker {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Integrate) -> Result<Area> {
        let piece = |i: u32| {
            let x = msg.left + f64::from(i) * msg.width;
            0.5 * msg.width * (f(x) + f(x + msg.width))
        };
        Ok(Area { value: ctx.reduce(msg.pieces, 0.0, piece, |a, b| a + b) })
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: pieces.
    pub pieces: u32,
    /// W: workers.
    pub workers: u32,
    /// The integral in units of 1e-8, rounded: a fact of these parameters.
    pub integral: i64,
}

impl Params {
    /// Fewer pieces than the suite's own ten million, for which it names no integral.
    pub const SAVINA: Self = Self { pieces: 100_000, workers: 100, integral: 27_108_075 };
    /// For slow backends.
    pub const SMALL: Self = Self { pieces: 2500, workers: 100, integral: 27_107_880 };

    /// The integral in units of 1e-8, rounded.
    pub const fn answer(self) -> i64 {
        self.integral
    }
}

/// Runs it: the workers spread over all workers of the runtime.
///
/// # Errors
/// What failed.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let workers = warpring::block_on(runtime.launch_many(params.workers, LaunchOptions::default(), |_| Worker))?.address();
    let (width, pieces) = ((RIGHT - LEFT) / f64::from(params.pieces), params.pieces / params.workers);
    let part = |i: u32| Integrate { left: LEFT + f64::from(i * pieces) * width, width, pieces };
    let start = std::time::Instant::now();
    let asks = (0..params.workers).filter_map(|i| Some((workers.get(i)?, part(i))));
    let areas = super::suite::ask_each(runtime, asks)?;
    let time = start.elapsed();
    let integral: f64 = areas.iter().map(|area| area.value).sum();
    Ok(super::Outcome { answer: (integral * 1e8).round() as i64, messages: 2 * areas.len() as u64, time })
}
