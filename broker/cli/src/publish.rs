//! `hilum publish`: files, or standard input, as records of a flow.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use hilum_client::{Ack, Publisher, Record};
use hilum_core::FlowName;
use hilum_core::Timestamp;
use hilum_core::limits::INLINE_BODY_OCTETS_MAX;
use hilum_core::record::TraceContext;
use hilum_core::wire::publisher::Durability;
use hilum_server::config::units;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::AsyncReadExt as _;

use crate::connect::Connection;
use crate::output::print;

/// What `hilum publish` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hilum publish --dir st-marys --as mri-1 --content-type application/dicom imaging slice-*.dcm
  echo '{\"helium\": 87.2}' | hilum publish --dir st-marys --as mri-1 --content-type application/json device -")]
pub struct Args {
    /// The flow to publish to
    flow: FlowName,
    /// Each file is the body of one record; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Media type of the bodies, e.g. application/dicom
    #[arg(long, value_name = "TYPE")]
    content_type: String,
    /// Key of the records: those of one key keep their order
    #[arg(long, value_name = "KEY")]
    record_key: Option<String>,
    /// An attribute of the records; may be given more than once
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// How long the records are of use: later nobody gets them. A whole number and `ms`, `s`, `m`, `h` or `d`
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    ttl: Option<Duration>,
    /// Nobody gets the records before then: a time such as 2026-11-23T22:00:00+01:00, or a duration from now, such as 10m
    #[arg(long, value_name = "TIME|DURATION", value_parser = due)]
    deliver_after: Option<Due>,
    /// A W3C `traceparent` that the records belong to
    #[arg(long, env = "TRACEPARENT", value_parser = traceparent)]
    traceparent: Option<TraceContext>,
    /// Store the records of all files together or not at all; up to 256, and together less than 1 MiB
    #[arg(long)]
    batch: bool,
    /// Print one JSON object for each record
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// When a record may be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    At(Timestamp),
    In(Duration),
}

fn due(text: &str) -> Result<Due, String> {
    let at = units::time(text).map(Due::At);
    at.or_else(|_| units::duration(text).map(Due::In)).map_err(|_| {
        "write a time, such as 2026-11-23T22:00:00+01:00, or a duration from now, such as 10m".to_owned()
    })
}

/// Reads a `traceparent` header (W3C Trace Context, section 3.2).
fn traceparent(text: &str) -> Result<TraceContext, String> {
    let wrong = || "write 00-<32 hexadecimal digits>-<16 digits>-<2 digits>".to_owned();
    let parts: Vec<&str> = text.split('-').collect();
    let ["00", trace, span, flags] = parts[..] else { return Err(wrong()) };
    let octets = |text: &str, count: usize| {
        let digits = text.len() == 2 * count && text.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| {
            (0..count)
                .filter_map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok())
                .collect::<Vec<u8>>()
        })
    };
    let trace = octets(trace, 16).and_then(|octets| octets.try_into().ok()).ok_or_else(wrong)?;
    let span = octets(span, 8).and_then(|octets| octets.try_into().ok()).ok_or_else(wrong)?;
    let flags = octets(flags, 1).ok_or_else(wrong)?[0];
    Ok(TraceContext { trace, span, flags })
}

/// Publishes all files, in order. Stops at the first that is not taken.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let client = args.connection.connect().await?;
    let publisher = client.publisher(&args.flow).await?;
    if args.batch {
        args.publish_batch(&publisher).await?;
    } else {
        for file in &args.files {
            let acked = args.publish(&publisher, file).await;
            let (ack, octets) = acked.with_context(|| file.display().to_string())?;
            args.report(file, ack, octets)?;
        }
    }
    publisher.finish().await?;
    client.close().await;
    Ok(ExitCode::SUCCESS)
}

/// What comes through a pipe, which has no size that could be announced.
async fn read_input() -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let limit = INLINE_BODY_OCTETS_MAX as u64 + 1;
    tokio::io::stdin().take(limit).read_to_end(&mut body).await?;
    if body.len() > INLINE_BODY_OCTETS_MAX {
        bail!(
            "standard input has more than {INLINE_BODY_OCTETS_MAX} octets: put it into a file and publish that"
        );
    }
    Ok(body)
}

