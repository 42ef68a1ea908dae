//! What a target does before it is fuzzed.

use std::path::PathBuf;

/// Where the seeds are to be written, and nothing else done.
const SEEDS: &str = "HILUM_FUZZ_SEEDS";

/// Writes the seeds into the folder that the environment names, if it names one, and ends the process.
///
/// # Panics
/// When the folder cannot be written to.
pub fn start(seeds: impl Fn() -> Vec<Vec<u8>>) {
    let Some(folder) = std::env::var_os(SEEDS).map(PathBuf::from) else { return };
    for (index, seed) in seeds().iter().enumerate() {
        let path = folder.join(format!("seed-{index:03}"));
        std::fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    std::process::exit(0);
}
