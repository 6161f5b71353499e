//! `chandler man`: manual pages, for packages.

use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::cli::output::{Failure, say};

/// Print a manual page in roff.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  chandler man | man -l -
  chandler man serve > chandler-serve.1")]
pub(crate) struct Man {
    /// Of which command; without one, of the program
    command: Option<String>,
}

pub(crate) fn run(args: &Man) -> Result<(), Failure> {
    let mut program = Cli::command();
    program.build();
    let page = match &args.command {
        None => program,
        Some(name) => program
            .find_subcommand(name)
            .cloned()
            .ok_or_else(|| Failure::Wrong(format!("there is no command {name:?}: see `chandler help`")))?,
    };
    let mut roff = Vec::new();
    clap_mangen::Man::new(page)
        .render(&mut roff)
        .map_err(|e| Failure::Found(format!("cannot write the manual page: {e}")))?;
    say(&String::from_utf8_lossy(&roff))
}
