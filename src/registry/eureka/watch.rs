//! One life of a registry that is an Eureka cluster: a full read, then what changes, round by round.
//!
//! A round asks one server and goes on to the next only where that one fails or is not to be believed; it fails itself
//! when none answers, and that is the end of the life.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::client::{Delta, Servers};
use super::reading::Reading;
use super::state::{Plan, State, Verdict};
use crate::model::change::Batch;
use crate::model::service::RegistryName;
use crate::model::time::Moment;
use crate::pipeline::intake::Changes;
use crate::registry::again::Again;
use crate::registry::http::HttpError;
use crate::registry::{BoxFuture, Registry, RegistryError};
use crate::runtime::status::Status;

/// How many instances that make no sense a problem names.
const NAMED: usize = 3;

/// What outlives a life.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) servers: Servers,
    pub(super) interval: Duration,
    pub(super) name: RegistryName,
    pub(super) status: Arc<Status>,
    began: Instant,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn new(
        servers: Servers,
        interval: Duration,
        state: State,
        name: RegistryName,
        status: Arc<Status>,
    ) -> Self {
        Self { servers, interval, name, status, began: Instant::now(), state: Mutex::new(state) }
    }

    fn now(&self) -> Moment {
        Moment::after_start(self.began.elapsed())
    }

    /// For an instant only; nobody panics while holding it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One life.
#[derive(Debug)]
pub(super) struct EurekaRegistry(pub(super) Arc<Shared>);

impl Registry for EurekaRegistry {
    fn run(
        self: Box<Self>,
        changes: Changes,
        stop: CancellationToken,
    ) -> BoxFuture<Result<(), RegistryError>> {
        Box::pin(async move {
            let again = Again::new(changes.clone());
            let life = Life { shared: self.0, changes, again, last_delta: None, problem: None, stale: 0 };
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                ended = life.live() => ended,
            }
        })
    }
}

#[derive(Debug)]
struct Life {
    shared: Arc<Shared>,
    changes: Changes,
    again: Again,
    /// The digest of the delta that the state has taken in last.
    last_delta: Option<u128>,
    /// What was last said to be wrong.
    problem: Option<String>,
    /// How many leases were last said to have run out.
    stale: usize,
}

impl Life {
    async fn live(mut self) -> Result<(), RegistryError> {
        self.shared.state().begin();
        loop {
            let failed = self.round().await?;
            self.report(&failed);
            tokio::select! {
                biased;
                () = self.again.wait() => self.shared.state().read_everything(),
                () = sleep(jittered(self.shared.interval)) => {}
            }
        }
    }

    /// One round; the servers that failed although another one answered.
    async fn round(&mut self) -> Result<Vec<HttpError>, RegistryError> {
        let plan = self.shared.state().plan(self.shared.now());
        let (first, mut failed) = match plan {
            Plan::Full(first) => (first, Vec::new()),
            Plan::Delta(server) => match self.delta(server).await {
                Ok(Some(())) => return Ok(Vec::new()),
                Ok(None) => (server, Vec::new()),
                // It is asked again, after all others.
                Err(Trouble::Server(e)) => (server + 1, vec![e]),
                Err(Trouble::Registry(e)) => return Err(e),
            },
        };
        self.last_delta = None;
        self.again.was_read();
        failed.extend(self.full(first).await?);
        Ok(failed)
    }

    /// Asks for what changed; `None`: everything has to be read.
    async fn delta(&mut self, server: usize) -> Result<Option<()>, Trouble> {
        let answer = self.shared.servers.delta(server, self.last_delta).await.map_err(Trouble::Server)?;
        let now = self.shared.now();
        match answer {
            Delta::Same => {
                self.shared.state().same_again(now);
                Ok(Some(()))
            }
            Delta::Changed(delta, digest) => {
                let (batch, in_step) = self.shared.state().delta(delta, now);
                self.last_delta = Some(digest);
                self.send(batch).await.map_err(Trouble::Registry)?;
                Ok(in_step.then_some(()))
            }
            Delta::Disabled => {
                self.shared.state().no_deltas(now);
                Ok(None)
            }
        }
    }

