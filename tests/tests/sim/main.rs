//! The simulation: many seeds hold, a seed replays exactly, and bugs that are planted are found.
//!
//! `cargo xtask sim --seeds N --from S` runs more of them.

#![allow(clippy::unwrap_used, reason = "these are tests; their helpers are not marked as such")]

use std::process::{Command, Output};

use hilum_tests::sim::Plant;

/// What the suite runs each time.
const SEEDS: u32 = 2000;
/// In so many seeds each planted bug has to be found.
const PLANTED_SEEDS: u32 = 200;

fn simulate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hilum-sim")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn seeds_hold() {
    let output = simulate(&["--seeds", &SEEDS.to_string()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {}{said}", output.status, text(&output));
    assert!(text(&output).contains(&format!("{SEEDS} seeds from 0, 0 failed")), "{}", text(&output));
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..12 {
        let run = || text(&simulate(&["--seed", &format!("{seed}"), "--events"]));
        let first = run();
        assert!(first.contains("digest") && first.contains("is acked"), "{first}");
        let again = run();
        let differs = first.lines().zip(again.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed} goes another way");
        assert_eq!(first.len(), again.len(), "seed {seed} ends elsewhere");
    }
    let digest = |seed: &str| text(&simulate(&["--seed", seed])).split_once("digest").unwrap().1.to_owned();
    assert_ne!(digest("1"), digest("2"), "another seed is another run");
}

#[test]
fn planted_bugs_are_found_and_replay() {
    for (name, plant) in Plant::ALL {
        let output = simulate(&["--seeds", &PLANTED_SEEDS.to_string(), "--plant", name]);
        let found = text(&output);
        assert!(!output.status.success(), "{plant:?} is not found in {PLANTED_SEEDS} seeds");
        let (_, command) = found.split_once("to see it again: cargo xtask sim ").expect("it says how");
        let again: Vec<&str> = command.lines().next().unwrap().split(' ').collect();
        let again = simulate(&again);
        assert!(!again.status.success());
        let violation = found.lines().find(|line| line.contains(plant.symptom()));
        let violation = violation.unwrap_or_else(|| panic!("not {plant:?} is found, but {found}"));
        assert!(text(&again).contains(violation), "{violation} does not happen again");
    }
}
