//! What cargo knows of the kernel crate: its name, its `warpring`, and where the sources of all packages lie.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Error;
use crate::toolchain::Toolchain;

/// A kernel crate and the packages it is built from.
pub struct Crate {
    /// The kernel crate's own package.
    pub package: Package,
    /// The name of its library.
    pub library: String,
    /// The package that it knows as `warpring`.
    pub warpring: Package,
    /// All packages that do not come from a registry, the kernel crate among them.
    pub local: Vec<Package>,
    /// Directories in which packages of registries lie side by side.
    pub registries: BTreeSet<PathBuf>,
    /// Packages that replace one of a registry or repository: where that one is declared to come from, and the package.
    pub patches: Vec<(String, Package)>,
    /// Where the lock file is.
    pub workspace: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
}

/// The source of a package of the default registry.
pub const DEFAULT_REGISTRY: &str = "registry";

/// A package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it lies.
    pub dir: PathBuf,
    /// Where it comes from; `None` for a path.
    pub source: Option<String>,
    /// Directories and files that it is built from.
    pub sources: Vec<PathBuf>,
}

/// Asks cargo about the package in `dir`.
pub fn read(toolchain: &Toolchain, dir: &Path, features: &[String]) -> Result<Crate, Error> {
    let refuse = |said: String| Error::Metadata { dir: dir.to_owned(), said };
    // Absolute, because cargo runs in there.
    let dir = dir.canonicalize().map_err(|error| refuse(error.to_string()))?;
    if !dir.join("Cargo.toml").is_file() {
        return Err(refuse("there is no Cargo.toml".to_owned()));
    }
    let mut command = toolchain.command(&dir);
    command.args(["metadata", "--format-version", "1", "--filter-platform", crate::TARGET, "--color", "never"]);
    if !features.is_empty() {
        command.args(["--features", &features.join(",")]);
    }
    let output = command.output().map_err(|error| refuse(error.to_string()))?;
    if !output.status.success() {
        return Err(refuse(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let all: Value = serde_json::from_slice(&output.stdout).map_err(|error| refuse(error.to_string()))?;
    from_json(&all, &dir)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn rust_files(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
}

fn package(value: &Value) -> Package {
    let manifest = PathBuf::from(text(value, "manifest_path"));
    let dir = manifest.parent().unwrap_or(Path::new("")).to_owned();
    let mut sources = vec![manifest];
    for target in list(value, "targets") {
        let path = PathBuf::from(text(target, "src_path"));
        let kinds: Vec<&str> = list(target, "kind").iter().filter_map(Value::as_str).collect();
        if kinds.contains(&"custom-build") {
            sources.push(path);
        } else if kinds.iter().any(|kind| kind.ends_with("lib") || *kind == "proc-macro") {
            match path.parent() {
                // The build directory may lie in there, and that changes all the time.
                Some(parent) if parent == dir => sources.extend(rust_files(parent)),
                Some(parent) => sources.push(parent.to_owned()),
                None => {}
            }
        }
    }
    Package {
        name: text(value, "name"),
        version: text(value, "version"),
        dir,
        source: value["source"].as_str().map(str::to_owned),
        sources,
    }
}

fn from_json(all: &Value, dir: &Path) -> Result<Crate, Error> {
    let no_library = || Error::NoLibrary { dir: dir.to_owned() };
    let packages: BTreeMap<&str, &Value> =
        list(all, "packages").iter().filter_map(|package| Some((package["id"].as_str()?, package))).collect();
    let nodes: BTreeMap<&str, &Value> =
        list(&all["resolve"], "nodes").iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    // A dependency that names no registry is of the default one, whatever cargo calls that.
    let default = packages.values().flat_map(|package| list(package, "dependencies")).find_map(|declared| {
        let source = declared["source"].as_str().filter(|source| source.starts_with("registry+"));
        source.filter(|_| declared["registry"].is_null())
    });
    let of = |source: &str| if Some(source) == default { DEFAULT_REGISTRY } else { source }.to_owned();
    let package = |value: &Value| {
        let package = package(value);
        Package { source: package.source.as_deref().map(of), ..package }
    };
    // A manifest of a workspace alone has no root.
    let root = all["resolve"]["root"].as_str().ok_or_else(no_library)?;
    let value = packages.get(root).ok_or_else(no_library)?;
    let is_library =
        |target: &&Value| list(target, "kind").iter().any(|kind| matches!(kind.as_str(), Some("lib" | "rlib" | "cdylib")));
    let library = list(value, "targets").iter().find(is_library).map(|target| text(target, "name")).ok_or_else(no_library)?;

    let mut found = Crate {
        package: package(value),
        library,
        warpring: package(&Value::Null),
        local: Vec::new(),
        registries: BTreeSet::new(),
        patches: Vec::new(),
        workspace: PathBuf::from(text(all, "workspace_root")),
        target: PathBuf::from(text(all, "target_directory")),
    };
    // A dependency counts if the device's build needs it: not those of tests, nor those of build scripts.
    let mut seen = BTreeSet::from([root]);
    let mut queue = vec![root];
    let mut warpring = None;
    while let Some(id) = queue.pop() {
        let Some(value) = packages.get(id) else { continue };
        let it = package(value);
        match it.source.as_deref() {
            Some(source) if !source.starts_with("git+") => found.registries.extend(it.dir.parent().map(Path::to_owned)),
            _ => found.local.push(it),
        }
        for dependency in nodes.get(id).map_or(&[][..], |node| list(node, "deps")) {
            let normal = list(dependency, "dep_kinds").iter().any(|kind| kind["kind"].is_null());
            let Some((id_of_it, it)) = dependency["pkg"].as_str().and_then(|id| Some((id, packages.get(id)?))).filter(|_| normal)
            else {
                continue;
            };
            if id == root && it["name"] == "warpring" {
                warpring = Some(package(it));
            }
            if it["source"].is_null()
                && let Some(declared) = list(value, "dependencies").iter().find(|d| d["name"] == it["name"])
                && let Some(from) = declared["source"].as_str()
            {
                let patch = (of(from), package(it));
                if !found.patches.contains(&patch) {
                    found.patches.push(patch);
                }
            }
            if seen.insert(id_of_it) {
                queue.push(id_of_it);
            }
        }
    }
    found.local.sort_by(|a, b| a.dir.cmp(&b.dir));
    found.warpring = warpring.ok_or_else(|| Error::NoWarpring { package: found.package.name.clone() })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answer(warpring_source: Value, declared_source: Value) -> Value {
        let lib = json!([{ "kind": ["lib"], "name": "my_kernels", "src_path": "/w/k/src/lib.rs" }]);
        json!({
            "workspace_root": "/w", "target_directory": "/w/target",
            "packages": [
                { "id": "k", "name": "my-kernels", "version": "1.0.0", "manifest_path": "/w/k/Cargo.toml", "source": null,
                  "targets": lib, "dependencies": [{ "name": "warpring", "rename": "rings", "source": declared_source }] },
                { "id": "r", "name": "warpring", "version": "0.1.0", "manifest_path": "/r/Cargo.toml", "source": warpring_source,
                  "targets": [], "dependencies": [] },
                { "id": "t", "name": "proptest", "version": "1.0.0", "manifest_path": "/t/Cargo.toml", "source": null,
                  "targets": [], "dependencies": [] },
            ],
            "resolve": { "root": "k", "nodes": [
                { "id": "k", "deps": [
                    { "name": "rings", "pkg": "r", "dep_kinds": [{ "kind": null }] },
                    { "name": "proptest", "pkg": "t", "dep_kinds": [{ "kind": "dev" }] },
                ] },
            ] },
        })
    }

    #[test]
    fn a_renamed_warpring_is_found_wherever_it_comes_from() {
        let registry = json!("registry+index");
        let found = from_json(&answer(registry.clone(), registry.clone()), Path::new("/w/k")).unwrap();
        assert_eq!((found.package.name.as_str(), found.library.as_str()), ("my-kernels", "my_kernels"));
        assert_eq!(found.warpring.source.as_deref(), Some(DEFAULT_REGISTRY));
        assert_eq!(found.local.len(), 1, "neither a package of tests nor one of a registry is local: {:?}", found.local);
        assert_eq!(found.registries.iter().collect::<Vec<_>>(), [Path::new("/")]);
        assert_eq!(found.patches, []);

        let patched = from_json(&answer(Value::Null, registry), Path::new("/w/k")).unwrap();
        assert_eq!(patched.local.len(), 2);
        assert_eq!(patched.patches.len(), 1);
        assert_eq!((patched.patches[0].0.as_str(), patched.patches[0].1.name.as_str()), (DEFAULT_REGISTRY, "warpring"));
        let mut other = answer(json!("registry+index"), json!("registry+index"));
        other["packages"][0]["dependencies"][0]["registry"] = json!("index");
        let other = from_json(&other, Path::new("/w/k")).unwrap();
        assert_eq!(other.warpring.source.as_deref(), Some("registry+index"), "it names a registry");
    }

    #[test]
    fn what_is_no_kernel_crate_is_refused() {
        let mut workspace = answer(Value::Null, Value::Null);
        workspace["resolve"]["root"] = Value::Null;
        assert!(matches!(from_json(&workspace, Path::new("/w")), Err(Error::NoLibrary { .. })));
        let mut alone = answer(Value::Null, Value::Null);
        alone["resolve"]["nodes"] = json!([]);
        assert!(matches!(from_json(&alone, Path::new("/w/k")), Err(Error::NoWarpring { package }) if package == "my-kernels"));
    }
}