    /// Reads everything from the first server that is believed, else from the one that knows most.
    async fn full(&mut self, first: usize) -> Result<Vec<HttpError>, RegistryError> {
        let count = self.shared.servers.count().max(1);
        let (mut best, mut failed): (Option<Candidate>, _) = (None, Vec::new());
        for server in (first..first + count).map(|n| n % count) {
            match self.read(server).await {
                Ok(candidate) if candidate.verdict == Verdict::Believed => {
                    best = Some(candidate);
                    break;
                }
                Ok(candidate) => {
                    let more = best.as_ref().is_none_or(|b| b.reading.len() < candidate.reading.len());
                    if more {
                        best = Some(candidate);
                    }
                }
                Err(e) => failed.push(e),
            }
        }
        let Some(Candidate { server, reading, verdict, digest }) = best else {
            let words: Vec<String> = failed.iter().map(ToString::to_string).collect();
            return Err(RegistryError::Failed(words.join("; ")));
        };
        let batch = self.shared.state().full(reading, verdict, server, self.shared.now());
        self.last_delta = digest;
        self.send(batch).await?;
        Ok(failed)
    }

    async fn read(&self, server: usize) -> Result<Candidate, HttpError> {
        let (answer, clock) = self.shared.servers.full(server).await?;
        let mut reading = Reading::new(answer, clock);
        let mut digest = None;
        let wanted = self.shared.state().wants_deltas(self.shared.now());
        if wanted {
            match self.shared.servers.delta(server, None).await {
                Ok(Delta::Changed(delta, of)) => digest = reading.refine(&delta).then_some(of),
                Ok(Delta::Disabled) => reading.without_deltas(),
                Ok(Delta::Same) => {}
                // The full read stands by itself.
                Err(e) => tracing::debug!(registry = %self.shared.name, "{e}"),
            }
        }
        let verdict = self.shared.state().judge(&reading, self.shared.now());
        Ok(Candidate { server, reading, verdict, digest })
    }

    async fn send(&self, batch: Batch) -> Result<(), RegistryError> {
        if !batch.0.is_empty() {
            self.changes.send(batch).await?;
        }
        Ok(())
    }

    fn report(&mut self, failed: &[HttpError]) {
        let (problem, stale) = {
            let state = self.shared.state();
            (problem(&state, failed), state.stale())
        };
        let registry = &self.shared.name;
        if problem != self.problem {
            match &problem {
                Some(problem) => tracing::warn!(%registry, "{problem}"),
                None => tracing::info!(%registry, "nothing is wrong any more"),
            }
        }
        if (stale > 0) != (self.stale > 0) {
            let words = "instances are listed although their leases have run out";
            tracing::info!(%registry, instances = stale, "{words}");
        }
        self.shared.status.registry(registry, |row| {
            row.problem.clone_from(&problem);
            row.last_success = Some(SystemTime::now());
        });
        (self.problem, self.stale) = (problem, stale);
    }
}

/// A full read of one server.
struct Candidate {
    server: usize,
    reading: Reading,
    verdict: Verdict,
    /// Of the delta that the reading was brought up to date with.
    digest: Option<u128>,
}

/// Why a delta was not taken in.
enum Trouble {
    Server(HttpError),
    Registry(RegistryError),
}

/// What is wrong although the registry was read.
fn problem(state: &State, failed: &[HttpError]) -> Option<String> {
    let mut all: Vec<String> = failed.iter().map(|e| format!("{e} (another server answers)")).collect();
    all.extend(state.doubt().map(|why| format!("not believed: {why}")));
    let mut faults = state.faults();
    let named: Vec<String> = faults.by_ref().take(NAMED).collect();
    if !named.is_empty() {
        let more = faults.count();
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        all.push(format!("left out, for it makes no sense: {}{more}", named.join("; ")));
    }
    (!all.is_empty()).then(|| all.join("; "))
}

/// Up to a tenth less, so that many replicas do not ask at once and none takes longer than was said.
fn jittered(interval: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1000;
    interval - interval.mul_f64(f64::from(u32::try_from(random).unwrap_or_default()) / 10_000.0)
}
