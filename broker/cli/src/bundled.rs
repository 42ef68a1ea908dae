//! The components that the binary carries.

macro_rules! bundled {
    ($($name:literal),+) => {
        /// Name in configurations and component of each bundled plugin.
        pub const PLUGINS: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm")))),+];
    };
}

bundled!("access", "analytics", "deidentify", "encrypt");