impl Args {
    async fn publish_batch(&self, publisher: &Publisher) -> anyhow::Result<()> {
        let (mut records, mut sizes) = (Vec::new(), Vec::new());
        for file in &self.files {
            let body = if file == Path::new("-") {
                read_input().await?
            } else {
                let opened = tokio::fs::File::open(file).await.with_context(|| file.display().to_string())?;
                // Larger ones are not read to their end; the batch is refused for them.
                let mut body = Vec::new();
                opened.take(INLINE_BODY_OCTETS_MAX as u64 + 1).read_to_end(&mut body).await?;
                body
            };
            sizes.push(body.len() as u64);
            records.push(self.record(body));
        }
        let acks = publisher.publish_batch(records).await?;
        for ((file, ack), octets) in self.files.iter().zip(acks).zip(sizes) {
            self.report(file, ack, octets)?;
        }
        Ok(())
    }

    async fn publish(&self, publisher: &Publisher, file: &Path) -> anyhow::Result<(Ack, u64)> {
        let mut body = Vec::new();
        if file == Path::new("-") {
            body = read_input().await?;
        } else {
            let mut opened = tokio::fs::File::open(file).await?;
            let size = opened.metadata().await?.len();
            if size > INLINE_BODY_OCTETS_MAX as u64 {
                let progress = progress(size, file);
                let head = self.record(Vec::new()).head;
                let ack = publisher
                    .publish_large_watched(head, size, opened, |octets| progress.set_position(octets))
                    .await?;
                progress.finish_and_clear();
                return Ok((ack, size));
            }
            opened.read_to_end(&mut body).await?;
        }
        let octets = body.len() as u64;
        Ok((publisher.publish(self.record(body)).await?, octets))
    }

    fn record(&self, body: Vec<u8>) -> Record {
        let mut record = Record::new(&self.content_type, body.into());
        record.head.key.clone_from(&self.record_key);
        record.head.trace = self.traceparent;
        if let Some(duration) = self.ttl {
            record = record.with_time_to_live(duration);
        }
        record = match self.deliver_after {
            None => record,
            Some(Due::At(at)) => record.with_deliver_after(at),
            Some(Due::In(delay)) => record.with_delay(delay),
        };
        for (name, value) in &self.attributes {
            record = record.with_attribute(name, value);
        }
        record
    }

    /// Says what became of a file. Whoever stops reading that (`hilum publish ... | head`) wants the other files published all the same.
    fn report(&self, file: &Path, ack: Ack, octets: u64) -> std::io::Result<()> {
        let offset = ack.through_offset.map(|offset| offset.0);
        let printed = if self.json {
            let line = serde_json::json!({
                "file": file.display().to_string(),
                "flow": self.flow,
                "octets": octets,
                "offset": offset,
                "durability": durability(ack.durability),
            });
            print(line)
        } else {
            let offset =
                offset.map_or_else(|| "stored before".to_owned(), |offset| format!("offset {offset}"));
            let (file, durability) = (file.display(), durability(ack.durability));
            let flow = &self.flow;
            print(format_args!("{file}: {octets} octets safe in flow {flow} ({durability}), {offset}"))
        };
        match printed {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            printed => printed,
        }
    }
}

/// How safe an acked record is.
fn durability(of: Durability) -> &'static str {
    match of {
        Durability::Fsynced => "fsynced",
        Durability::Memory => "in memory",
    }
}

/// A bar on standard error, where that is a terminal.
pub fn progress(size: u64, what: &Path) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(size).with_style(style).with_message(what.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_when_a_record_is_due() {
        assert_eq!(due("10m"), Ok(Due::In(Duration::from_secs(600))));
        assert_eq!(due("1970-01-01T00:00:01Z"), Ok(Due::At(Timestamp(1000))));
        assert!(due("soon").is_err());
    }

    #[test]
    fn reads_a_traceparent() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = traceparent(text).unwrap();
        assert_eq!((trace.trace[0], trace.span[7], trace.flags), (0x4b, 0xb7, 1));
        for wrong in
            ["", "00-xx-00-01", "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &text[..54]]
        {
            assert!(traceparent(wrong).is_err(), "{wrong}");
        }
    }
}
