//! The CUDA driver, loaded at run time: the one file that calls it.
//!
//! What may be called beside a running grid: launches on other streams, queries of streams, copies on a stream of their own. All
//! else (allocation, loading, freeing) is done before the first launch or after the last, because it may wait for the grid.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cudarc::driver::sys::{self, CUcontext, CUdevice, CUdevice_attribute as Attribute, CUfunction, CUmodule, CUresult, CUstream};
use warpring_core::device::{Grid, Layout};

use super::CudaError;
use super::gpu::{Entry, Gpu};
use crate::backend::grid::Fault;
use crate::lock::lock;

/// CUDA 11.0, the first whose PTX has what the kernels use.
const OLDEST_DRIVER: i32 = 11_000;
/// Streams for workers that are replaced.
const SPARES: usize = 16;
/// Bytes that are copied to the device at once.
const CHUNK: usize = 4 << 20;

/// A device as the driver describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceInfo {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Compute capability, major and minor.
    pub capability: (i32, i32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// It ends kernels that run for long.
    pub has_time_limit: bool,
    /// It launches cooperative kernels.
    pub cooperative: bool,
    /// The driver's CUDA version, as 1000 times the major plus 10 times the minor number.
    pub driver: i32,
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({}.{}, {} multiprocessors, {} MiB)",
            self.name,
            self.capability.0,
            self.capability.1,
            self.multiprocessors,
            self.memory >> 20
        )
    }
}

/// The devices of this machine.
///
/// # Errors
/// [`CudaError::NoDriver`], `DriverTooOld` or `Driver`; no device at all is an empty list.
pub fn devices() -> Result<Vec<DeviceInfo>, CudaError> {
    let driver = initialise()?;
    let mut count = 0;
    // SAFETY: the driver is initialised.
    match unsafe { sys::cuDeviceGetCount(&raw mut count) } {
        CUresult::CUDA_SUCCESS => {}
        CUresult::CUDA_ERROR_NO_DEVICE => return Ok(Vec::new()),
        code => return Err(refused("cuDeviceGetCount", code)),
    }
    (0..count).map(|index| describe(index, driver)).collect()
}

/// The driver's version, once it is there and initialised.
fn initialise() -> Result<i32, CudaError> {
    // SAFETY: looks for the library and, if it is there, loads it: what a driver's library does when it is loaded is trusted.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoDriver);
    }
    let mut version = 0;
    // SAFETY: needs no initialisation.
    check("cuDriverGetVersion", unsafe { sys::cuDriverGetVersion(&raw mut version) })?;
    if version < OLDEST_DRIVER {
        return Err(CudaError::DriverTooOld { found: version, needed: OLDEST_DRIVER });
    }
    // SAFETY: may be called often.
    match unsafe { sys::cuInit(0) } {
        CUresult::CUDA_SUCCESS => Ok(version),
        CUresult::CUDA_ERROR_NO_DEVICE => Err(CudaError::NoDevice { wanted: 0, found: 0 }),
        code => Err(refused("cuInit", code)),
    }
}

fn describe(index: c_int, driver: i32) -> Result<DeviceInfo, CudaError> {
    let (device, name) = device(index)?;
    let attribute = |which| attribute(device, which);
    let mut memory = 0;
    // SAFETY: the device is the driver's.
    check("cuDeviceTotalMem", unsafe { sys::cuDeviceTotalMem_v2(&raw mut memory, device) })?;
    Ok(DeviceInfo {
        index: index as u32,
        name,
        capability: (
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        ),
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32,
        memory: memory as u64,
        has_time_limit: attribute(Attribute::CU_DEVICE_ATTRIBUTE_KERNEL_EXEC_TIMEOUT)? != 0,
        cooperative: attribute(Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH)? != 0,
        driver,
    })
}

