//! The one binary of Hilum, as a library: a module for each command, and what they share.
//!
//! Each command's module has its arguments, `Args`, and `run`, which gives an exit code. [`output`] says how results,
//! errors and exit codes look.

pub mod bench;
pub mod bundled;
pub mod check;
pub mod connect;
pub mod init;
pub mod output;
pub mod plugin;
pub mod publish;
pub mod serve;
pub mod subscribe;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "hilum",
    version,
    about = "A message broker for hospitals: durable, over QUIC, with sandboxed plugins on every flow",
    after_help = concat!(
        "Start here:\n",
        "  hilum init st-marys     make the example hospital\n",
        "  hilum check st-marys    see who gets what\n",
        "  hilum serve st-marys    run its broker",
    ),
    after_long_help = output::EXIT_CODES,
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
    /// Print completions for a shell
    #[command(after_help = "Example:\n  hilum completions bash > ~/.local/share/bash-completion/completions/hilum")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::report(&error.into()).into(),
    };
    runtime.block_on(run(command)).unwrap_or_else(|error| output::report(&error).into())
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(args) => init::run(args).await,
        Command::Check(args) => check::run(args).await,
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
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "hilum {} --help has no example", command.get_name());
        }
    }

    #[test]
    fn exit_codes_are_in_the_long_help() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("4  the broker cannot be reached"), "{help}");
    }
}
