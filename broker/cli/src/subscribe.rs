//! `hilum subscribe`: what a subscription delivers, as lines or files, and what becomes of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use hilum_client::sealed::{OpeningWriter, has_sealed_fields, is_sealed, open_fields, open_sealed};
use hilum_client::{
    Credit, Delivery, DeliveryBody, FlowName, Offset, ReasonCode, SeekTo, SubscribeOptions, Subscription,
    SubscriptionName,
};
use hilum_core::cose::PrivateKey;
use hilum_server::config::units;

use crate::connect::Connection;
use crate::publish::progress;

/// Records that may be under way: enough to keep the connection busy.
const CREDIT: Credit = Credit { records: 1024, octets: 16 << 20 };

/// Octets of a body of which fields are opened: what the plugin seals at most, and what sealing makes of it.
const FIELDS_OCTETS_MAX: u64 = 64 << 20;

/// What `hilum subscribe` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A record is acknowledged when its line is printed and its file, if any, is written. What is not acknowledged comes again; \
with `--nak` after a delay, with `--term` never. Which records come, how long a reader may take and how often a record comes is \
in the flow's file: `filter`, `ack_wait`, `backoff`, `max_deliveries`.

Examples:
  hilum subscribe --dir st-marys --as radiologist imaging radiology --out scans
  hilum subscribe --dir st-marys --as insurer billing insurer --open --out claims --count 10 --wait 30
  hilum subscribe --dir st-marys --as radiologist imaging radiology --from 2026-11-23T08:00:00Z --json
  hilum subscribe --dir st-marys --as radiologist imaging radiology --count 1 --term unreadable
  hilum subscribe --dir st-marys --as radiologist imaging emergencies --break-glass stroke")]
pub struct Args {
    /// The flow to read
    flow: FlowName,
    /// The subscription of it
    subscription: SubscriptionName,
    /// Write each body to a file of this folder, named by offset and part
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Open bodies that were sealed to us, and single fields
    #[arg(long)]
    open: bool,
    /// Stop after so many deliveries
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop when nothing came for so many seconds
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// Go on from another place, for everybody who reads the subscription: `start`, `end`, an offset, or a time as RFC 3339 has
    /// it. The subscription needs `replay = true`
    #[arg(long, value_name = "PLACE", value_parser = place)]
    from: Option<SeekTo>,
    /// State why we break the glass: a code that the hospital's policies know, e.g. `stroke`, of 1 to 64 characters of a-z, 0-9, `-`, `_`
    /// and `.`, at least one a letter. The audit keeps it: no number of a patient
    #[arg(long, value_name = "REASON")]
    break_glass: Option<ReasonCode>,
    /// Do not acknowledge: everything comes again the next time
    #[arg(long, group = "answer")]
    peek: bool,
    /// Give each record back: it comes again after so long, e.g. `30s`; `0s` for at once
    #[arg(long, value_name = "DELAY", value_parser = units::duration, group = "answer")]
    nak: Option<Duration>,
    /// Give each record up for good, with this code for the audit, e.g. `unreadable`
    #[arg(long, value_name = "CODE", group = "answer")]
    term: Option<ReasonCode>,
    /// Print one JSON object for each delivery
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Reads until the count is reached, nothing came for a while, SIGINT, or the broker ends the stream.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let key = if args.open {
        Some(PrivateKey::from_pem(&args.connection.private_key()?).context("our private key")?)
    } else {
        None
    };
    let client = args.connection.connect().await?;
    // What is not wanted is not fetched: it would count as delivered.
    let records = args.count.and_then(|count| u32::try_from(count).ok()).unwrap_or(u32::MAX);
    let credit = Credit { records: CREDIT.records.min(records.max(1)), ..CREDIT };
    let options = SubscribeOptions { from: args.from, break_glass: args.break_glass.clone() };
    let subscribed = client.subscribe_with(&args.flow, &args.subscription, credit, options);
    let mut subscription = subscribed.await?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let patience = args.wait.map_or(Duration::MAX, Duration::from_secs);
    while left > 0 {
        let next = tokio::select! {
            next = tokio::time::timeout(patience, subscription.next()) => next,
            _ = tokio::signal::ctrl_c() => break,
        };
        let Ok(next) = next else { break };
        let Some(delivery) = next? else { break };
        let offset = delivery.offset();
        let taken = args.take(&mut subscription, delivery, key.as_ref()).await;
        let (delivery, line) = taken.with_context(|| format!("offset {offset}"))?;
        crate::output::print(line)?;
        args.answer(delivery);
        left -= 1;
    }
    subscription.close().await?;
    client.close().await;
    Ok(ExitCode::SUCCESS)
}