fn device(index: c_int) -> Result<(CUdevice, String), CudaError> {
    let mut device = 0;
    let mut name = [0 as c_char; 128];
    // SAFETY: the driver is initialised; the buffer is as long as stated.
    unsafe {
        check("cuDeviceGet", sys::cuDeviceGet(&raw mut device, index))?;
        check("cuDeviceGetName", sys::cuDeviceGetName(name.as_mut_ptr(), name.len() as c_int - 1, device))?;
        Ok((device, CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned()))
    }
}

fn attribute(device: CUdevice, which: Attribute) -> Result<c_int, CudaError> {
    let mut value = 0;
    // SAFETY: the device is the driver's.
    check("cuDeviceGetAttribute", unsafe { sys::cuDeviceGetAttribute(&raw mut value, which, device) })?;
    Ok(value)
}

fn say(code: CUresult) -> String {
    let mut text = ptr::null();
    // SAFETY: the driver's library is there; it gives a static text or null.
    unsafe {
        if sys::cuGetErrorName(code, &raw mut text) != CUresult::CUDA_SUCCESS || text.is_null() {
            return format!("error {}", code as u32);
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

fn refused(call: &'static str, code: CUresult) -> CudaError {
    CudaError::Driver { call, why: say(code) }
}

fn check(call: &'static str, code: CUresult) -> Result<(), CudaError> {
    if code == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(refused(call, code)) }
}

fn fault(call: &'static str, code: CUresult) -> Result<(), Fault> {
    if code == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(Fault(format!("{call}: {}", say(code)))) }
}

/// An opened device with a loaded module.
pub(super) struct Driver {
    info: DeviceInfo,
    context: CUcontext,
    module: CUmodule,
    build: CUfunction,
    run: CUfunction,
    finish: CUfunction,
    layout: Layout,
    /// The grid's, then those of replaced workers.
    streams: Vec<CUstream>,
    copies: Mutex<Copies>,
    areas: Mutex<Areas>,
    /// Lanes of a block, once `most_blocks` has been asked.
    lanes: AtomicU32,
    /// The next stream for a replaced worker.
    spare: AtomicU32,
    abandoned: AtomicBool,
}

struct Copies {
    stream: CUstream,
    /// Pinned, of [`CHUNK`] bytes.
    staging: *mut u8,
}

#[derive(Default)]
struct Areas {
    device: Vec<u64>,
    host: Vec<*mut c_void>,
}

// SAFETY: the driver's handles may be used by any thread whose current context is theirs (`enter`); the staging buffer is behind a
// lock.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

impl Driver {
    /// Opens a device and loads a module.
    pub(super) fn open(index: u32, ptx: &str) -> Result<Self, CudaError> {
        let devices = devices()?;
        let Some(info) = devices.get(index as usize).cloned() else {
            return Err(CudaError::NoDevice { wanted: index, found: devices.len() as u32 });
        };
        if info.capability < (7, 0) {
            return Err(CudaError::DeviceTooOld { name: info.name, found: info.capability });
        }
        let missing = |what| Err(CudaError::Missing { name: info.name.clone(), what });
        if !info.cooperative {
            return missing("cooperative launch");
        }
        let (device, _) = device(index as c_int)?;
        if attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY)? == 0 {
            return missing("mapped host memory");
        }
        if attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING)? == 0 {
            return missing("unified addressing");
        }
        let mut context = ptr::null_mut();
        let flags = sys::CUctx_flags_enum::CU_CTX_MAP_HOST as c_uint;
        // SAFETY: the device is the driver's. The context is this backend's own: after a fault it is destroyed, and the next runtime has
        // a new one.
        check("cuCtxCreate", unsafe { sys::cuCtxCreate_v2(&raw mut context, flags, device) })?;
        // Freed by `drop` from here on, whatever fails.
        let mut driver = Self {
            info,
            context,
            module: ptr::null_mut(),
            build: ptr::null_mut(),
            run: ptr::null_mut(),
            finish: ptr::null_mut(),
            layout: Layout { abi: 0, fingerprint: 0, lane_bytes: 0, max_lines: 0, team: 0 },
            streams: Vec::new(),
            copies: Mutex::new(Copies { stream: ptr::null_mut(), staging: ptr::null_mut() }),
            areas: Mutex::default(),
            lanes: AtomicU32::new(32),
            spare: AtomicU32::new(0),
            abandoned: AtomicBool::new(false),
        };
        driver.load(ptx)?;
        for _ in 0..=SPARES {
            driver.streams.push(stream()?);
        }
        let staging = driver.pinned(CHUNK as u64)?.cast();
        *driver.copies.get_mut().unwrap_or_else(|e| e.into_inner()) = Copies { stream: stream()?, staging };
        Ok(driver)
    }

    fn load(&mut self, ptx: &str) -> Result<(), CudaError> {
        let Ok(text) = CString::new(ptx) else { return Err(CudaError::Ptx { log: "it holds a zero byte".into() }) };
        let mut log = [0 as c_char; 4096];
        let mut keys = [sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER, sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), ptr::without_provenance_mut(log.len() - 1)];
        // SAFETY: the context is current; the text ends with a zero, and the options are as the driver's manual has them: a buffer and
        // its length.
        unsafe {
            let code = sys::cuModuleLoadDataEx(
                &raw mut self.module,
                text.as_ptr().cast(),
                keys.len() as c_uint,
                keys.as_mut_ptr(),
                values.as_mut_ptr(),
            );
            if code != CUresult::CUDA_SUCCESS {
                let said = CStr::from_ptr(log.as_ptr()).to_string_lossy();
                return Err(CudaError::Ptx { log: format!("{}: {}", say(code), said.trim()) });
            }
            self.build = self.function(c"warpring_build")?;
            self.run = self.function(c"warpring_run")?;
            self.finish = self.function(c"warpring_finish")?;
            let (mut at, mut bytes) = (0, 0);
            let name = c"WARPRING_LAYOUT";
            let code = sys::cuModuleGetGlobal_v2(&raw mut at, &raw mut bytes, self.module, name.as_ptr());
            if code != CUresult::CUDA_SUCCESS || bytes != size_of::<Layout>() {
                return Err(CudaError::Ptx { log: "it was not made by warpring-build of this version: WARPRING_LAYOUT".into() });
            }
            let mut layout = MaybeUninit::<Layout>::uninit();
            check("cuMemcpyDtoH", sys::cuMemcpyDtoH_v2(layout.as_mut_ptr().cast(), at, bytes))?;
            self.layout = layout.assume_init();
        }
        Ok(())
    }

    /// # Safety
    /// The context is current, and the module is loaded.
    unsafe fn function(&self, name: &CStr) -> Result<CUfunction, CudaError> {
        let mut function = ptr::null_mut();
        // SAFETY: contract.
        let code = unsafe { sys::cuModuleGetFunction(&raw mut function, self.module, name.as_ptr()) };
        if code == CUresult::CUDA_SUCCESS {
            return Ok(function);
        }
        Err(CudaError::Ptx { log: format!("it has no kernel {}: it was not made by warpring-build", name.to_string_lossy()) })
    }

    /// Makes the device's context that of this thread.
    fn enter(&self) -> Result<(), Fault> {
        // SAFETY: the context lives as long as `self`.
        fault("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) })
    }

    fn pinned(&self, bytes: u64) -> Result<*mut c_void, CudaError> {
        let mut at = ptr::null_mut();
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: the context is current.
        match unsafe { sys::cuMemHostAlloc(&raw mut at, bytes as usize, flags) } {
            CUresult::CUDA_SUCCESS => {}
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => return Err(CudaError::Memory { bytes, free: self.free_bytes() }),
            code => return Err(refused("cuMemHostAlloc", code)),
        }
        lock(&self.areas).host.push(at);
        Ok(at)
    }

    fn wait(&self, stream: CUstream) -> Result<(), Fault> {
        loop {
            // SAFETY: the stream is this driver's.
            match unsafe { sys::cuStreamQuery(stream) } {
                CUresult::CUDA_SUCCESS => return Ok(()),
                CUresult::CUDA_ERROR_NOT_READY => std::thread::yield_now(),
                code => return fault("cuStreamQuery", code),
            }
        }
    }
}

