//! The program's life: run, reload, drain.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminState};
use crate::app::doors::Doors;
use crate::app::open_files;
use crate::app::outward::{Outward, wires};
use crate::app::reload::{Reason, Reload};
use crate::app::state::State;
use crate::app::{App, ConfigSource, Error, GRACE, Parts, Sockets, settings, systemd};
use crate::config::Config;
use crate::delivery::{self, DeliveryMetrics, Deps};
use crate::runtime::supervise::{Critical, Ended, Owned};
use crate::store::StoreReader;
use crate::telemetry::Metrics;

/// How long tasks are given to end once they are told to: they have nothing left to do.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

/// The configuration in force, as the API shows it.
type Shown = Arc<Mutex<serde_json::Value>>;

/// Requests to end, by signal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl App {
    /// Runs until SIGTERM or Ctrl-C, then drains; a second signal cuts that short.
    ///
    /// # Errors
    /// Something ended that must not; everything else was drained first.
    pub async fn run(self) -> Result<(), Error> {
        let terminate = signal(SignalKind::terminate())?;
        let mut signals = Signals { terminate, interrupt: signal(SignalKind::interrupt())? };
        let mut reload = Reload::new(self.source.file()).await?;
        let Self {
            config,
            source,
            sockets,
            mut parts,
            pipeline,
            state,
            delivery,
            sinks,
            metrics,
            reload_failed,
            ..
        } = self;
        let shown: Shown = Arc::new(Mutex::new(config.shown()));
        open_files::raise(config.server.limits.streams);
        let mut tasks = Critical::default();
        tasks.spawn("the pipeline", pipeline.run(parts.shutdown.stopped()));
        for doubt in config.doubts() {
            tracing::warn!("{doubt}");
        }
        let files = keep_files(&sockets.doors, parts.shutdown.stopped());
        let (share, left_out) = wires(parts.reader.clone(), &config, parts.shutdown.stopped(), &mut tasks);
        let (streams, doors) =
            listen(sockets, (&parts, share), &config, (delivery, metrics, &shown), &mut tasks);
        let mut outward = Outward::start(&config, streams, sinks, left_out).await;
        parts.registries.start(&parts.handle);
        parts.ready.set();
        systemd::ready();
        let watchdog = systemd::watchdog(parts.handle.questions.clone(), parts.shutdown.stopped());
        let mut current = config;
        let ended = loop {
            tokio::select! {
                () = signals.next() => break None,
                ended = tasks.next() => break ended,
                reason = reload.next() => {
                    systemd::reloading();
                    let next = tokio::select! {
                        next = reread(&current, &source, reason, (&mut parts, &doors)) => next,
                        // A pipeline that is stuck takes no settings, and must not keep anybody from ending it.
                        () = signals.next() => break None,
                        ended = tasks.next() => break ended,
                    };
                    reload_failed.set(i64::from(next.is_err()));
                    if let Ok(Some(next)) = next {
                        outward.configure(&next).await;
                        *shown.lock().unwrap_or_else(PoisonError::into_inner) = next.shown();
                        current = next;
                    }
                    systemd::ready();
                }
            }
        };
        drain(&parts, &mut signals).await;
        let rest = Rest { outward, watchdog, files, tasks, state };
        if rest.end(&mut parts).await { verdict(ended) } else { verdict(ended).and(Err(stuck())) }
    }
}

/// Follows the files of certificates, and what else the doors need, until `stop`.
fn keep_files(doors: &Doors, stop: CancellationToken) -> Owned {
    let keeper = doors.keeper.clone();
    Owned::lasting("the keeper of certificates", stop.clone(), move || keeper.clone().run(stop.clone()))
}

/// What still runs when every client has left.
struct Rest {
    outward: Outward,
    watchdog: Owned,
    files: Owned,
    tasks: Critical,
    state: Option<State>,
}

impl Rest {
    /// Ends it; whether all of it did in time.
    async fn end(self, parts: &mut Parts) -> bool {
        parts.shutdown.stop();
        let Self { outward, watchdog, files, mut tasks, state } = self;
        let rest = async {
            outward.stop().await;
            parts.registries.stop().await;
            watchdog.ended().await;
            files.ended().await;
        };
        let in_time = tokio::time::timeout(LAST_WORDS, rest).await.is_ok();
        let left = tasks.all_ended(LAST_WORDS).await;
        if let Some(state) = state {
            // What the pipeline knew last. A disk that hangs costs what was written before nothing.
            let _late = tokio::time::timeout(LAST_WORDS, state.close()).await.is_err();
        }
        in_time && left == 0
    }
}

