//! One connected life of a sink: everything that happens, one thing after the other, and writes side by side.
//!
//! Whatever happens ends up on the [`Desk`]; between two happenings as many writes are begun as may be under way, while
//! the Lease is ours and the server is not to be left alone. So changes that come while nobody may write are one write
//! for each object later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{ApiError, Client};
use super::desk::{Desk, takes_shown};
use super::elect::{self, Place, jittered};
use super::object::{Key, Kind};
use super::watch::{self, Change, Event, Scope};
use super::write::{Outcome, WriteError, Writer, pause_after};
use super::{KubernetesSink, lease_of, missing, owner};

/// Events of the watches that wait here; a list counts for one.
const EVENTS: usize = 1024;
/// How often the row in the status is written while something happens.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How many failing objects are shown.
const SHOWN: usize = 20;
/// An object that failed is tried again after this, twice as long each time.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(300);
/// Where the server fails at more objects than these in a row, it is about the server.
const ALONE: usize = 4;
/// After this long without a connection it is read anew where the server is and who we are: its address may have changed,
/// or the authority that signs its certificate.
const LOST: Duration = Duration::from_secs(30);
/// How often in [`FIGHT`] a field is taken back from the same object before it is left to whoever changes it.
const ROUNDS: u32 = 3;
const FIGHT: Duration = Duration::from_secs(600);

/// Requests that ended.
type Writes = JoinSet<(Key, Result<Outcome, WriteError>)>;

/// The state of one life.
pub(super) struct Life {
    sink: Arc<KubernetesSink>,
    writer: Writer,
    desk: Desk,
    api_versions: BTreeMap<Kind, String>,
    writes: Writes,
    /// What is wrong with a kind, while something is.
    troubles: BTreeMap<Kind, String>,
    failures: BTreeMap<Key, Failure>,
    forced: BTreeMap<Key, (u32, Instant)>,
    /// What the watch says of objects that are being written: most of it is what the answer will say, too.
    held: BTreeMap<Key, Change>,
    /// Nothing is begun before this.
    paused_until: Option<Instant>,
    /// General failures in a row.
    general: u32,
    /// Objects that the server failed at since it last did as it was asked; as many as may be alone in that.
    stumbled: BTreeSet<Key>,
    /// Since when nothing answers.
    unreachable: Option<Instant>,
    problem: Option<String>,
    last_success: Option<SystemTime>,
    told: Option<Instant>,
}

/// An object that could not be written.
struct Failure {
    why: String,
    times: u32,
    again: Instant,
}

impl Life {
    /// Lives until `stop` (`Ok`), or until who we are has to be found out anew.
    ///
    /// # Errors
    /// There is no access to the server: no credentials, or those that it does not take any more.
    pub(super) async fn run(
        sink: Arc<KubernetesSink>,
        me: String,
        stop: CancellationToken,
    ) -> Result<(), ApiError> {
        let settings = &sink.settings;
        let metrics = sink.metrics.of(&settings.name);
        let (client, home) = Client::new(settings, metrics.clone()).await?;
        let owner = owner(settings, &home);
        let at = lease_of(settings, home, &owner);
        let (events_in, events) = mpsc::channel(EVENTS);
        let mut helpers = JoinSet::new();
        for kind in Kind::ALL {
            let scope = Scope { kind, owner: owner.clone(), namespaces: settings.namespaces.clone() };
            helpers.spawn(watch::run(client.clone(), scope, events_in.clone()));
        }
        let (place_in, place) = channel::channel(Place::default());
        let give_back = CancellationToken::new();
        let mut election = JoinSet::new();
        let duration = settings.lease_duration;
        election.spawn(elect::run(client.clone(), at, me, duration, place_in, give_back.clone()));
        let writer = Writer {
            client,
            field_manager: settings.field_manager.as_str().into(),
            owner: owner.clone(),
            create_namespaces: settings.create_namespaces,
            metrics,
        };
        let desk = Desk::new(owner, settings.inline_endpoints, &settings.namespaces);
        let mut life = Self::new(Arc::clone(&sink), writer, desk);
        let ended = tokio::select! {
            ended = life.turn(place, events, &stop) => ended,
            _ = helpers.join_next() => Err(ApiError::Ended("a watch")),
        };
        // Who writes nothing any more gives the Lease back, and not before.
        while life.writes.join_next().await.is_some() {}
        give_back.cancel();
        // Dropped, and with it what is left of it, where the server takes no Lease back.
        let _late = tokio::time::timeout(super::client::PATIENCE, election.join_next()).await;
        ended
    }

