//! The configuration: anything as main file and flows; what is wrong is said with a place that is there.

use std::path::PathBuf;
use std::sync::LazyLock;

use hilum_server::config::{Directory, load};

use crate::disk::scratch;

/// See [`crate::memory::bounded`]: problems have texts, and there may be one for each line.
pub const OCTETS_MAX: usize = 64 << 20;

/// Flows of one input.
const FLOWS_MAX: usize = 3;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = scratch().join("hospital");
    std::fs::create_dir_all(folder.join(Directory::FLOWS_FOLDER)).expect("there is room");
    folder
});

/// The main file, and after a NUL each the flows.
pub fn check(octets: &[u8]) {
    let texts: Vec<&[u8]> = octets.split(|octet| *octet == 0).take(FLOWS_MAX + 1).collect();
    let flow = |number: usize| format!("{}/{number}.toml", Directory::FLOWS_FOLDER);
    let files: Vec<String> =
        std::iter::once(Directory::MAIN_FILE.to_owned()).chain((0..FLOWS_MAX).map(flow)).collect();
    for (file, text) in files.iter().zip(texts.iter().map(Some).chain(std::iter::repeat(None))) {
        match text {
            Some(text) => std::fs::write(FOLDER.join(file), text).expect("there is room"),
            None => drop(std::fs::remove_file(FOLDER.join(file))),
        }
    }
    match load(&FOLDER) {
        Ok(hospital) => assert!(hospital.flows.len() == texts.len() - 1, "each file is a flow"),
        Err(problems) => {
            assert!(problems.iter().next().is_some());
            for problem in &problems {
                assert!(!problem.what.is_empty() && !problem.help.is_empty(), "{problem}");
                let (Some((line, column)), Some(at)) =
                    (problem.position, files.iter().position(|file| **file == *problem.file))
                else {
                    continue;
                };
                let text = String::from_utf8_lossy(texts[at]);
                let found = text.split('\n').nth(line - 1).expect("the line is there");
                assert!(column >= 1 && column <= found.chars().count() + 1, "{problem}");
            }
        }
    }
}

/// The example hospital with some of its flows.
pub fn seeds() -> Vec<Vec<u8>> {
    macro_rules! file {
        ($name:literal) => {
            include_bytes!(concat!("../../../examples/hospital/hospital/", $name)).as_slice()
        };
    }
    let main = file!("hilum.toml");
    let flows = [
        file!("flows/billing.toml"),
        file!("flows/device.toml"),
        file!("flows/imaging.toml"),
        file!("flows/maintenance.toml"),
        file!("flows/results.toml"),
        file!("flows/room.toml"),
        file!("flows/room-use.toml"),
        file!("flows/audit.toml"),
        file!("flows/security.toml"),
    ];
    let mut seeds: Vec<Vec<u8>> = flows.map(|flow| [main, flow].join(&0)).into();
    seeds.push([main, flows[1], flows[3], flows[7], flows[8]].join(&0));
    seeds.push(b"[hospital]\nname = \"a\"\n\0name = \"b\"\n".to_vec());
    seeds
}
