//! Where tests find the real data, which is not part of the project.

use std::path::PathBuf;

/// The path of a data file, or `None`, with a line that says so, where the data is absent. It lies in `shared/data`
/// beside the workspace unless the environment variable `WARPRING_DATA` names another folder.
pub fn data_file(name: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("WARPRING_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = folder.join(name);
    if !path.is_file() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    Some(path)
}
