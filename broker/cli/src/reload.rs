//! `hilum reload DIR`: lets the running broker take the configuration that is in its directory now, after showing what changes.

mod drained;
mod lost;

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use hilum_client::Client;
use hilum_client::admin::Admin;
use hilum_core::Digest;
use hilum_core::wire::admin::{Change, Preview};
use hilum_server::config::{Problem, Problems};
use serde_json::{Value, json};

use crate::check::problem_json;
use crate::connect::Connection;
use crate::output::{Exit, Failure, print, print_json};
use drained::Drained;
pub(crate) use lost::{Found, Order, not_taken, unknown};

/// What `hilum reload` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shows what would change, and asks. All of it takes effect or nothing: batches that are under way end on the plugins on which they began, the \
next ones go through the new ones, and no record is lost, doubled or moved. What is applied is what was shown: if a file is edited in \
between, it is refused. Where something needs a restart (the address, a flow that comes or goes), nothing is applied.

What began on a plugin that was replaced ends with it. The command waits for that, and says how long it took or what is still under way; \
the audit has it as `drained`. When the connection breaks before the answer, the broker is asked again what it runs.

Exit code 3 if it is refused, 1 if something is wrong with the configuration; the broker goes on as it was.

Examples:
  hilum reload st-marys --as operator --dry-run
  hilum reload st-marys --as operator --yes --note 'ticket 4711'")]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    options: Options,
}

/// Which broker, and as whom.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The hospital directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// The identity to act as: a folder of DIR/identities, with the operator's right `configure`
    #[arg(long = "as", env = "HILUM_AS", value_name = "IDENTITY")]
    identity: String,
    /// Where the broker is, instead of `broker.listen` of DIR/hilum.toml
    #[arg(long, env = "HILUM_ADDRESS", value_name = "HOST:PORT")]
    address: Option<String>,
}

/// How to go about it.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Apply without asking
    #[arg(long)]
    yes: bool,
    /// Show what would change, and apply nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// What for, e.g. a ticket: goes to the audit
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    note: String,
    /// Wait no longer than so many seconds for what is under way on the plugins that are replaced
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=86_400))]
    drain_wait: u64,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What a reload came to.
#[derive(Debug)]
pub enum Outcome {
    /// So many things changed.
    Applied(u64),
    /// The broker has this configuration already.
    Same,
    /// It was only shown.
    Shown,
    /// Somebody said no.
    Declined,
    /// It was ordered, and the answer was lost.
    Lost(Lost),
}

/// An order without an answer.
#[derive(Debug)]
pub struct Lost {
    /// What was ordered.
    pub(crate) order: Order,
    /// What the broker said when it was asked afterwards.
    pub(crate) found: Found,
    /// How the answer was lost.
    pub(crate) error: anyhow::Error,
}

/// Shows, asks and applies.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let (place, options) = (&args.place, &args.options);
    match reload(place, options).await? {
        Outcome::Lost(lost) => Err(match &lost.found {
            Found::Unknown(why) => unknown(&lost.error, why, place),
            _ => not_taken(&lost.error, ""),
        }),
        outcome => Ok(exit(&outcome)),
    }
}

/// How a command ends that has an answer.
#[must_use]
pub fn exit(outcome: &Outcome) -> ExitCode {
    match outcome {
        Outcome::Declined | Outcome::Lost(_) => Exit::Failed.into(),
        _ => Exit::Ok.into(),
    }
}

impl Place {
    /// Connects and opens an admin stream.
    pub async fn open(&self, note: &str) -> anyhow::Result<(Client, Admin)> {
        let connection = Connection::of(&self.directory, &self.identity, self.address.as_deref());
        let client = connection.connect().await?;
        let admin = client.admin(note).await?;
        Ok((client, admin))
    }
}