/// What a line says of a body.
struct Taken {
    content_type: String,
    octets: u64,
    file: Option<PathBuf>,
    /// Sealed fields that were opened, and those that are sealed to others.
    fields: Option<(usize, usize)>,
}

/// Where a subscription is to go on.
pub(crate) fn place(text: &str) -> Result<SeekTo, String> {
    match text {
        "start" => Ok(SeekTo::Start),
        "end" => Ok(SeekTo::End),
        _ => match text.parse() {
            Ok(offset) => Ok(SeekTo::Offset(Offset(offset))),
            Err(_) => units::time(text)
                .map(SeekTo::Time)
                .map_err(|error| format!("it is none of `start`, `end` and an offset; and {error}")),
        },
    }
}

impl Args {
    fn answer(&self, delivery: Delivery) {
        match (&self.term, self.nak) {
            (Some(reason), _) => delivery.term(reason.clone()),
            (None, Some(delay)) => delivery.nak(Some(delay)),
            (None, None) if self.peek => {}
            (None, None) => delivery.ack(),
        }
    }

    /// Puts a delivery where it belongs, and gives it back with its line.
    async fn take(
        &self,
        subscription: &mut Subscription,
        delivery: Delivery,
        key: Option<&PrivateKey>,
    ) -> anyhow::Result<(Delivery, String)> {
        let file = self.file(&delivery);
        if let Some(key) = key.filter(|_| has_sealed_fields(delivery.head())) {
            return self.take_opening_fields(subscription, delivery, key, file).await;
        }
        let key = key.filter(|_| is_sealed(delivery.head()));
        let (delivery, content_type, octets) = match (delivery.body(), key) {
            (DeliveryBody::Large { size, .. }, None) => {
                let octets = *size;
                let delivery = download(subscription, delivery, octets, file.as_deref()).await?;
                let content_type = delivery.head().content_type.clone();
                (delivery, content_type, octets)
            }
            (DeliveryBody::Large { .. }, Some(key)) => {
                self.download_opening(subscription, delivery, key, file.as_deref()).await?
            }
            (DeliveryBody::Inline(octets), Some(key)) => {
                let opened = open_sealed(key, &self.flow, delivery.head(), octets)?;
                write(file.as_deref(), &opened.body).await?;
                (delivery, opened.content_type, opened.body.len() as u64)
            }
            (DeliveryBody::Inline(octets), None) => {
                write(file.as_deref(), octets).await?;
                let (content_type, octets) = (delivery.head().content_type.clone(), octets.len() as u64);
                (delivery, content_type, octets)
            }
        };
        let line = self.line(&delivery, &Taken { content_type, octets, file, fields: None });
        Ok((delivery, line))
    }

    /// Opens fields of a body, all of which is in memory for that.
    async fn take_opening_fields(
        &self,
        subscription: &mut Subscription,
        delivery: Delivery,
        key: &PrivateKey,
        file: Option<PathBuf>,
    ) -> anyhow::Result<(Delivery, String)> {
        let (delivery, sealed) = match delivery.body() {
            DeliveryBody::Inline(octets) => {
                let octets = octets.clone();
                (delivery, octets)
            }
            DeliveryBody::Large { size, .. } if *size > FIELDS_OCTETS_MAX => {
                anyhow::bail!("the body has {size} octets; fields are opened in at most {FIELDS_OCTETS_MAX}")
            }
            DeliveryBody::Large { .. } => {
                let mut octets = std::io::Cursor::new(Vec::new());
                let delivery = subscription.fetch_large(delivery, &mut octets, |_| {}).await?;
                (delivery, octets.into_inner().into())
            }
        };
        let opened = open_fields(key, &self.flow, delivery.head(), &sealed)?;
        write(file.as_deref(), &opened.body).await?;
        let content_type = delivery.head().content_type.clone();
        let (octets, fields) = (opened.body.len() as u64, Some((opened.opened, opened.closed)));
        let line = self.line(&delivery, &Taken { content_type, octets, file, fields });
        Ok((delivery, line))
    }

