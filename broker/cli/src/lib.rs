//! The one binary of Hilum, as a library: a module for each command, and what they share.
//!
//! Each command's module has its arguments, `Args`, and `run`, which gives an exit code. [`output`] says how results,
//! errors and exit codes look.

pub mod audit;
pub mod bench;
pub mod bundled;
pub mod check;
pub mod connect;
pub mod flow;
#[cfg(test)]
mod guide;
pub mod hold;
pub mod init;
pub mod keys;
pub mod log;
pub mod operate;
pub mod output;
pub mod plugin;
pub mod pseudonym;
pub mod publish;
pub mod quarantine;
pub mod reload;
pub mod serve;
pub mod subscribe;
pub mod subscription;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use hilum_sandbox::limits::THREAD_STACK_OCTETS;

/// For the help of the whole program.
const START_HERE: &str = "\
Start here:
  hilum init st-marys     make the example hospital
  hilum check st-marys    see who gets what
  hilum serve st-marys    run its broker";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "hilum",
    version,
    about = "A message broker for hospitals: durable, over QUIC, with sandboxed plugins on every flow",
    after_help = START_HERE,
    after_long_help = format!("{START_HERE}\n\n{}", output::EXIT_CODES),
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a hospital directory, or what is missing in one
    Init(init::Args),
    /// Check a hospital directory, and show who gets what
    Check(check::Args),
    /// Run the broker of a hospital directory
    #[command(after_help = "Example:\n  hilum serve st-marys --log-format json")]
    Serve(serve::Args),
    /// Let the running broker take the changed configuration of its directory
    Reload(reload::Args),
    /// Publish files, or standard input, to a flow
    Publish(publish::Args),
    /// Read a subscription of a flow
    Subscribe(subscribe::Args),
    /// See how flows stand
    Flow(flow::Args),
    /// See how subscriptions stand; pause, resume and move them
    Subscription(subscription::Args),
    /// Work on what chains stopped: look at it, release it, destroy it
    Quarantine(quarantine::Args),
    /// Keep from deletion what a court or an investigation needs
    Hold(hold::Args),
    /// Come back to a patient: what pseudonyms stood for, for holders of their key
    Pseudonym(pseudonym::Args),
    /// Read who did what, and what was refused to whom
    Audit(audit::Args),
    /// Look at plugins and run them in the sandbox without a broker; upgrade, try and retire those of a running one
    Plugin(plugin::Args),
    /// Read the logs of a stopped broker through, or give up what is damaged in them
    Log(log::Args),
    /// Change the key-encryption key of a stopped broker
    Keys(keys::Args),
    /// Measure this machine
    Bench(bench::Args),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  hilum completions bash > ~/.local/share/bash-completion/completions/hilum"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.enable_all().thread_stack_size(THREAD_STACK_OCTETS).build() {
        Ok(runtime) => runtime,
        Err(error) => return output::report(&error.into()).into(),
    };
    runtime.block_on(run(command)).unwrap_or_else(|error| output::report(&error).into())
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(args) => init::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Reload(args) => reload::run(args).await,
        Command::Publish(args) => publish::run(args).await,
        Command::Subscribe(args) => subscribe::run(args).await,
        Command::Flow(args) => flow::run(args).await,
        Command::Subscription(args) => subscription::run(args).await,
        Command::Quarantine(args) => quarantine::run(args).await,
        Command::Hold(args) => hold::run(args).await,
        Command::Pseudonym(args) => pseudonym::run(args).await,
        Command::Audit(args) => audit::run(args).await,
        Command::Plugin(args) => plugin::run(args).await,
        Command::Log(args) => log::run(args).await,
        Command::Keys(args) => keys::run(args).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hilum", &mut script);
    output::print(String::from_utf8(script)?.trim_end())?;
    Ok(output::Exit::Ok.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A command without an example does not explain itself.
    #[test]
    fn every_command_has_an_example() {
        let mut commands: Vec<_> = Cli::command().get_subcommands().cloned().collect();
        while let Some(command) = commands.pop() {
            if command.has_subcommands() {
                commands.extend(command.get_subcommands().cloned());
                continue;
            }
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "`{} --help` has no example", command.get_name());
        }
    }

    #[test]
    fn exit_codes_are_in_the_long_help() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("4  the broker cannot be reached"), "{help}");
    }
}
