//! `log`: lines of a plugin, with where it runs; bounded in length and number, and without control characters.

use tracing::field::display;
use wasmtime::Result;

use super::bindings::hilum::plugin::log::{self, Level};
use super::{Host, Place};
use crate::grants::Grant;
use crate::limits::{LOG_LINE_OCTETS_MAX, LOG_LINES_MAX};
use crate::plugin::clip;
use crate::trace::GuestSpans;

/// How the SDK's panic hook begins its line.
const PANIC: &str = "the plugin panicked";

impl log::Host for Host {
    fn log(&mut self, level: Level, message: String) -> Result<()> {
        if level != Level::Error && !self.place.grants.has(&Grant::Log) {
            return Ok(());
        }
        self.call.log_lines = self.call.log_lines.saturating_add(1);
        if self.call.log_lines > LOG_LINES_MAX {
            return Ok(());
        }
        let line = one_line(clip(&message, LOG_LINE_OCTETS_MAX));
        if line.starts_with(PANIC) {
            self.call.panic = Some(clip(&line, 200).to_owned());
        }
        self.write(level, &line);
        if self.call.log_lines == LOG_LINES_MAX {
            self.write(Level::Warn, "further lines of this call are dropped");
        }
        Ok(())
    }
}

impl Host {
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
