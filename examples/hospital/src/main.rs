//! The `hospital` command: runs the demo, runs other people's files, makes the simulator's files.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The example hospital: simulator and demo.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hospital once and show who received what.
    Demo(hilum_hospital::demo::Arguments),
    /// Run files that others wrote through a broker.
    Interop(hilum_hospital::interop::Arguments),
    /// Open a sealed body that is a file.
    Open(hilum_hospital::open::Arguments),
    /// Write what the simulator makes as files.
    Simulate(hilum_hospital::simulate::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(arguments) => hilum_hospital::demo::run(&arguments),
        Command::Interop(arguments) => hilum_hospital::interop::run(&arguments),
        Command::Open(arguments) => hilum_hospital::open::run(&arguments),
        Command::Simulate(arguments) => hilum_hospital::simulate::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hospital: {error:#}");
            ExitCode::FAILURE
        }
    }
}
