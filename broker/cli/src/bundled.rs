//! The plugins that the binary carries.

use hilum_server::provision::Bundled;

macro_rules! bundled {
    ($($name:literal: $description:literal),+ $(,)?) => {
        /// Name in configurations and component of each bundled plugin.
        pub const PLUGINS: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm")))),+];

        /// What `hilum init` packs and signs.
        pub const PACKED: &[Bundled] = &[$(packed!($name, $description)),+];
    };
}

macro_rules! packed {
    ($name:literal, $description:literal) => {
        Bundled {
            name: $name,
            description: $description,
            component: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm")),
            sbom: include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".cdx.json")),
            end_of_support: END_OF_SUPPORT,
        }
    };
}

/// Until when the plugins of this release are supported: as long as the release itself.
const END_OF_SUPPORT: &str = "2028-12-31";

bundled!(
    "access": "Lets records pass by Cedar policies on who, what, where, when and what for",
    "analytics": "Watches a machine's readings and forecasts what it will need",
    "claims": "Holds procedures that were done against claims for them, by MACs alone",
    "deidentify": "Takes identifiers out of DICOM, HL7v2 and X12, with pseudonyms that agree",
    "encrypt": "Encrypts bodies to their recipients (COSE_Encrypt, RFC 9052)",
    "relationships": "Learns who treats whom, and what patients allow, from admissions, appointments and consents",
    "rooms": "Tells how scanner rooms are used, without following anybody",
    "security": "Learns who does what by the audit and statistics, and says when somebody does otherwise",
);

/// What `hilum bench` measures with: it lets small bodies pass, and copies large ones on the host.
pub(crate) const PASS: Bundled = packed!("pass", "Lets everything pass");
