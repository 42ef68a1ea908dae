//! `log`: lines of a plugin, with where it runs; bounded in length and number, and without control characters.

use wasmtime::Result;

use super::Host;
use super::bindings::hilum::plugin::log::{self, Level};
use crate::grants::Grant;
use crate::limits::{LOG_LINE_OCTETS_MAX, LOG_LINES_MAX};
use crate::plugin::clip;

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
        let (flow, stage, plugin) = (&self.place.flow, &self.place.stage, &self.place.plugin);
        match level {
            Level::Debug => tracing::debug!(%flow, %stage, plugin, "{line}"),
            Level::Info => tracing::info!(%flow, %stage, plugin, "{line}"),
            Level::Warn => tracing::warn!(%flow, %stage, plugin, "{line}"),
            Level::Error => tracing::error!(%flow, %stage, plugin, "{line}"),
        }
        if self.call.log_lines == LOG_LINES_MAX {
            tracing::warn!(%flow, %stage, plugin, "further lines of this call are dropped");
        }
        Ok(())
    }
}

/// The text with a space for every control character, so that no line can pass for another.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
