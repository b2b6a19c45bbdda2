//! `warpring kernels`: the catalogue of the ready-made kernels, from the tables of their module.

use serde_json::json;
use std::io;
use warpring::module::KindTable;
use warpring_kernels::MODULE;

/// List the ready-made kernels.
#[derive(Debug, clap::Args)]
pub struct Kernels {
    /// Print the catalogue as JSON
    #[arg(long)]
    json: bool,
}

impl Kernels {
    /// Prints the catalogue.
    ///
    /// # Errors
    /// Those of standard output.
    pub fn run(&self) -> io::Result<()> {
        if self.json {
            let kernels: Vec<_> = MODULE.kinds.iter().map(as_json).collect();
            return crate::stdout::print(&json!({ "module": MODULE.name, "kernels": kernels }).to_string());
        }
        let kernels: Vec<_> = MODULE.kinds.iter().map(as_text).collect();
        crate::stdout::print(&kernels.join("\n\n"))
    }
}

fn as_json(kind: &KindTable) -> serde_json::Value {
    let about = &kind.metadata;
    let messages: Vec<_> =
        kind.handlers.iter().map(|(request, reply, _)| json!({ "request": request, "reply": reply })).collect();
    json!({
        "id": about.id,
        "domain": about.domain,
        "mode": about.mode.to_string(),
        "version": about.version,
        "description": about.description,
        "messages": messages,
        "state_bytes": kind.bytes,
        "requires_gpu_native": about.requires_gpu_native,
    })
}

fn as_text(kind: &KindTable) -> String {
    let about = &kind.metadata;
    let mut lines = vec![
        about.id.to_owned(),
        format!("  {}", about.description),
        format!("  domain   {}, mode {}, version {}", about.domain, about.mode, about.version),
        format!("  state    {} bytes for each actor", kind.bytes),
    ];
    lines.extend(kind.handlers.iter().map(|(request, reply, _)| format!("  message  {request} -> {reply}")));
    if about.requires_gpu_native {
        lines.push("  needs a GPU".to_owned());
    }
    lines.join("\n")
}
