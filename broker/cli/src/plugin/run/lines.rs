//! Many bodies, one a line, through a plugin that remembers.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;

use anyhow::Context as _;
use hilum_core::limits::{BATCH_OCTETS_MAX, INLINE_BODY_OCTETS_MAX};
use hilum_sandbox::Input;

use super::{Args, ended, finish_one, show_emission};
use crate::output::{Exit, Failure};
use crate::plugin::host::Host;

/// Lines of one call.
const CALL_LINES_MAX: usize = 64;

/// Runs each line in order; ends at the first that fails. Lines that are refused are told, and make the exit code.
pub(super) fn run(
    args: &Args,
    host: &Arc<Host>,
    from: &mut dyn Read,
    to: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let (chain, _) = args.setup.chain(host)?;
    let (mut lines, mut exit) = (Lines { from: BufReader::new(from), number: 0, next: None }, Exit::Ok);
    loop {
        let batch = lines.batch(args, host)?;
        if batch.is_empty() {
            to.flush()?;
            return Ok(exit);
        }
        let ran = chain.run(batch);
        ran.emitted.iter().for_each(show_emission);
        for record in ran.records {
            match record {
                Ok(ran) => {
                    finish_one(host, &ran, to)?;
                    to.write_all(b"\n")?;
                }
                Err(failure) => exit = ended(failure)?,
            }
        }
    }
}

/// Lines being read.
struct Lines<R> {
    from: BufReader<R>,
    number: u64,
    /// A line that did not fit into the call before.
    next: Option<Vec<u8>>,
}

impl<R: Read> Lines<R> {
    /// As many lines as fit into a call.
    fn batch(&mut self, args: &Args, host: &Host) -> anyhow::Result<Vec<Input>> {
        let (mut batch, mut octets) = (Vec::new(), 0);
        while batch.len() < CALL_LINES_MAX {
            let Some(line) = self.line()? else { break };
            if !batch.is_empty() && octets + line.len() > BATCH_OCTETS_MAX {
                self.next = Some(line);
                break;
            }
            octets += line.len();
            batch.push(args.setup.input(host, &mut line.as_slice(), line.len() as u64)?);
        }
        Ok(batch)
    }

    /// The next line that is not empty.
    fn line(&mut self) -> anyhow::Result<Option<Vec<u8>>> {
        if let Some(line) = self.next.take() {
            return Ok(Some(line));
        }
        loop {
            let mut line = Vec::new();
            let limit = INLINE_BODY_OCTETS_MAX as u64 + 1;
            let read = (&mut self.from).take(limit).read_until(b'\n', &mut line);
            read.context("standard input")?;
            if line.is_empty() {
                return Ok(None);
            }
            self.number += 1;
            if line.last() == Some(&b'\n') {
                line.pop();
            } else if line.len() > INLINE_BODY_OCTETS_MAX {
                let help = format!("give lines of up to {INLINE_BODY_OCTETS_MAX} octets");
                return Err(Failure::new(format!("line {} is too long", self.number), help).into());
            }
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::setup::Setup;

    fn run_lines(component: &str, content_type: &str, input: &[u8]) -> (anyhow::Result<Exit>, Vec<u8>) {
        let args = Args { setup: Setup::new(component, content_type), trace: false, lines: true };
        let (host, mut out) = (Arc::new(Host::new().unwrap()), Vec::new());
        (run(&args, &host, &mut &input[..], &mut out), out)
    }

    #[test]
    fn each_line_is_a_record_and_what_is_kept_is_there_for_the_next() {
        let line = |value: f64| {
            let reading = format!(r#""sensor": "helium-level", "unit": "%", "value": {value}"#);
            format!("{{\"machine\": \"mri-1\", {reading}}}\n")
        };
        let input: String = std::iter::once("\n".to_owned()).chain((0..200).map(|_| line(50.0))).collect();
        let (exit, out) = run_lines("analytics", "application/vnd.hilum.telemetry+json", input.as_bytes());
        assert_eq!((exit.unwrap(), String::from_utf8(out).unwrap()), (Exit::Ok, input[1..].to_owned()));
    }

    #[test]
    fn a_line_that_is_too_long_is_an_error_that_names_it() {
        let mut input = b"a\n".to_vec();
        input.extend(vec![b'x'; INLINE_BODY_OCTETS_MAX + 1]);
        let error = run_lines("access", "text/plain", &input).0.unwrap_err().to_string();
        assert!(error.contains("line 2 is too long"), "{error}");
    }

    #[test]
    fn a_line_that_is_refused_makes_the_exit_code_and_the_others_go_on() {
        let good = "MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5.1";
        let input = format!("{good}\nnonsense\n{good}\n");
        let (exit, out) = run_lines("deidentify", "x-application/hl7-v2+er7", input.as_bytes());
        assert_eq!(exit.unwrap(), Exit::Refused);
        assert_eq!(String::from_utf8(out).unwrap().matches("MSH|").count(), 2);
    }
}
