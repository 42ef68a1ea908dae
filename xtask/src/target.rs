//! The compilation target of the plugins.

use std::path::Path;

use anyhow::Context;

use crate::step;

/// What plugins are compiled for (WASI 0.2, the component model).
const WASM: &str = "wasm32-wasip2";

/// Adds the target to the toolchain if it is not there.
pub(crate) fn ensure_wasm() -> anyhow::Result<()> {
    let installed = step::output("rustc", &["--print", "sysroot"])
        .is_some_and(|sysroot| Path::new(&sysroot).join("lib/rustlib").join(WASM).join("lib").is_dir());
    if installed {
        return Ok(());
    }
    println!("adding the target {WASM}");
    step::program("rustup", &["target", "add", WASM])
        .with_context(|| format!("the toolchain has no target {WASM}, and rustup could not add it"))
}
