//! Other work on the device of a grid: what a program does that uses the same GPU for something else.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::device::{Device, GpuError, Shape};
use super::floors::PTX;

/// Bytes of one copy.
const BYTES: usize = 1 << 20;
/// What is started beside a grid has to end within this.
const PROMPT: Duration = Duration::from_secs(1);

/// What was done beside the grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Beside {
    /// Modules loaded, each with a stream of its own, and unloaded.
    pub modules: u32,
    /// Areas of device memory allocated and freed.
    pub areas: u32,
    /// Copies of 1 MiB to the device and back, every word compared.
    pub copies: u32,
    /// Kernels launched that have ended.
    pub kernels: u32,
    /// The slowest copy there and back, in nanoseconds.
    pub slowest_copy_ns: u64,
    /// The slowest kernel, in nanoseconds.
    pub slowest_kernel_ns: u64,
}

/// Works on a device until `enough`: loads a module, allocates, copies on a stream of its own, frees and unloads, again and again, and,
/// in the last third of `lasting`, launches kernels. All of it is in the device's primary context, which is not the grid's, and which
/// stays open as it does in a program that uses the GPU for something else. `about_to` hears what comes next.
///
/// # Errors
/// [`GpuError`]; [`GpuError::Stuck`] where something waited for the grid.
pub fn beside(index: u32, lasting: Duration, enough: &AtomicBool, mut about_to: impl FnMut(&str)) -> Result<Beside, GpuError> {
    about_to("opening a context beside the grid");
    let context = Device::open(index, PTX)?;
    let start = Instant::now();
    let mut done = Beside::default();
    let result = (|| {
        while start.elapsed() < lasting && !enough.load(Ordering::Relaxed) {
            about_to(if start.elapsed() > lasting * 2 / 3 { "kernels beside the grid" } else { "copies beside the grid" });
            round(index, (start, lasting), enough, &mut done)?;
        }
        Ok(done)
    })();
    // Closing the context is nothing that a program does while it works.
    std::mem::forget(context);
    result
}

/// One module's life.
fn round(index: u32, (start, lasting): (Instant, Duration), enough: &AtomicBool, done: &mut Beside) -> Result<(), GpuError> {
    let device = Device::open(index, PTX)?;
    done.modules += 1;
    let (words, _) = device.pinned(BYTES / 8)?;
    let until = Instant::now() + lasting / 10;
    while Instant::now() < until && !enough.load(Ordering::Relaxed) {
        let at = device.memory(BYTES)?;
        let began = Instant::now();
        let word = |i: usize| (u64::from(done.copies) << 32) + i as u64;
        words.iter().enumerate().for_each(|(i, slot)| slot.store(word(i), Ordering::Relaxed));
        // SAFETY: the device memory is as large as the words, both live until the waits are over (and stay, if one is not), and nobody
        // touches the words meanwhile.
        unsafe {
            device.copy_pinned(at, words, false)?;
            device.wait("a copy to the device beside the grid", PROMPT)?;
            words.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
            device.copy_pinned(at, words, true)?;
        }
        device.wait("a copy from the device beside the grid", PROMPT)?;
        if let Some(i) = (0..words.len()).find(|i| words[*i].load(Ordering::Relaxed) != word(*i)) {
            return Err(GpuError::Wrong { what: format!("copy {} beside the grid: word {i} is wrong", done.copies) });
        }
        done.copies += 1;
        done.slowest_copy_ns = done.slowest_copy_ns.max(began.elapsed().as_nanos() as u64);
        if start.elapsed() > lasting * 2 / 3 {
            let began = Instant::now();
            // SAFETY: as the kernel's parameters want it: room for two words, and a time.
            unsafe { device.launch(device.kernel(c"warm")?, Shape::ONE, &[at, 100_000])? };
            device.wait("a kernel of another context beside the grid", PROMPT)?;
            done.kernels += 1;
            done.slowest_kernel_ns = done.slowest_kernel_ns.max(began.elapsed().as_nanos() as u64);
        }
        device.free(at)?;
        done.areas += 1;
    }
    Ok(())
}