fn stream() -> Result<CUstream, CudaError> {
    let mut stream = ptr::null_mut();
    let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as c_uint;
    // SAFETY: the context is current.
    check("cuStreamCreate", unsafe { sys::cuStreamCreate(&raw mut stream, flags) })?;
    Ok(stream)
}

fn broken(fault: Fault) -> CudaError {
    CudaError::Launch { why: fault.0 }
}

impl Gpu for Driver {
    fn name(&self) -> String {
        self.info.to_string()
    }

    fn layout(&self) -> Layout {
        self.layout
    }

    fn lanes(&self, lanes: u32) -> u32 {
        lanes
    }

    fn most_blocks(&self, lanes: u32) -> Result<u32, CudaError> {
        self.enter().map_err(broken)?;
        self.lanes.store(lanes, Ordering::Relaxed);
        let mut per = 0;
        // SAFETY: the function is loaded.
        check("cuOccupancyMaxActiveBlocksPerMultiprocessor", unsafe {
            sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(&raw mut per, self.run, lanes as c_int, 0)
        })?;
        // A block less, where there is more than one: a worker that is replaced needs room while the others run.
        let per = if per > 1 { per - 1 } else { per };
        Ok((per as u32 * self.info.multiprocessors).min(warpring_core::worker::MAX_WORKERS))
    }