/// Shows, asks and applies. An order whose answer is lost and that was carried out is [`Outcome::Applied`] all the same.
pub async fn reload(place: &Place, options: &Options) -> anyhow::Result<Outcome> {
    let (client, mut admin) = place.open(&options.note).await?;
    let shown = show(&mut admin, options).await?;
    let Some(order) = shown.order else {
        client.close().await;
        say(&shown, options, None)?;
        return Ok(shown.outcome);
    };
    let outcome = match admin.reload(order.wanted).await {
        Ok(changes) => Outcome::Applied(changes),
        Err(error) if lost::may_be_applied(&error) => {
            eprintln!("note: {error}; asking the broker what it runs");
            // Its last words may be on their way for as long as the broker is silent.
            drop((admin, client));
            return recover(place, options, shown, order, error.into()).await;
        }
        Err(error) => {
            client.close().await;
            return Err(error.into());
        }
    };
    let shown = Shown { outcome, ..shown };
    // What is asked now changes nothing: it took effect.
    let drained = Drained::wait(&mut admin, Duration::from_secs(options.drain_wait)).await;
    client.close().await;
    say(&shown, options, drained.ok().as_ref())?;
    Ok(shown.outcome)
}

/// The answer to an order was lost.
async fn recover(
    place: &Place,
    options: &Options,
    shown: Shown,
    order: Order,
    error: anyhow::Error,
) -> anyhow::Result<Outcome> {
    let found = order.found(place).await;
    if !matches!(found, Found::Wanted) {
        if options.json {
            let applied = if matches!(found, Found::Before) { Value::Bool(false) } else { Value::Null };
            print_json(&json!({"ok": false, "digest": order.wanted.to_string(), "applied": applied}))?;
        }
        return Ok(Outcome::Lost(Lost { order, found, error }));
    }
    let changes = shown.changes.len() as u64;
    let shown = Shown { outcome: Outcome::Applied(changes), ..shown };
    say(&shown, options, drained_again(place, options).await.ok().as_ref())?;
    Ok(shown.outcome)
}

async fn drained_again(place: &Place, options: &Options) -> anyhow::Result<Drained> {
    let (client, mut admin) = place.open("").await?;
    let drained = Drained::wait(&mut admin, Duration::from_secs(options.drain_wait)).await?;
    client.close().await;
    Ok(drained)
}

/// What was shown, and what comes of it.
struct Shown {
    digest: Digest,
    changes: Vec<Change>,
    outcome: Outcome,
    /// What is to be ordered, if anything.
    order: Option<Order>,
}

async fn show(admin: &mut Admin, options: &Options) -> anyhow::Result<Shown> {
    let before = if options.dry_run { None } else { Some(admin.standing(Duration::ZERO).await?.digest) };
    let Preview { digest, problems, changes, .. } = admin.preview().await?;
    let Some(digest) = digest else {
        let problems = problems.into_iter().map(known).collect();
        return Err(wrong(problems, options.json)?);
    };
    if !options.json {
        changes.iter().try_for_each(|change| print(line(change)))?;
    }
    let restart: Vec<&str> =
        changes.iter().filter(|change| change.needs_restart).map(|change| change.path.as_str()).collect();
    let (outcome, order) = if changes.is_empty() {
        (Outcome::Same, None)
    } else if !restart.is_empty() {
        return Err(needs_restart(&changes, &restart, options.json)?);
    } else if options.dry_run {
        (Outcome::Shown, None)
    } else if options.yes || agreed(changes.len())? {
        // Until there is an answer.
        (Outcome::Shown, before.map(|before| Order { before, wanted: digest }))
    } else {
        (Outcome::Declined, None)
    };
    Ok(Shown { digest, changes, outcome, order })
}

