//! `log`: lines of a plugin, with where it runs; bounded in length and number, and without control characters.

use hilum_core::Timestamp;
use tracing::field::display;
use wasmtime::Result;

use super::bindings::hilum::plugin::log::{self, Level};
use super::{Host, Place};
use crate::grants::Grant;
use crate::limits::{LOG_LINE_OCTETS_MAX, Limit};
use crate::plugin::clip;
use crate::trace::GuestSpans;

/// How the SDK's panic hook begins its line.
const PANIC: &str = "the plugin panicked";

/// A minute, in milliseconds.
const MINUTE_MS: u64 = 60_000;

/// Lines of a stage in the minute that runs.
#[derive(Default)]
pub(crate) struct Lines {
    since: Timestamp,
    count: u64,
}

impl Lines {
    /// Whether one more fits at this time.
    fn admit(&mut self, now: Timestamp, per_minute: u64) -> bool {
        if now.0.checked_sub(self.since.0).is_none_or(|elapsed| elapsed >= MINUTE_MS) {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= per_minute
    }
}

impl log::Host for Host {
    fn log(&mut self, level: Level, message: String) -> Result<()> {
        self.call.enter(message.len())?;
        if level != Level::Error && !self.place.grants.has(&Grant::Log) {
            return Ok(());
        }
        let line = one_line(clip(&message, LOG_LINE_OCTETS_MAX));
        if line.starts_with(PANIC) {
            self.call.panic = Some(clip(&line, 200).to_owned());
        }
        if self.has_room_for_a_line() {
            self.write(level, &line);
        }
        Ok(())
    }
}

impl Host {
    /// Counts one more line of the call and of the stage.
    fn has_room_for_a_line(&mut self) -> bool {
        let place = &self.place;
        let (of_call, of_minute) = (place.limits.log_lines, place.limits.log_lines_per_minute);
        self.call.log_lines += 1;
        if self.call.log_lines > of_call {
            self.call.cut(Limit::LogLines, of_call);
            return false;
        }
        let fits = place.lines.lock().admit(place.services.now(), of_minute);
        if !fits {
            self.call.cut(Limit::LogLinesPerMinute, of_minute);
        }
        fits
    }

    /// Writes a line with where it comes from, and tells the trace that there is one.
    fn write(&mut self, level: Level, line: &str) {
        let within = self.spans.as_ref().map(GuestSpans::innermost);
        let trace_id = within.map(|of| display(hex(&of.trace)));
        let span_id = within.map(|of| display(hex(&of.span)));
        let Place { flow, stage, plugin, version, .. } = &*self.place;
        let name = match level {
            Level::Debug => {
                tracing::debug!(%flow, %stage, plugin, version, trace_id, span_id, "{line}");
                "debug"
            }
            Level::Info => {
                tracing::info!(%flow, %stage, plugin, version, trace_id, span_id, "{line}");
                "info"
            }
            Level::Warn => {
                tracing::warn!(%flow, %stage, plugin, version, trace_id, span_id, "{line}");
                "warn"
            }
            Level::Error => {
                tracing::error!(%flow, %stage, plugin, version, trace_id, span_id, "{line}");
                "error"
            }
        };
        if let Some(spans) = &mut self.spans {
            spans.logged(name);
        }
    }
}

/// As W3C Trace Context writes ids.
fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The text with a space for every control character, so that no line can pass for another.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_room_for_so_many_lines() {
        let mut lines = Lines::default();
        let fits = |lines: &mut Lines, now| (0..5).filter(|_| lines.admit(Timestamp(now), 3)).count();
        assert_eq!(fits(&mut lines, 1_000_000), 3);
        assert_eq!(fits(&mut lines, 1_059_999), 0);
        assert_eq!(fits(&mut lines, 1_060_000), 3);
        assert_eq!(fits(&mut lines, 1_000), 3, "a clock that was set back begins anew");
    }
}
