//! The CUDA driver, as the floors need it: the device's primary context, one module, one stream. Every call is checked, and every wait
//! ends.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use cudarc::driver::sys::{
    self, CUcontext, CUdevice, CUdevice_attribute as Attribute, CUevent, CUfunction, CUgraphExec, CUmodule, CUresult, CUstream,
};
use warpring::{CudaError, DeviceInfo};

/// A kernel of the floors ends long before.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// Why something could not be measured on a GPU.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum GpuError {
    /// There is none.
    Device(CudaError),
    /// The driver refused a call.
    Driver {
        /// The call.
        call: &'static str,
        /// What it said.
        why: String,
    },
    /// The driver does not take the PTX.
    Ptx {
        /// What it said.
        log: String,
    },
    /// The device or its driver cannot do what this needs.
    Missing {
        /// What.
        what: &'static str,
    },
    /// Something did not end. Nothing more is tried on that device.
    Stuck {
        /// What.
        what: String,
        /// For how long it was waited.
        after: Duration,
    },
    /// Something gave another answer than it must.
    Wrong {
        /// What, and which.
        what: String,
    },
}

impl fmt::Display for GpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::Driver { call, why } => write!(f, "the CUDA driver refused {call}: {why}"),
            Self::Ptx { log } => write!(f, "the driver does not take the PTX: {log}"),
            Self::Missing { what } => write!(f, "this device or its driver has no {what}"),
            Self::Stuck { what, after } => write!(f, "{what} has not ended after {:.1} s", after.as_secs_f64()),
            Self::Wrong { what } => f.write_str(what),
        }
    }
}

impl std::error::Error for GpuError {}