/// Puts every listener to work; returns what a later configuration may change about their streams and doors.
fn listen(
    sockets: Sockets,
    (parts, share): (&Parts, StoreReader),
    config: &Config,
    (delivery, metrics, shown): (Arc<DeliveryMetrics>, Arc<Metrics>, &Shown),
    tasks: &mut Critical,
) -> (Deps, Doors) {
    let (shown, stop) = (Arc::clone(shown), parts.shutdown.stopped());
    let state = AdminState {
        questions: parts.handle.questions.clone(),
        store: share.clone(),
        status: Arc::clone(&parts.status),
        config: Arc::new(move || shown.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        metrics,
        ready: parts.ready.clone(),
        shutdown: parts.shutdown.clone(),
    };
    let Sockets { grpc, telemetry, admin, doors } = sockets;
    let (router, door) = (admin::telemetry_router(state.clone()), Arc::clone(&doors.telemetry));
    tasks.spawn("the telemetry listener", admin::serve(telemetry, door, router, stop.clone()));
    let (router, door) = (admin::admin_router(state), Arc::clone(&doors.admin));
    tasks.spawn("the admin listener", admin::serve(admin, door, router, stop));
    let (store, status) = (share, Arc::clone(&parts.status));
    let deps = Deps::new(store, status, delivery, parts.shutdown.clone(), settings::of_streams(config));
    for (listener, door) in grpc.into_iter().zip(&doors.grpc) {
        tasks.spawn("a gRPC listener", delivery::serve(listener, Arc::clone(door) as _, deps.clone()));
    }
    (deps, doors)
}

/// The configuration on disk is not fit to be taken over; the log says why.
struct Unfit;

/// Reads the configuration again and takes it over; `None`: there is nothing that could change.
async fn reread(
    current: &Config,
    source: &ConfigSource,
    reason: Reason,
    (parts, doors): (&mut Parts, &Doors),
) -> Result<Option<Config>, Unfit> {
    let Some(file) = source.file() else {
        tracing::info!("the built-in configuration cannot change; start with --config FILE");
        return Ok(None);
    };
    let next = match Config::load(file) {
        Ok(next) => next,
        Err(errors) => {
            tracing::error!(?reason, "the new configuration is wrong, the old one stays:\n{errors}");
            return Err(Unfit);
        }
    };
    match current.changes(&next) {
        Ok(plan) => tracing::info!(?reason, "configuration read again: {plan}"),
        Err(errors) => {
            tracing::error!(
                ?reason,
                "the new configuration cannot be taken over while running, the old one stays:\n{errors}"
            );
            return Err(Unfit);
        }
    }
    let prepared = doors.prepare(&next, Some(current)).map_err(|errors| {
        tracing::error!(?reason, "the new configuration cannot be taken over, the old one stays:\n{errors}");
        Unfit
    })?;
    for doubt in next.doubts() {
        tracing::warn!("{doubt}");
    }
    let registries = parts.registries.prepare(&next.registries);
    parts.handle.configure(settings::of(&next, registries)).await.map_err(|_| Unfit)?;
    parts.registries.start(&parts.handle);
    doors.take_over(prepared);
    Ok(Some(next))
}

/// Lets every client leave at its own moment; returns when all have, at the end of the grace, or at a second signal.
async fn drain(parts: &Parts, signals: &mut Signals) {
    tracing::info!(grace = ?GRACE, "stopping: new streams are refused, clients leave one by one");
    systemd::stopping();
    parts.shutdown.begin_drain();
    let gone = async {
        // Rows go when streams end; nobody is told, so look: a few times a second for a few seconds.
        let mut look = tokio::time::interval(std::time::Duration::from_millis(50));
        while !parts.status.clients().is_empty() {
            look.tick().await;
        }
    };
    tokio::select! {
        _ = tokio::time::timeout(GRACE, gone) => {}
        () = signals.next() => {}
    }
}

fn stuck() -> Error {
    let why =
        format!("a task did not end within {LAST_WORDS:?} when it was told to (a bug, please report it)");
    tracing::error!("{why}");
    Error::Critical { name: "the process", why }
}

fn verdict(ended: Option<Ended>) -> Result<(), Error> {
    let Some(ended) = ended else { return Ok(()) };
    let why = ended.result.err().unwrap_or_else(|| "without a reason".into());
    tracing::error!(name = ended.name, "ended, which it must not: {why}");
    Err(Error::Critical { name: ended.name, why })
}
