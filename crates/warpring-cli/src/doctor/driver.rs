//! The NVIDIA driver and its devices, as the cuda backend finds them.

use warpring::CudaError;

use super::Finding;

/// The driver, and the devices where there is one.
pub(super) fn findings() -> Vec<Finding> {
    let driver = |found| Finding {
        name: "nvidia driver",
        found,
        serves: "the cuda backend",
        cure: "install the NVIDIA driver; no CUDA toolkit is needed",
    };
    let devices = match warpring::devices() {
        Err(error @ (CudaError::NoDriver | CudaError::DriverTooOld { .. } | CudaError::Driver { .. })) => {
            return vec![driver(Err(error.to_string()))];
        }
        Err(error) => Err(error.to_string()),
        Ok(devices) if devices.is_empty() => Err("none".to_owned()),
        Ok(devices) => Ok(devices),
    };
    let version = devices.as_ref().ok().and_then(|devices| devices.first()).map(|device| device.driver);
    let version = version.map_or("there".to_owned(), |version| format!("CUDA {}.{}", version / 1000, version % 1000 / 10));
    let found = devices.map(|devices| devices.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
    let devices = Finding {
        name: "nvidia devices",
        found,
        serves: "the cuda backend",
        cure: "check with `nvidia-smi` that the driver sees the GPU, and CUDA_VISIBLE_DEVICES",
    };
    vec![driver(Ok(version)), devices]
}
