//! The NVIDIA driver's library, opened at run time: whether it is there, what it supports, and which devices it has.

use super::Finding;
use libloading::{Library, Symbol};
use std::ffi::{CStr, c_char, c_int, c_uint};

const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };
/// Most devices that are listed.
const MOST_DEVICES: c_int = 64;
const NAME_BYTES: usize = 256;

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`.
const COMPUTE_CAPABILITY: [c_int; 2] = [75, 76];
/// `CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT`.
const MULTIPROCESSORS: c_int = 16;

type Init = unsafe extern "C" fn(flags: c_uint) -> c_int;
/// `cuDriverGetVersion` and `cuDeviceGetCount`.
type GetNumber = unsafe extern "C" fn(number: *mut c_int) -> c_int;
type DeviceGet = unsafe extern "C" fn(device: *mut c_int, ordinal: c_int) -> c_int;
type DeviceGetName = unsafe extern "C" fn(name: *mut c_char, bytes: c_int, device: c_int) -> c_int;
type DeviceGetAttribute = unsafe extern "C" fn(value: *mut c_int, attribute: c_int, device: c_int) -> c_int;
type DeviceTotalMem = unsafe extern "C" fn(bytes: *mut usize, device: c_int) -> c_int;

/// The library and the devices.
pub(super) fn findings() -> Vec<Finding> {
    // SAFETY: loading runs the library's initialisers; this is the driver's own library, by the name under which it is
    // installed, and every CUDA program loads it so.
    let library = unsafe { Library::new(LIBRARY) };
    let driver = |found| Finding {
        name: "nvidia driver",
        found,
        serves: "the cuda backend",
        cure: "install the NVIDIA driver; no CUDA toolkit is needed",
    };
    let library = match library {
        Ok(library) => library,
        Err(_) => return vec![driver(Err(format!("no {LIBRARY}")))],
    };
    match start(&library) {
        Ok(version) => {
            let devices = Finding {
                name: "nvidia devices",
                found: devices(&library),
                serves: "the cuda backend",
                cure: "check with `nvidia-smi` that the driver sees the GPU, and CUDA_VISIBLE_DEVICES",
            };
            vec![driver(Ok(format!("{LIBRARY}, CUDA {}.{}", version / 1000, version % 1000 / 10))), devices]
        }
        Err(why) => vec![driver(Err(why))],
    }
}

fn call(name: &str, code: c_int) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(format!("{name} answered error {code}")) }
}

fn symbol<'l, T>(library: &'l Library, name: &str) -> Result<Symbol<'l, T>, String> {
    // SAFETY: each caller names a function of CUDA's driver API together with its documented type.
    unsafe { library.get(name.as_bytes()) }.map_err(|_| format!("{LIBRARY} has no {name}"))
}

/// Starts the driver and gives its version.
fn start(library: &Library) -> Result<c_int, String> {
    let init: Symbol<'_, Init> = symbol(library, "cuInit")?;
    // SAFETY: flags must be 0, says the driver API.
    call("cuInit", unsafe { init(0) })?;
    number(library, "cuDriverGetVersion")
}

fn number(library: &Library, name: &str) -> Result<c_int, String> {
    let get: Symbol<'_, GetNumber> = symbol(library, name)?;
    let mut value = 0;
    // SAFETY: the pointer is to an int of this frame.
    call(name, unsafe { get(&mut value) })?;
    Ok(value)
}

fn devices(library: &Library) -> Result<String, String> {
    let count = number(library, "cuDeviceGetCount")?;
    if count == 0 {
        return Err("none".to_owned());
    }
    let names: Result<Vec<_>, _> = (0..count.min(MOST_DEVICES)).map(|ordinal| device(library, ordinal)).collect();
    names.map(|names| names.join("; "))
}

fn device(library: &Library, ordinal: c_int) -> Result<String, String> {
    let get: Symbol<'_, DeviceGet> = symbol(library, "cuDeviceGet")?;
    let name_of: Symbol<'_, DeviceGetName> = symbol(library, "cuDeviceGetName")?;
    let attribute_of: Symbol<'_, DeviceGetAttribute> = symbol(library, "cuDeviceGetAttribute")?;
    let memory_of: Symbol<'_, DeviceTotalMem> = symbol(library, "cuDeviceTotalMem_v2")?;
    let (mut device, mut name, mut bytes) = (0, [0 as c_char; NAME_BYTES], 0_usize);
    // SAFETY: the pointers are to variables of this frame; the name's length goes with it.
    unsafe {
        call("cuDeviceGet", get(&mut device, ordinal))?;
        call("cuDeviceGetName", name_of(name.as_mut_ptr(), NAME_BYTES as c_int - 1, device))?;
        call("cuDeviceTotalMem", memory_of(&mut bytes, device))?;
    }
    let attribute = |attribute| {
        let mut value = 0;
        // SAFETY: as above.
        call("cuDeviceGetAttribute", unsafe { attribute_of(&mut value, attribute, device) }).map(|()| value)
    };
    let [major, minor] = COMPUTE_CAPABILITY.map(attribute);
    let multiprocessors = attribute(MULTIPROCESSORS)?;
    // SAFETY: the driver ends the name with a zero, and the last byte, which it was not given, is one.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    Ok(format!("{name}, sm_{}{}, {multiprocessors} multiprocessors, {} MiB", major?, minor?, bytes >> 20))
}
