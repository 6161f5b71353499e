//! What the process tells machines and people while it runs: logs on standard error, metrics for whoever scrapes.
//!
//! Metrics have no globals: whoever measures something registers it in the one [`Metrics`] that `app` hands round.
//! Ours begin with `chandler_`; only what Prometheus users expect of every process (`process_…`) and what existing
//! dashboards ask for by another name (`istio_mcp_…`) does not. Label values are closed lists or names from the
//! configuration, never an error's text.

use std::ffi::OsStr;
use std::fmt;
use std::io::IsTerminal;

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

mod process;

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from; `unknown` where it was built from an archive.
pub const REVISION: &str = env!("CHANDLER_REVISION");

/// What stands before every metric of ours.
const PREFIX: &str = "chandler";

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error(
        "the log filter {filter:?} cannot be read: {reason}. It is a level (error, warn, info, debug, trace) or pairs \
         such as info,chandler::registry=debug"
    )]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It was set up before.
    #[error("logging is already set up in this process")]
    Twice,
}

/// Logs on its own each request that fails, as an error. We say it too, once, and with what it means.
const SAID_TWICE: &str = "kube_client";

/// Sends log lines that pass `filter` (as in `RUST_LOG`) to standard error from now on, for the whole process.
///
/// # Errors
/// The filter cannot be read, or logging was set up before.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let silent = if filter.contains(SAID_TWICE) { String::new() } else { format!(",{SAID_TWICE}=off") };
    let filter = EnvFilter::try_new(format!("{filter}{silent}"))
        .map_err(|e| LogError::Filter { filter: filter.into(), reason: e.to_string() })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.with_ansi(colours(std::io::stderr().is_terminal())).try_init(),
    };
    set.map_err(|_| LogError::Twice)
}

/// Whether to write colours to an output that `is_terminal` or not: never where `NO_COLOR` is set to anything.
#[must_use]
pub fn colours(is_terminal: bool) -> bool {
    wants_colours(is_terminal, std::env::var_os("NO_COLOR").as_deref())
}

fn wants_colours(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Makes a panic a line of the log, as everything else that people should know: where, and with which words.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let words = panic.payload_as_str().unwrap_or("without words");
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(at, "a panic (a bug, please report it): {words}");
    }));
}

/// Everything that is measured in this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Starts with what the process itself is and uses.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::Process));
        let mut metrics = Self { registry };
        let build = Info::new([("version", VERSION), ("revision", REVISION)]);
        metrics.ours().register("build", "What this program was built from", build);
        metrics
    }

    /// Where a part registers its metrics, without the prefix `chandler_`.
    pub fn ours(&mut self) -> &mut Registry {
        self.registry.sub_registry_with_prefix(PREFIX)
    }

    /// Where metrics are registered whose whole name others have decided.
    pub fn foreign(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Everything registered, and what `scrape` adds for this one scrape (without prefix), as `OpenMetrics` text.
    ///
    /// # Errors
    /// A metric failed to write itself.
    pub fn encode(&self, scrape: impl FnOnce(&mut Registry)) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode_registry(&mut out, &self.registry)?;
        let mut now = Registry::with_prefix(PREFIX);
        scrape(&mut now);
        text::encode_registry(&mut out, &now)?;
        text::encode_eof(&mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[test]
    fn metrics_carry_our_prefix_and_end_once() {
        let mut metrics = Metrics::new();
        let pushes: Counter = Counter::default();
        metrics.ours().register("pushes", "Responses sent", pushes.clone());
        pushes.inc();
        let text = metrics
            .encode(|now| {
                let clients: Gauge = Gauge::default();
                clients.set(3);
                now.register("clients", "Open streams", clients);
            })
            .unwrap();
        let build = format!("chandler_build_info{{version=\"{VERSION}\",revision=\"{REVISION}\"}} 1\n");
        for line in [&build[..], "chandler_pushes_total 1\n", "chandler_clients 3\n"] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert_eq!(text.matches("# EOF\n").count(), 1);
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn no_color_counts_when_it_holds_anything() {
        assert!(wants_colours(true, None));
        assert!(wants_colours(true, Some(OsStr::new(""))));
        assert!(!wants_colours(true, Some(OsStr::new("1"))));
        assert!(!wants_colours(false, None));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused_with_words_that_help() {
        let error = init_logs(LogFormat::Text, "chandler=loud").unwrap_err().to_string();
        assert!(error.contains("chandler=loud") && error.contains("trace"), "{error}");
    }
}
