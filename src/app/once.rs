//! Reading every registry once, for `check` and `render`: the same line as `serve`, without a socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::app::{Error, parts};
use crate::config::Config;
use crate::model::service::RegistryName;
use crate::pipeline::metrics::PipelineMetrics;
use crate::pipeline::report::{RegistryReport, ServiceReport, Wanted};
use crate::resource::collection::Collection;
use crate::resource::snapshot::Snapshot;
use crate::runtime::status::RegistryStatus;
use crate::runtime::supervise::Critical;

/// What all registries hold, and what became of it.
#[derive(Debug)]
pub struct ReadOnce {
    /// What would be served.
    pub snapshot: Arc<Snapshot>,
    /// Every registry.
    pub registries: Vec<RegistryReport>,
    /// Every item.
    pub services: Vec<ServiceReport>,
}

/// How long a registry that answers at all may take.
const ANSWERS: Duration = Duration::from_secs(30);
/// Whoever waits longer than this is told for what.
const PATIENCE: Duration = Duration::from_secs(3);

/// Reads every registry once, completely, waiting no longer than `wait`; absent: as long as an answer may take, and on for
/// registries that have answered and, having just started, are not believed at once. `waiting` hears what is waited for, a
/// line each, whenever that is news.
///
/// # Errors
/// A registry was not read in time; says which, and why.
pub async fn read_once(
    config: &Config,
    wait: Option<Duration>,
    waiting: impl Fn(&str),
) -> Result<ReadOnce, Error> {
    let doubts = config.registries.iter().map(|r| r.kind.doubts_for()).max().unwrap_or_default();
    let (mut parts, pipeline) = parts(config, PipelineMetrics::default());
    let mut tasks = Critical::default();
    tasks.spawn("the pipeline", pipeline.run(parts.shutdown.stopped()));
    parts.registries.start(&parts.handle);
    let complete = async {
        while let Some(snapshot) = parts.reader.next().await {
            if Collection::all().all(|c| snapshot.get(c).is_some()) {
                return Some(snapshot);
            }
        }
        None
    };
    let questions = parts.handle.questions.clone();
    let tell = async {
        let mut said = String::new();
        loop {
            sleep(PATIENCE).await;
            let reports = questions.registries().await.unwrap_or_default();
            let now = unread(&reports, &parts.status.registries());
            if now != said {
                waiting(&now);
                said = now;
            }
        }
    };
    let over = async {
        sleep(wait.unwrap_or(ANSWERS)).await;
        let reports = questions.registries().await.unwrap_or_default();
        if wait.is_none() && reports.iter().all(|r| r.complete || r.doubt.is_some()) {
            sleep(doubts).await;
        }
    };
    let began = Instant::now();
    let snapshot = tokio::select! {
        done = complete => done,
        () = over => None,
        () = tell => None,
    };
    let registries = questions.registries().await.unwrap_or_default();
    let services = questions.services(Wanted::default()).await.unwrap_or_default();
    parts.shutdown.stop();
    parts.registries.stop().await;
    match snapshot {
        Some(snapshot) => Ok(ReadOnce { snapshot, registries, services }),
        None => Err(Error::Unread {
            within: wait.unwrap_or(began.elapsed()),
            unread: unread(&registries, &parts.status.registries()),
        }),
    }
}

/// Who has not been read, and why; a line each.
fn unread(reports: &[RegistryReport], status: &BTreeMap<RegistryName, RegistryStatus>) -> String {
    let problem = |name: &str| {
        let row = status.iter().find(|(n, _)| n.as_str() == name).and_then(|(_, s)| s.problem.clone());
        row.unwrap_or_else(|| "it has said nothing yet".into())
    };
    let lines = reports.iter().filter(|r| !r.complete);
    lines.map(|r| format!("  {}: {}", r.name, problem(&r.name))).collect::<Vec<_>>().join("\n")
}
