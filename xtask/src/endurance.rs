//! `cargo xtask crash` and `cargo xtask power`: the end-to-end proofs that nothing acked is lost, for as long as wanted.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::step::finish;

/// A test that does the same thing again and again, as often as a variable of the environment says.
pub(crate) struct Proof {
    /// Its name in the end-to-end tests.
    test: &'static str,
    /// The argument that says how often.
    argument: &'static str,
    variable: &'static str,
}

/// Processes that are killed under load.
pub(crate) const CRASH: Proof = Proof {
    test: "crash::every_acked_record_survives_sigkill_under_load_in_order_and_once",
    argument: "--cycles",
    variable: "HILUM_CRASH_CYCLES",
};

/// Power cuts under load.
pub(crate) const POWER: Proof = Proof {
    test: "power::no_acked_record_is_lost_when_the_power_is_cut",
    argument: "--cuts",
    variable: "HILUM_POWER_CUTS",
};

/// Builds everything, and runs the proof: as often as `--cycles N` or `--cuts N` says, otherwise as often as the tests do.
pub(crate) fn run(proof: &Proof, arguments: &[String]) -> anyhow::Result<()> {
    let times = times(proof, arguments)?;
    crate::build()?;
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    // All packages are named, so that features resolve as they did in the build before.
    command.args(["test", "--workspace", "--test", "e2e", "--", "--exact", "--nocapture", proof.test]);
    if let Some(times) = times {
        command.env(proof.variable, times.to_string());
    }
    finish(&mut command)
}

fn times(proof: &Proof, arguments: &[String]) -> anyhow::Result<Option<u32>> {
    match arguments {
        [] => Ok(None),
        [argument, number] if argument == proof.argument => {
            let number: u32 = number.parse().with_context(|| format!("`{argument} {number}`"))?;
            if number == 0 {
                bail!("`{argument} 0` would prove nothing");
            }
            Ok(Some(number))
        }
        _ => bail!("only `{} N` is understood", proof.argument),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_taken_and_all_else_refused() {
        let times = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            times(&CRASH, &arguments).ok()
        };
        assert_eq!(times(&[]), Some(None));
        assert_eq!(times(&["--cycles", "7"]), Some(Some(7)));
        for wrong in [&["--cuts", "7"][..], &["--cycles"], &["--cycles", "0"], &["--cycles", "-1"], &["7"]] {
            assert_eq!(times(wrong), None, "{wrong:?}");
        }
    }
}
