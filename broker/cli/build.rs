//! Compiles the bundled plugins and lists what is in them, so that the binary carries them wherever it goes, and the one that
//! `hilum bench plugin` measures with; and gathers what a plugin is written with, so that it carries that too.

use std::path::Path;
use std::{env, fs};

#[path = "build/sdk.rs"]
mod sdk;

/// Names, packages and directories.
const PLUGINS: [(&str, &str, &str); 9] = [
    ("access", "hilum-access", "plugins/access"),
    ("analytics", "hilum-analytics", "plugins/analytics"),
    ("claims", "hilum-claims", "plugins/claims"),
    ("deidentify", "hilum-deidentify", "plugins/deidentify"),
    ("encrypt", "hilum-encrypt", "plugins/encrypt"),
    ("relationships", "hilum-relationships", "plugins/relationships"),
    ("rooms", "hilum-rooms", "plugins/rooms"),
    ("security", "hilum-security", "plugins/security"),
    ("pass", "hilum-guest-pass", "tests/guests/pass"),
];

fn main() {
    sdk::embed(Path::new("../.."));
    let mut guests = hilum_plugin_build::Guests::in_build_script("../..");
    for (_, _, directory) in PLUGINS {
        guests = guests.watch(directory);
    }
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let packages = PLUGINS.map(|(_, package, _)| package);
    let components = guests.build(&packages).unwrap_or_else(|error| panic!("{error}"));
    let out = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    for (name, package, _) in PLUGINS {
        let sbom = hilum_plugin_build::sbom(Path::new("../../Cargo.toml"), Some(package));
        let to = Path::new(&out).join(format!("{name}.cdx.json"));
        let written = sbom.map_err(|error| error.to_string()).map(|sbom| fs::write(&to, sbom));
        written
            .unwrap_or_else(|error| panic!("{error}"))
            .unwrap_or_else(|error| panic!("{}: {error}", to.display()));
    }
    for ((name, ..), component) in PLUGINS.iter().zip(components) {
        let to = Path::new(&out).join(format!("{name}.wasm"));
        fs::copy(&component, &to)
            .unwrap_or_else(|error| panic!("{} to {}: {error}", component.display(), to.display()));
    }
}