    fn new(sink: Arc<KubernetesSink>, writer: Writer, desk: Desk) -> Self {
        Self {
            sink,
            writer,
            desk,
            api_versions: BTreeMap::new(),
            writes: Writes::new(),
            troubles: BTreeMap::new(),
            failures: BTreeMap::new(),
            forced: BTreeMap::new(),
            held: BTreeMap::new(),
            paused_until: None,
            general: 0,
            stumbled: BTreeSet::new(),
            unreachable: None,
            problem: None,
            last_success: None,
            told: None,
        }
    }

    async fn turn(
        &mut self,
        mut place: channel::Receiver<Place>,
        mut events: mpsc::Receiver<Event>,
        stop: &CancellationToken,
    ) -> Result<(), ApiError> {
        let mut store = self.sink.store.clone();
        let mut takes = self.sink.takes.clone();
        self.desk.want(store.current(), &takes.borrow_and_update());
        loop {
            let behind = self.desk.catch_up();
            if behind {
                // Others wait for this thread, the wires among them.
                tokio::task::yield_now().await;
            }
            self.begin(&place.borrow());
            self.tell(&place.borrow());
            let alarm = self.alarm(&place.borrow());
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(next) = store.next() => self.desk.want(next, &takes.borrow()),
                Ok(()) = takes.changed() => {
                    let takes = takes.borrow_and_update().clone();
                    self.desk.want(store.current(), &takes);
                }
                Some(event) = events.recv() => self.hear(event)?,
                Some(done) = self.writes.join_next() => match done {
                    Ok((key, result)) => self.note(key, result)?,
                    Err(_) => return Err(ApiError::Ended("a write")),
                },
                changed = place.changed() => changed.map_err(|_| ApiError::Ended("the election"))?,
                () = tokio::time::sleep_until(alarm) => self.wake(),
                () = std::future::ready(()), if behind => {}
            }
        }
    }

    /// Begins as many writes as may be under way.
    fn begin(&mut self, place: &Place) {
        let now = Instant::now();
        let may = place.may_write(now) && self.paused_until.is_none_or(|until| until <= now);
        while may && self.writes.len() < self.sink.settings.parallelism {
            let Some((key, job)) = self.desk.next() else { return };
            let Some(api_version) = self.api_versions.get(&key.kind).cloned() else {
                self.desk.rest(&key);
                continue;
            };
            let may_force = self.may_force(&key, now);
            let writer = self.writer.clone();
            self.writes.spawn(async move {
                let result = writer.perform(&key, job, &api_version, may_force).await;
                (key, result)
            });
        }
    }

    fn may_force(&self, key: &Key, now: Instant) -> bool {
        let fresh = |(times, since): &(u32, Instant)| *times < ROUNDS || now.duration_since(*since) > FIGHT;
        self.forced.get(key).is_none_or(fresh)
    }

    fn hear(&mut self, event: Event) -> Result<(), ApiError> {
        match event {
            Event::Listed(kind, api_version, all) => {
                self.unreachable = None;
                if self.troubles.remove(&kind).is_some() {
                    tracing::info!(sink = self.sink.settings.name, "{} are watched again", kind.collection());
                }
                self.api_versions.insert(kind, api_version);
                self.desk.listed(kind, all);
            }
            Event::Changed(change) if self.desk.is_busy(&change.key) => {
                self.held.insert(change.key.clone(), change);
            }
            Event::Changed(change) => self.changed(change),
            Event::Gone(key, uid) => {
                self.held.remove(&key);
                self.failures.remove(&key);
                self.desk.gone(&key, Some(&uid));
            }
            Event::Trouble(_, error) if error.code() == 401 || self.is_lost(&error) => return Err(error),
            Event::Trouble(kind, error) => self.trouble(kind, &error),
        }
        Ok(())
    }

    /// Whether nobody has been there for so long that we may be looking in the wrong place.
    fn is_lost(&mut self, error: &ApiError) -> bool {
        if !matches!(error, ApiError::Unreachable(_)) {
            self.unreachable = None;
            return false;
        }
        let now = Instant::now();
        now.duration_since(*self.unreachable.get_or_insert(now)) >= LOST
    }

    /// An object came or changed, unless that is known: from the answer to our own write.
    fn changed(&mut self, change: Change) {
        if self.desk.knows(&change.key, &change.uid, &change.version) {
            return;
        }
        match change.read(self.desk.owner()) {
            Ok(observed) => {
                self.failures.remove(&change.key);
                self.desk.seen(change.key, observed);
            }
            Err(e) => self.trouble(change.key.kind, &e),
        }
    }

    fn trouble(&mut self, kind: Kind, error: &ApiError) {
        let words = match error.code() {
            404 => {
                self.desk.unlisted(kind);
                missing(kind)
            }
            _ => format!("{} cannot be watched: {error}", kind.collection()),
        };
        if self.troubles.insert(kind, words.clone()).as_ref() != Some(&words) {
            tracing::warn!(sink = self.sink.settings.name, "{words}");
        }
    }

    /// A write has ended; what the watch said of the object meanwhile counts now.
    fn note(&mut self, key: Key, result: Result<Outcome, WriteError>) -> Result<(), ApiError> {
        let held = self.held.remove(&key);
        let ended = self.ended(key, result);
        held.into_iter().for_each(|change| self.changed(change));
        ended
    }

    fn ended(&mut self, key: Key, result: Result<Outcome, WriteError>) -> Result<(), ApiError> {
        let error = match result {
            Ok(outcome) => {
                self.succeeded(&key, outcome);
                return Ok(());
            }
            Err(error) => error,
        };
        match error {
            WriteError::Api(e) if e.code() == 401 => {
                self.desk.done(&key);
                return Err(e);
            }
            WriteError::Api(e) if e.code() >= 500 && self.may_be_alone(&key) => {
                self.failed(key, &WriteError::Api(e));
            }
            WriteError::Api(e) if e.is_general() => {
                self.desk.done(&key);
                let pause = jittered(pause_after(&e, self.general));
                if self.problem.is_none() {
                    tracing::warn!(sink = self.sink.settings.name, "writing pauses: {e}");
                }
                self.problem = Some(e.to_string());
                self.general = self.general.saturating_add(1);
                let until = Instant::now() + pause;
                self.paused_until = Some(self.paused_until.map_or(until, |old| old.max(until)));
            }
            error => self.failed(key, &error),
        }
        Ok(())
    }

    /// Whether a failure of the server's may be about this object alone, as that of a webhook is, so that others go on.
    fn may_be_alone(&mut self, key: &Key) -> bool {
        if self.stumbled.len() < ALONE {
            self.stumbled.insert(key.clone());
        }
        self.stumbled.contains(key)
    }

    fn succeeded(&mut self, key: &Key, outcome: Outcome) {
        self.general = 0;
        self.stumbled.clear();
        if self.problem.take().is_some() {
            tracing::info!(sink = self.sink.settings.name, "writing goes on");
        }
        self.failures.remove(key);
        self.last_success = Some(SystemTime::now());
        match outcome {
            Outcome::Written(observed) => self.desk.seen(key.clone(), *observed),
            Outcome::Forced(observed) => {
                let now = Instant::now();
                let fight = self.forced.entry(key.clone()).or_insert((0, now));
                if now.duration_since(fight.1) > FIGHT {
                    *fight = (0, now);
                }
                fight.0 += 1;
                self.desk.seen(key.clone(), *observed);
            }
            Outcome::Deleted => self.desk.deleted(key),
            Outcome::Gone => self.desk.gone(key, None),
        }
        self.desk.done(key);
    }

    fn failed(&mut self, key: Key, error: &WriteError) {
        let why = error.to_string();
        let old = self.failures.get(&key);
        let overtaken = matches!(error, WriteError::Overtaken);
        // The watch tells what overtook it.
        if !overtaken && old.is_none_or(|f| f.why != why) {
            tracing::warn!(sink = self.sink.settings.name, object = %key, "cannot be written: {why}");
        }
        let times = old.map_or(0, |f| f.times) + 1;
        let rest = (FIRST_REST * 2_u32.saturating_pow((times - 1).min(12))).min(LONGEST_REST);
        let again = Instant::now() + jittered(rest);
        self.desk.rest(&key);
        self.failures.insert(key, Failure { why, times, again });
    }

    /// Whoever has rested long enough is tried again.
    fn wake(&mut self) {
        let now = Instant::now();
        let due: Vec<Key> =
            self.failures.iter().filter(|(_, f)| f.again <= now).map(|(key, _)| key.clone()).collect();
        for key in due {
            self.desk.wake(&key);
            // Its count stays until it is written; its next turn is far.
            if let Some(f) = self.failures.get_mut(&key) {
                f.again = now + LONGEST_REST;
            }
        }
    }

    /// When there is something to do although nothing happens.
    fn alarm(&self, place: &Place) -> Instant {
        /// Without a reason any far moment will do.
        const FAR: Duration = Duration::from_secs(3600);
        let now = Instant::now();
        let resting = self.failures.values().map(|f| f.again).min();
        let telling = self.told.map(|told| told + TELL_EVERY).filter(|at| *at > now);
        let reasons = [self.paused_until, resting, telling, place.writable_until];
        reasons.into_iter().flatten().filter(|at| *at > now).min().unwrap_or(now + FAR)
    }

    /// Writes the row in the status, unless that was just done.
    fn tell(&mut self, place: &Place) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now.duration_since(told) < TELL_EVERY) {
            return;
        }
        self.told = Some(now);
        self.failures.retain(|key, _| self.desk.is_of_interest(key));
        let (pending, writer) = (self.desk.pending(), place.may_write(now));
        if writer && pending == 0 && self.desk.is_listed() {
            self.last_success = Some(SystemTime::now());
        }
        let mut failures = self.desk.refused();
        failures.extend(self.failures.iter().map(|(key, f)| (key.to_string(), f.why.clone())));
        let failing = failures.len();
        failures.truncate(SHOWN);
        let problems: BTreeSet<&String> =
            self.troubles.values().chain(&self.problem).chain(&place.problem).collect();
        let problem = (!problems.is_empty())
            .then(|| problems.into_iter().map(String::as_str).collect::<Vec<_>>().join("; "));
        let registries = takes_shown(&self.sink.takes.borrow());
        let wanted = self.desk.wanted();
        self.sink.status.sink(&self.sink.settings.name, |s| {
            s.up = self.desk.is_listed() && problem.is_none();
            s.problem = problem;
            s.writer = writer;
            s.holder.clone_from(&place.holder);
            s.instance = self.desk.owner().as_str().to_owned();
            s.registries = registries;
            (s.wanted, s.pending, s.failing, s.failures) = (wanted, pending, failing, failures);
            s.last_success = self.last_success;
        });
    }
}

#[cfg(test)]
mod tests;