fn say(code: CUresult) -> String {
    let mut text = ptr::null();
    // SAFETY: the library is loaded; it gives a static text or null.
    unsafe {
        if sys::cuGetErrorName(code, &raw mut text) != CUresult::CUDA_SUCCESS || text.is_null() {
            return format!("error {}", code as u32);
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

pub(super) fn check(call: &'static str, code: CUresult) -> Result<(), GpuError> {
    if code == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(GpuError::Driver { call, why: say(code) }) }
}

/// A device with the primary context, which programs beside the framework use too, and with one module. It stays on the thread that
/// opened it.
#[derive(Debug)]
pub struct Device {
    info: DeviceInfo,
    device: CUdevice,
    context: CUcontext,
    module: CUmodule,
    stream: CUstream,
    held: RefCell<Held>,
    /// Something did not end: what it uses must not be freed.
    stuck: Cell<bool>,
}

#[derive(Debug, Default)]
struct Held {
    device: Vec<u64>,
    host: Vec<*mut c_void>,
    events: Vec<CUevent>,
    graphs: Vec<CUgraphExec>,
}

/// A graph of one kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Graph(CUgraphExec);

/// How a kernel is launched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) blocks: u32,
    pub(super) threads: u32,
    /// Bytes of dynamic shared memory.
    pub(super) shared: u32,
    /// All blocks run at once, or the launch fails.
    pub(super) cooperative: bool,
}

impl Shape {
    /// One block of one warp.
    pub(super) const ONE: Self = Self { blocks: 1, threads: 32, shared: 0, cooperative: false };
}

impl Device {
    /// Opens a device and loads a module.
    ///
    /// # Errors
    /// [`GpuError`].
    pub fn open(index: u32, ptx: &str) -> Result<Self, GpuError> {
        // This looks for the library, loads it and initialises the driver.
        let devices = warpring::devices().map_err(GpuError::Device)?;
        let found = devices.len() as u32;
        let Some(info) = devices.into_iter().nth(index as usize) else {
            return Err(GpuError::Device(CudaError::NoDevice { wanted: index, found }));
        };
        let mut this = Self {
            info,
            device: 0,
            context: ptr::null_mut(),
            module: ptr::null_mut(),
            stream: ptr::null_mut(),
            held: RefCell::default(),
            stuck: Cell::new(false),
        };
        // What was made so far is given back by `drop`, whatever fails.
        // SAFETY: the driver is initialised; the context is this thread's current one from the third call on.
        unsafe {
            check("cuDeviceGet", sys::cuDeviceGet(&raw mut this.device, index as c_int))?;
            check("cuDevicePrimaryCtxRetain", sys::cuDevicePrimaryCtxRetain(&raw mut this.context, this.device))?;
            check("cuCtxSetCurrent", sys::cuCtxSetCurrent(this.context))?;
            let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as c_uint;
            check("cuStreamCreate", sys::cuStreamCreate(&raw mut this.stream, flags))?;
        }
        this.load(ptx)?;
        Ok(this)
    }

    fn load(&mut self, ptx: &str) -> Result<(), GpuError> {
        let text = CString::new(ptx).map_err(|_| GpuError::Ptx { log: "it holds a zero byte".into() })?;
        let mut log = [0 as c_char; 4096];
        let mut keys = [sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER, sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
        let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), ptr::without_provenance_mut(log.len() - 1)];
        let count = keys.len() as c_uint;
        // SAFETY: the context is current, the text ends with a zero, and the options are a buffer and its length, which is one less than
        // it holds, so that it ends with a zero too.
        let (code, said) = unsafe {
            let (keys, values) = (keys.as_mut_ptr(), values.as_mut_ptr());
            let code = sys::cuModuleLoadDataEx(&raw mut self.module, text.as_ptr().cast(), count, keys, values);
            (code, CStr::from_ptr(log.as_ptr()).to_string_lossy().trim().to_owned())
        };
        if code == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(GpuError::Ptx { log: format!("{}: {said}", say(code)) }) }
    }

    /// What it is.
    pub const fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Nothing more may be tried: something has not ended.
    pub(super) fn is_stuck(&self) -> bool {
        self.stuck.get()
    }

    pub(super) fn attribute(&self, which: Attribute) -> Result<u32, GpuError> {
        let mut value = 0;
        // SAFETY: the device is the driver's.
        check("cuDeviceGetAttribute", unsafe { sys::cuDeviceGetAttribute(&raw mut value, which, self.device) })?;
        Ok(value.max(0) as u32)
    }

    pub(super) fn kernel(&self, name: &CStr) -> Result<CUfunction, GpuError> {
        let mut function = ptr::null_mut();
        // SAFETY: the module is loaded.
        check("cuModuleGetFunction", unsafe { sys::cuModuleGetFunction(&raw mut function, self.module, name.as_ptr()) })?;
        Ok(function)
    }

    /// Lets a kernel have so much dynamic shared memory.
    pub(super) fn allow_shared(&self, kernel: CUfunction, bytes: u32) -> Result<(), GpuError> {
        let which = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the kernel is this module's.
        check("cuFuncSetAttribute", unsafe { sys::cuFuncSetAttribute(kernel, which, bytes as c_int) })
    }

    /// Zeroed device memory, until the device is closed.
    pub(super) fn memory(&self, bytes: usize) -> Result<u64, GpuError> {
        let mut at = 0;
        // SAFETY: the context is current.
        check("cuMemAlloc", unsafe { sys::cuMemAlloc_v2(&raw mut at, bytes) })?;
        self.held.borrow_mut().device.push(at);
        self.clear(at, bytes)?;
        Ok(at)
    }

    /// Gives device memory back before the device is closed.
    pub(super) fn free(&self, at: u64) -> Result<(), GpuError> {
        let mut held = self.held.borrow_mut();
        let Some(place) = held.device.iter().position(|held| *held == at) else { return Ok(()) };
        held.device.swap_remove(place);
        // SAFETY: it was allocated by `memory`, and nothing that uses it runs: every wait is over before its caller goes on.
        check("cuMemFree", unsafe { sys::cuMemFree_v2(at) })
    }

    /// Zeros device memory and waits for it.
    pub(super) fn clear(&self, at: u64, bytes: usize) -> Result<(), GpuError> {
        // SAFETY: the caller has so much memory there.
        check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(at, 0, bytes, self.stream) })?;
        self.wait("clearing memory", PATIENCE)
    }

    /// Zeroed words in host memory that the device sees, and their address there. They live as long as the device is open.
    pub(super) fn pinned(&self, words: usize) -> Result<(&[AtomicU64], u64), GpuError> {
        let mut at = ptr::null_mut();
        let flags = sys::CU_MEMHOSTALLOC_PORTABLE | sys::CU_MEMHOSTALLOC_DEVICEMAP;
        let mut seen = 0;
        // SAFETY: the context is current. The memory is page-aligned, of so many words, and zeroed before anybody sees it; it is freed
        // only by `drop`, so the slice may borrow from `self`.
        let slice = unsafe {
            check("cuMemHostAlloc", sys::cuMemHostAlloc(&raw mut at, words * 8, flags))?;
            self.held.borrow_mut().host.push(at);
            at.cast::<u64>().write_bytes(0, words);
            check("cuMemHostGetDevicePointer", sys::cuMemHostGetDevicePointer_v2(&raw mut seen, at, 0))?;
            std::slice::from_raw_parts(at.cast::<AtomicU64>(), words)
        };
        Ok((slice, seen))
    }

    /// Starts a kernel. Each argument is a word of which the kernel takes as many low bytes as its parameter has.
    ///
    /// # Safety
    /// The arguments are what the kernel's parameters want, and what they name lives until it has ended.
    pub(super) unsafe fn launch(&self, kernel: CUfunction, shape: Shape, arguments: &[u64]) -> Result<(), GpuError> {
        const { assert!(cfg!(target_endian = "little"), "the low bytes come first") };
        let Shape { blocks, threads, shared, cooperative } = shape;
        let mut words = arguments.to_vec();
        let mut places: Vec<*mut c_void> = words.iter_mut().map(|word| ptr::from_mut(word).cast()).collect();
        let places = places.as_mut_ptr();
        // SAFETY: contract; the driver copies the arguments before it returns.
        unsafe {
            if cooperative {
                let code = sys::cuLaunchCooperativeKernel(kernel, blocks, 1, 1, threads, 1, 1, shared, self.stream, places);
                check("cuLaunchCooperativeKernel", code)
            } else {
                let code = sys::cuLaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, shared, self.stream, places, ptr::null_mut());
                check("cuLaunchKernel", code)
            }
        }
    }

    /// Whether all that was started has ended.
    pub(super) fn idle(&self) -> Result<bool, GpuError> {
        // SAFETY: the stream is this device's.
        match unsafe { sys::cuStreamQuery(self.stream) } {
            CUresult::CUDA_SUCCESS => Ok(true),
            CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            code => {
                // After a fault the context is of no use, and freeing in it is refused anyway.
                self.stuck.set(true);
                check("cuStreamQuery", code).map(|()| false)
            }
        }
    }

    /// Waits until all that was started has ended.
    pub(super) fn wait(&self, what: &str, limit: Duration) -> Result<(), GpuError> {
        let start = Instant::now();
        while !self.idle()? {
            if start.elapsed() > limit {
                self.stuck.set(true);
                return Err(GpuError::Stuck { what: what.to_owned(), after: limit });
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    /// Waits in the way that programs wait for a launch: in the driver.
    pub(super) fn synchronise(&self) -> Result<(), GpuError> {
        // SAFETY: the stream is this device's.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.stream) })
    }

    /// Reads words of device memory.
    pub(super) fn read(&self, at: u64, words: usize) -> Result<Vec<u64>, GpuError> {
        let mut out = vec![0_u64; words];
        // SAFETY: the buffer is so long and lives until the copy has ended: a copy into memory that is not pinned returns after it.
        check("cuMemcpyDtoH", unsafe { sys::cuMemcpyDtoH_v2(out.as_mut_ptr().cast(), at, words * 8) })?;
        Ok(out)
    }

    /// Starts a copy from device to device memory.
    ///
    /// # Safety
    /// Both areas are so large, and live until it has ended.
    pub(super) unsafe fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), GpuError> {
        // SAFETY: contract.
        check("cuMemcpyDtoDAsync", unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes, self.stream) })
    }

    /// Starts a copy from words of pinned memory to device memory, or back.
    ///
    /// # Safety
    /// The device memory is as large as the words, both live until it has ended, and nobody touches the words before.
    pub(super) unsafe fn copy_pinned(&self, device: u64, words: &[AtomicU64], back: bool) -> Result<(), GpuError> {
        let (at, bytes) = (words.as_ptr().cast_mut().cast::<c_void>(), words.len() * 8);
        // SAFETY: contract; the words are atomics, which may be written through a shared reference.
        unsafe {
            if back {
                check("cuMemcpyDtoHAsync", sys::cuMemcpyDtoHAsync_v2(at, device, bytes, self.stream))
            } else {
                check("cuMemcpyHtoDAsync", sys::cuMemcpyHtoDAsync_v2(device, at, bytes, self.stream))
            }
        }
    }

    /// Marks a point in the stream.
    pub(super) fn event(&self) -> Result<CUevent, GpuError> {
        let mut event = ptr::null_mut();
        // SAFETY: the context is current.
        unsafe {
            check("cuEventCreate", sys::cuEventCreate(&raw mut event, 0))?;
            self.held.borrow_mut().events.push(event);
            check("cuEventRecord", sys::cuEventRecord(event, self.stream))?;
        }
        Ok(event)
    }

    /// Seconds from one event to another; both have come.
    pub(super) fn seconds(&self, from: CUevent, until: CUevent) -> Result<f64, GpuError> {
        let mut milliseconds = 0.0_f32;
        // SAFETY: the events are this device's.
        check("cuEventElapsedTime", unsafe { sys::cuEventElapsedTime(&raw mut milliseconds, from, until) })?;
        Ok(f64::from(milliseconds) / 1e3)
    }

    /// A graph of one kernel.
    ///
    /// # Safety
    /// As for [`launch`](Self::launch), for as long as the graph is used.
    pub(super) unsafe fn graph(&self, kernel: CUfunction, shape: Shape, arguments: &[u64]) -> Result<Graph, GpuError> {
        // Older drivers do not have the call, and the bindings would panic.
        if self.info.driver < 11_040 {
            return Err(GpuError::Missing { what: "cuGraphInstantiateWithFlags (CUDA 11.4)" });
        }
        let (mut graph, mut exec) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: the stream is this device's, and what is captured is the contract's launch.
        unsafe {
            let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
            check("cuStreamBeginCapture", sys::cuStreamBeginCapture_v2(self.stream, mode))?;
            let launched = self.launch(kernel, shape, arguments);
            let ended = check("cuStreamEndCapture", sys::cuStreamEndCapture(self.stream, &raw mut graph));
            launched.and(ended)?;
            let made = check("cuGraphInstantiate", sys::cuGraphInstantiateWithFlags(&raw mut exec, graph, 0));
            let destroyed = check("cuGraphDestroy", sys::cuGraphDestroy(graph));
            made.and(destroyed)?;
        }
        self.held.borrow_mut().graphs.push(exec);
        Ok(Graph(exec))
    }

    /// Starts a graph.
    pub(super) fn launch_graph(&self, graph: Graph) -> Result<(), GpuError> {
        // SAFETY: the graph is this device's; what its kernel needs is the contract of `graph`.
        check("cuGraphLaunch", unsafe { sys::cuGraphLaunch(graph.0, self.stream) })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // A kernel that has not ended keeps what it uses: freeing would wait for it.
        if self.stuck.get() || self.context.is_null() {
            return;
        }
        let held = self.held.get_mut();
        // SAFETY: all of it was made by this device on this thread, nothing runs, and nobody uses it after this. There is nobody to hear
        // of an error.
        unsafe {
            for graph in &held.graphs {
                sys::cuGraphExecDestroy(*graph);
            }
            for event in &held.events {
                sys::cuEventDestroy_v2(*event);
            }
            for at in &held.device {
                sys::cuMemFree_v2(*at);
            }
            for at in &held.host {
                sys::cuMemFreeHost(*at);
            }
            if !self.stream.is_null() {
                sys::cuStreamDestroy_v2(self.stream);
            }
            if !self.module.is_null() {
                sys::cuModuleUnload(self.module);
            }
            // Others may hold it too; this thread does not use it any more.
            sys::cuCtxSetCurrent(ptr::null_mut());
            sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}