    /// Streams a large sealed body into its file. That has its name only when all of it was opened.
    async fn download_opening(
        &self,
        subscription: &mut Subscription,
        delivery: Delivery,
        key: &PrivateKey,
        file: Option<&Path>,
    ) -> anyhow::Result<(Delivery, String, u64)> {
        let head = delivery.head().clone();
        let Some(file) = file else {
            let mut out = OpeningWriter::new(key, &self.flow, &head, tokio::io::empty()).await?;
            let delivery = subscription.fetch_large(delivery, &mut out, |_| {}).await?;
            let (content_type, octets) = out.finish().await?;
            return Ok((delivery, content_type, octets));
        };
        let size = if let DeliveryBody::Large { size, .. } = delivery.body() { *size } else { 0 };
        let bar = progress(size, file);
        let part = file.with_extension("part");
        let cannot = || format!("cannot write {}", file.display());
        let opening = async {
            let mut plain = tokio::fs::File::create(&part).await.with_context(cannot)?;
            let mut out = OpeningWriter::new(key, &self.flow, &head, &mut plain).await?;
            let fetched = subscription.fetch_large(delivery, &mut out, |octets| bar.set_position(octets));
            let delivery = fetched.await?;
            let (content_type, octets) = out.finish().await?;
            // The body may have become another and smaller one when the connection broke.
            plain.set_len(octets).await.with_context(cannot)?;
            tokio::fs::rename(&part, file).await.with_context(cannot)?;
            anyhow::Ok((delivery, content_type, octets))
        };
        let opened = opening.await;
        bar.finish_and_clear();
        if opened.is_err() {
            // What came before the fault was opened in order, but is not the body.
            let _ = tokio::fs::remove_file(&part).await;
        }
        opened
    }

    /// Where the body goes.
    fn file(&self, delivery: &Delivery) -> Option<PathBuf> {
        let (part, parts) = delivery.part();
        let part = if parts > 1 { format!("-{part}") } else { String::new() };
        Some(self.out.as_ref()?.join(format!("{}{part}", delivery.offset())))
    }

    fn line(&self, delivery: &Delivery, taken: &Taken) -> String {
        let head = delivery.head();
        let file = taken.file.as_ref().map(|file| file.display().to_string());
        if self.json {
            let attributes: serde_json::Map<_, _> = head
                .attributes
                .iter()
                .map(|attribute| (attribute.name.clone(), attribute.value.clone().into()))
                .collect();
            return serde_json::json!({
                "flow": self.flow,
                "subscription": self.subscription,
                "offset": delivery.offset(),
                "attempt": delivery.attempt(),
                "part": delivery.part().0,
                "parts": delivery.part().1,
                "time": head.time,
                "key": head.key,
                "content_type": taken.content_type,
                "labels": head.labels,
                "attributes": attributes,
                "octets": taken.octets,
                "plan": delivery.receipt().plan.to_string(),
                "file": file,
                "fields": taken.fields.map(|(opened, closed)| serde_json::json!({ "opened": opened, "closed": closed })),
            })
            .to_string();
        }
        let file = file.map_or_else(String::new, |file| format!(" -> {file}"));
        let attempt = match delivery.attempt() {
            1 => String::new(),
            attempt => format!(", delivery {attempt}"),
        };
        let fields = match taken.fields {
            Some((opened, 0)) => format!(", {opened} fields opened"),
            Some((opened, closed)) => format!(", {opened} fields opened, {closed} sealed to others"),
            None => String::new(),
        };
        let Taken { content_type, octets, .. } = taken;
        format!("offset {}: {content_type}, {octets} octets{fields}{attempt}{file}", delivery.offset())
    }
}

async fn write(file: Option<&Path>, octets: &[u8]) -> anyhow::Result<()> {
    let Some(file) = file else { return Ok(()) };
    tokio::fs::write(file, octets).await.with_context(|| format!("cannot write {}", file.display()))
}

/// Streams a large body into its file. It is read, and its digest checked, even where it is kept nowhere.
async fn download(
    subscription: &mut Subscription,
    delivery: Delivery,
    size: u64,
    file: Option<&Path>,
) -> anyhow::Result<Delivery> {
    let Some(file) = file else {
        delivery.open_large(0).await?.write_to(&mut tokio::io::sink()).await?;
        return Ok(delivery);
    };
    let bar = progress(size, file);
    let mut out =
        tokio::fs::File::create(file).await.with_context(|| format!("cannot write {}", file.display()))?;
    let fetched = subscription.fetch_large(delivery, &mut out, |octets| bar.set_position(octets)).await;
    let delivery = fetched?;
    // The body may have become another and smaller one when the connection broke.
    if let DeliveryBody::Large { size, .. } = delivery.body() {
        out.set_len(*size).await.with_context(|| format!("cannot write {}", file.display()))?;
    }
    bar.finish_and_clear();
    Ok(delivery)
}
