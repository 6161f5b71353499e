//! The command line: what was asked, done by one file per command, ended with an exit code.
//!
//! 0: well. 1: it ran and found something wrong. 2: it was called wrongly, or the configuration is wrong. Results go to
//! standard output, everything else to standard error. Nothing below decides anything about registries or wires.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::app::{self, ConfigSource};
use crate::cli::output::Failure;
use crate::config::Config;
use crate::telemetry::{self, LogFormat};
use crate::yaml::excerpt::Style;

mod check;
mod completions;
mod dial;
mod get;
mod item;
mod man;
mod output;
mod place;
mod render;
mod serve;
#[cfg(feature = "kubernetes")]
mod sink;
mod status;
mod table;
mod yaml;

const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("CHANDLER_REVISION"), ")");

/// Brings the services of external registries aboard an Istio mesh.
#[derive(Debug, Parser)]
#[command(
    name = "chandler",
    version,
    long_version = LONG_VERSION,
    max_term_width = 120,
    long_about = "\
Brings the services of external registries aboard an Istio mesh.

Reads registries (Consul, Eureka, ZooKeeper, files) and serves what they know as Istio resources to control planes, over \
the Mesh Configuration Protocol, on xDS and in its older form; or writes them into Kubernetes.",
    after_help = "\
The first five minutes:
  chandler serve                       samples on loopback
  chandler get serviceentries          in a second terminal: what an istiod would receive
  chandler status                      how registries and clients are
  chandler serve --config FILE         your own

Exit codes: 0 well; 1 it ran and found something wrong; 2 it was called wrongly or the configuration is wrong."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logs: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Check(check::Check),
    Render(render::Render),
    Get(get::Get),
    Status(status::StatusArgs),
    #[cfg(feature = "kubernetes")]
    Sink(sink::Sink),
    #[command(hide = true)]
    Completions(completions::Completions),
    #[command(hide = true)]
    Man(man::Man),
}

#[derive(Debug, Args)]
struct LogArgs {
    /// How log lines look (on standard error)
    #[arg(long, global = true, value_enum, default_value_t = LogForm::Text, help_heading = "Logging")]
    log_format: LogForm,
    /// What is logged: a level, or pairs such as info,chandler::registry=debug [default: info for serve, warn else]
    #[arg(long, global = true, env = "RUST_LOG", value_name = "FILTER", help_heading = "Logging")]
    log_level: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogForm {
    /// For people; coloured on a terminal
    Text,
    /// One JSON object a line
    Json,
}

impl LogArgs {
    fn start(&self, default: &str) -> Result<(), Failure> {
        let format = match self.log_format {
            LogForm::Text => LogFormat::Text,
            LogForm::Json => LogFormat::Json,
        };
        // An empty RUST_LOG says nothing, as everywhere.
        let filter = self.log_level.as_deref().filter(|f| !f.is_empty()).unwrap_or(default);
        telemetry::init_logs(format, filter).map_err(|e| Failure::Wrong(e.to_string()))
    }
}

/// Which configuration.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration file; without one, the built-in quick start
    #[arg(short, long, env = "CHANDLER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    fn load(&self) -> Result<Config, Failure> {
        let config = self.config.as_deref().map_or_else(Config::quickstart, Config::load);
        let style =
            if telemetry::colours(std::io::stderr().is_terminal()) { Style::Colour } else { Style::Plain };
        config.map_err(|e| Failure::Misconfigured(e.display(style).to_string()))
    }

    fn source(&self) -> ConfigSource {
        self.config.clone().map_or(ConfigSource::Embedded, ConfigSource::File)
    }

    fn origin(&self) -> String {
        self.config.as_ref().map_or("the quick start".into(), |path| path.display().to_string())
    }
}

impl From<app::Error> for Failure {
    fn from(error: app::Error) -> Self {
        if error.is_configuration() { Self::Wrong(error.to_string()) } else { Self::Found(error.to_string()) }
    }
}

/// Does what `args` (the program's name first) ask for.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // Help and version are no errors; where the answer cannot be written there is nobody to tell.
        Err(answer) => {
            let _unread = answer.print();
            return ExitCode::from(if answer.use_stderr() { 2 } else { 0 });
        }
    };
    match dispatch(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn dispatch(cli: &Cli) -> Result<(), Failure> {
    crate::security::tls::install_provider();
    let serving = matches!(cli.command, Command::Serve(_));
    cli.logs.start(if serving { "info" } else { "warn" })?;
    if serving {
        crate::telemetry::log_panics();
    }
    match &cli.command {
        Command::Serve(args) => {
            let threads = runtime(tokio::runtime::Builder::new_multi_thread())?;
            let ended = threads.block_on(serve::run(args));
            // A task that is stuck must not keep the process from ending.
            threads.shutdown_timeout(LAST_TURN);
            ended
        }
        Command::Check(args) => {
            runtime(tokio::runtime::Builder::new_multi_thread())?.block_on(check::run(args))
        }
        Command::Render(args) => {
            runtime(tokio::runtime::Builder::new_multi_thread())?.block_on(render::run(args))
        }
        Command::Get(args) => {
            let stop = async {
                // Without a handler Ctrl-C ends the process by itself.
                if tokio::signal::ctrl_c().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let get = async { get::run(args, stop, &mut output::say).await };
            runtime(tokio::runtime::Builder::new_current_thread())?.block_on(get)
        }
        Command::Status(args) => {
            runtime(tokio::runtime::Builder::new_current_thread())?.block_on(status::run(args))
        }
        #[cfg(feature = "kubernetes")]
        Command::Sink(args) => {
            runtime(tokio::runtime::Builder::new_multi_thread())?.block_on(sink::run(args))
        }
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}

/// How long tasks that were told to end may take for their last turn.
const LAST_TURN: std::time::Duration = std::time::Duration::from_secs(1);

fn runtime(mut builder: tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Failure> {
    builder.enable_all().build().map_err(|e| Failure::Found(format!("cannot start: {e}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_that_is_shown_teaches_by_example() {
        for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.starts_with("Examples:\n"), "{}", command.get_name());
            assert!(command.get_long_about().is_some(), "{}", command.get_name());
        }
    }

    #[test]
    fn every_example_of_the_help_parses() {
        let mut seen = 0;
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for line in help.lines().map(str::trim).filter(|l| l.starts_with("chandler ")) {
                let line = line.split(['|', '>']).next().unwrap();
                Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
                seen += 1;
            }
        }
        assert!(seen > 10);
    }
}