/// Says what it came to.
fn say(shown: &Shown, options: &Options, drained: Option<&Drained>) -> std::io::Result<()> {
    let Shown { digest, changes, outcome, .. } = shown;
    if options.json {
        let changes: Vec<Value> = changes.iter().map(as_json).collect();
        let applied = matches!(outcome, Outcome::Applied(_));
        let digest = digest.to_string();
        let drain = drained.map(Drained::as_json);
        return print_json(
            &json!({"ok": true, "digest": digest, "changes": changes, "applied": applied, "drain": drain}),
        );
    }
    print(said(outcome))?;
    match drained.and_then(Drained::line) {
        Some(line) => print(line),
        None => Ok(()),
    }
}

fn said(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Applied(1) => "1 change took effect".into(),
        Outcome::Applied(changes) => format!("{changes} changes took effect"),
        Outcome::Same => "the broker has this configuration already".into(),
        Outcome::Shown | Outcome::Declined | Outcome::Lost(_) => "nothing was changed".into(),
    }
}

/// Asks whoever sits there.
fn agreed(changes: usize) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        let help = "say `--yes` to apply what is shown, or `--dry-run` only to look";
        return Err(Failure::new("there is nobody to ask whether the changes are meant", help).into());
    }
    let mut to = std::io::stderr().lock();
    write!(to, "apply {changes} changes? [y/N] ")?;
    to.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn known(problem: hilum_core::wire::admin::Problem) -> Problem {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Problem {
        file: problem.file.into(),
        position: problem.position.map(|(line, column)| (number(line), number(column))),
        key: problem.key,
        what: problem.what,
        help: problem.help,
    }
}

/// Prints problems as `hilum check` does.
fn wrong(problems: Vec<Problem>, json: bool) -> anyhow::Result<anyhow::Error> {
    if json {
        let problems: Vec<Value> = problems.iter().map(problem_json).collect();
        print_json(&json!({"ok": false, "problems": problems}))?;
    }
    Ok(match Problems::new(problems) {
        Some(problems) => problems.into(),
        None => Failure::new("the broker does not take the configuration", "its log says why").into(),
    })
}

fn needs_restart(changes: &[Change], restart: &[&str], json: bool) -> anyhow::Result<anyhow::Error> {
    if json {
        let shown: Vec<Value> = changes.iter().map(as_json).collect();
        print_json(&json!({"ok": false, "changes": shown, "needs_restart": restart}))?;
    }
    let what = format!("nothing was changed: {} need a restart of the broker", restart.join(", "));
    let help = "stop the broker and start it again, or take these changes back".to_owned();
    Ok(Failure { exit: Exit::Refused, what, help }.into())
}

/// A line for people.
fn line(change: &Change) -> String {
    let restart = if change.needs_restart { "  (needs a restart)" } else { "" };
    let path = &change.path;
    match (&change.before, &change.after) {
        (None, Some(after)) => format!("+ {path} = {}{restart}", after.0),
        (Some(before), None) => format!("- {path} = {}{restart}", before.0),
        (Some(before), Some(after)) => format!("~ {path}: {} -> {}{restart}", before.0, after.0),
        (None, None) => format!("~ {path}{restart}"),
    }
}

fn as_json(change: &Change) -> Value {
    json!({
        "path": change.path,
        "before": change.before.as_ref().map(|text| &text.0),
        "after": change.after.as_ref().map(|text| &text.0),
        "needs_restart": change.needs_restart,
    })
}

#[cfg(test)]
mod tests {
    use hilum_core::wire::admin::Short;

    use super::*;

    #[test]
    fn changes_are_lines_with_a_sign() {
        let change = |before: Option<&str>, after: Option<&str>, needs_restart| Change {
            path: "plugins.clean.path".into(),
            before: before.map(Short::new),
            after: after.map(Short::new),
            needs_restart,
        };
        assert_eq!(line(&change(None, Some("a"), false)), "+ plugins.clean.path = a");
        assert_eq!(line(&change(Some("a"), None, false)), "- plugins.clean.path = a");
        assert_eq!(
            line(&change(Some("a"), Some("b"), true)),
            "~ plugins.clean.path: a -> b  (needs a restart)"
        );
    }
}