    fn default_blocks(&self) -> u32 {
        self.info.multiprocessors
    }

    fn has_time_limit(&self) -> bool {
        self.info.has_time_limit
    }

    fn free_bytes(&self) -> u64 {
        let (mut free, mut total) = (0, 0);
        // SAFETY: the context is current (where it is not, the call fails, and nothing is known to be free).
        let code = unsafe { sys::cuMemGetInfo_v2(&raw mut free, &raw mut total) };
        if code == CUresult::CUDA_SUCCESS { free as u64 } else { 0 }
    }

    fn device_area(&self, bytes: u64) -> Result<u64, CudaError> {
        self.enter().map_err(broken)?;
        let mut at = 0;
        // SAFETY: the context is current.
        match unsafe { sys::cuMemAlloc_v2(&raw mut at, bytes as usize) } {
            CUresult::CUDA_SUCCESS => {}
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => return Err(CudaError::Memory { bytes, free: self.free_bytes() }),
            code => return Err(refused("cuMemAlloc", code)),
        }
        lock(&self.areas).device.push(at);
        // SAFETY: the memory was just allocated, and the stream is this driver's.
        check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(at, 0, bytes as usize, self.streams[0]) })?;
        self.wait(self.streams[0]).map_err(broken)?;
        Ok(at)
    }

    fn shared_area(&self, bytes: u64) -> Result<u64, CudaError> {
        self.enter().map_err(broken)?;
        let host = self.pinned(bytes)?;
        let mut device = 0;
        // SAFETY: the memory was just allocated, with so many bytes.
        unsafe {
            host.cast::<u8>().write_bytes(0, bytes as usize);
            check("cuMemHostGetDevicePointer", sys::cuMemHostGetDevicePointer_v2(&raw mut device, host, 0))?;
        }
        if device != host.expose_provenance() as u64 {
            return Err(CudaError::Missing { name: self.info.name.clone(), what: "one address for pinned memory on both sides" });
        }
        Ok(device)
    }

    fn start(&self, entry: Entry, grid: *const Grid) -> Result<(), Fault> {
        self.enter()?;
        // SAFETY: the engine has written the grid.
        let workers = unsafe { (*grid).plan.limits.workers };
        let lanes = self.lanes.load(Ordering::Relaxed);
        let mut argument = grid as usize as u64;
        let mut arguments: [*mut c_void; 1] = [(&raw mut argument).cast()];
        let main = self.streams[0];
        // SAFETY: the functions are loaded and take one address; what it names lives as long as the engine.
        unsafe {
            match entry {
                // Only a cooperative launch promises that all blocks run at once.
                Entry::Run => fault(
                    "cuLaunchCooperativeKernel",
                    sys::cuLaunchCooperativeKernel(self.run, workers, 1, 1, lanes, 1, 1, 0, main, arguments.as_mut_ptr()),
                ),
                Entry::Replace => {
                    let spare = self.spare.fetch_add(1, Ordering::Relaxed) as usize % SPARES;
                    launch(self.run, workers, lanes, self.streams[1 + spare], &mut arguments)
                }
                Entry::Build => launch(self.build, 1, 32, main, &mut arguments),
                Entry::Finish => launch(self.finish, 1, 32, main, &mut arguments),
            }
        }
    }

    fn running(&self) -> Result<bool, Fault> {
        self.enter()?;
        let mut running = false;
        for stream in &self.streams {
            // SAFETY: the stream is this driver's.
            match unsafe { sys::cuStreamQuery(*stream) } {
                CUresult::CUDA_SUCCESS => {}
                CUresult::CUDA_ERROR_NOT_READY => running = true,
                code => fault("the grid", code)?,
            }
        }
        Ok(running)
    }

    fn copy_in(&self, to: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.enter()?;
        let copies = lock(&self.copies);
        for (i, chunk) in bytes.chunks(CHUNK).enumerate() {
            // SAFETY: the staging buffer holds a chunk and is ours (the lock); `to` is device memory for all of `bytes`.
            unsafe {
                copies.staging.copy_from_nonoverlapping(chunk.as_ptr(), chunk.len());
                let at = to + (i * CHUNK) as u64;
                fault(
                    "cuMemcpyHtoDAsync",
                    sys::cuMemcpyHtoDAsync_v2(at, copies.staging.cast_const().cast(), chunk.len(), copies.stream),
                )?;
            }
            self.wait(copies.stream)?;
        }
        Ok(())
    }

    fn read_word(&self, at: u64) -> Result<u32, Fault> {
        self.enter()?;
        let copies = lock(&self.copies);
        // SAFETY: the staging buffer is ours (the lock) and holds a word; `at` is a word of device memory. It is read after the copy.
        unsafe {
            fault("cuMemcpyDtoHAsync", sys::cuMemcpyDtoHAsync_v2(copies.staging.cast(), at, size_of::<u32>(), copies.stream))?;
            self.wait(copies.stream)?;
            Ok(copies.staging.cast::<u32>().read())
        }
    }

    fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

