//! `chandler completions`: what a shell needs to complete our command line.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::cli::output::{Failure, say};

/// Print a script that completes this command line.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  # For this shell, until it ends
  source <(chandler completions bash)")]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Completions) -> Result<(), Failure> {
    // Into memory first: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "chandler", &mut script);
    say(&String::from_utf8_lossy(&script))
}