/// # Safety
/// As for `cuLaunchKernel`.
unsafe fn launch(
    function: CUfunction,
    blocks: u32,
    lanes: u32,
    stream: CUstream,
    arguments: &mut [*mut c_void; 1],
) -> Result<(), Fault> {
    // SAFETY: contract.
    let code =
        unsafe { sys::cuLaunchKernel(function, blocks, 1, 1, lanes, 1, 1, 0, stream, arguments.as_mut_ptr(), ptr::null_mut()) };
    fault("cuLaunchKernel", code)
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: nobody uses the device through this any more. A grid that cannot be stopped keeps what it uses, because freeing would
        // wait for it; after a fault nothing but the context can be given back.
        unsafe {
            let running = self.running();
            if self.enter().is_err() || matches!(running, Ok(true)) {
                return;
            }
            if running.is_ok() && !self.abandoned.load(Ordering::Relaxed) {
                let areas = self.areas.get_mut().unwrap_or_else(|e| e.into_inner());
                for at in &areas.device {
                    sys::cuMemFree_v2(*at);
                }
                for at in &areas.host {
                    sys::cuMemFreeHost(*at);
                }
                for stream in self.streams.iter().chain([&self.copies.get_mut().unwrap_or_else(|e| e.into_inner()).stream]) {
                    if !stream.is_null() {
                        sys::cuStreamDestroy_v2(*stream);
                    }
                }
            }
            sys::cuCtxDestroy_v2(self.context);
        }
    }
}
