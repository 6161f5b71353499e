//! The one task that owns the catalog: changes in, snapshots out, questions answered in between.
//!
//! Everything it decides is in [`engine`]; here are its clock and its channels, and nothing else.

pub mod answers;
pub mod debounce;
pub mod desired;
pub mod engine;
pub mod guard;
pub mod image;
pub mod intake;
pub mod metrics;
pub mod reading;
pub mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::bounds::Bounds;
use crate::model::catalog::Counts;
use crate::model::service::RegistryName;
use crate::model::time::Moment;
use crate::pipeline::engine::{Crowding, Engine, Guarded, Restored, Settings};
use crate::pipeline::guard::News;
use crate::pipeline::image::Image;
use crate::pipeline::intake::{Changes, Delivery, Generation, ReadAgain};
use crate::pipeline::metrics::PipelineMetrics;
use crate::pipeline::report::{Query, Questions};
use crate::store::disk::keeper::Outbox;
use crate::store::{Store, StoreReader};

/// Hosts that are converted before anybody else gets a turn: some milliseconds.
const SLICE: usize = 512;
/// The state on disk is written anew after this time even if nothing changed: its age says how long ago we were there.
const REFRESH: Duration = Duration::from_secs(300);
/// What was saved may be seconds older than what was served last: registries that can be reached are given this long to be
/// read before it is served, so that nobody is told of a past that is over. Where none can be, a restart still answers within a
/// second.
const FRESH: Duration = Duration::from_millis(500);
/// People are told of so many services at a time: one mistake may stand in a thousand.
const AT_A_TIME: usize = 20;
/// Questions that may wait; more askers wait themselves.
const QUESTIONS: usize = 16;

/// The task and its ends of all channels.
#[derive(Debug)]
pub struct Pipeline {
    engine: Engine,
    store: Store,
    metrics: Arc<PipelineMetrics>,
    deliveries: mpsc::Receiver<Delivery>,
    questions: mpsc::Receiver<Query>,
    pings: mpsc::Receiver<oneshot::Sender<()>>,
    settings: mpsc::Receiver<Settings>,
    read_again: watch::Sender<ReadAgain>,
    started: Instant,
    /// The time at which it started: that of a process with which it goes on, or none.
    start: Moment,
    saving: Option<Saving>,
    /// Until then nothing is published, unless all that was restored has been read before.
    fresh_until: Option<Instant>,
    /// When the oldest batch arrived that has not been published.
    waiting_since: Option<Instant>,
}

/// To whom what changes is handed, and when.
#[derive(Debug)]
struct Saving {
    outbox: Outbox<image::News>,
    /// Not before that …
    from: Instant,
    /// … and even without news by then.
    until: Instant,
}

/// The other ends. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    deliveries: mpsc::Sender<Delivery>,
    settings: mpsc::Sender<Settings>,
    read_again: watch::Receiver<ReadAgain>,
    /// Asks the pipeline.
    pub questions: Questions,
}

impl Handle {
    /// A registry's way to speak.
    #[must_use]
    pub fn changes(&self, registry: RegistryName, generation: Generation) -> Changes {
        Changes::new(registry, generation, self.deliveries.clone()).heeding(self.read_again.clone())
    }

    /// Hands new settings over.
    ///
    /// # Errors
    /// The pipeline has ended.
    pub async fn configure(&self, settings: Settings) -> Result<(), intake::Closed> {
        self.settings.send(settings).await.map_err(|_| intake::Closed)
    }
}

impl Pipeline {
    /// The task, its handle, and a reader of what it publishes.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<PipelineMetrics>) -> (Self, Handle, StoreReader) {
        let (delivery_in, deliveries) = mpsc::channel(intake::CAPACITY);
        let (question_in, questions) = mpsc::channel(QUESTIONS);
        let (ping_in, pings) = mpsc::channel(QUESTIONS);
        let (settings_in, settings_out) = mpsc::channel(1);
        let (again_in, again_out) = watch::channel(ReadAgain::new());
        let store = Store::default();
        let reader = store.reader();
        let pipeline = Self {
            engine: Engine::new(settings),
            store,
            metrics,
            deliveries,
            questions,
            pings,
            settings: settings_out,
            read_again: again_in,
            started: Instant::now(),
            start: Moment::START,
            saving: None,
            fresh_until: None,
            waiting_since: None,
        };
        let questions = Questions::new(question_in, ping_in);
        let handle =
            Handle { deliveries: delivery_in, settings: settings_in, read_again: again_out, questions };
        (pipeline, handle, reader)
    }

    /// Goes on with what an earlier process saved `age` ago, as far as that is no older than `max_age`; to be called before it
    /// runs.
    pub fn restore(&mut self, image: Image, age: Duration, max_age: Duration) -> Restored {
        self.start = image.now;
        let restored = self.engine.restore(image, age, max_age);
        self.fresh_until = (restored.registries > 0).then(|| Instant::now() + FRESH);
        restored
    }

    /// From now on hands what changes to `outbox`; to be called before [`Pipeline::restore`].
    pub fn save_to(&mut self, outbox: Outbox<image::News>) {
        self.engine.keep_news();
        let now = Instant::now();
        self.saving = Some(Saving { outbox, from: now, until: now + REFRESH });
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// All registries and the application have let go of it, which is a bug.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), &'static str> {
        loop {
            let busy = self.step();
            let alarm = self.alarm();
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.save_last();
                    return Ok(());
                }
                Some(to) = self.pings.recv() => {
                    let _gone = to.send(()).is_err();
                    if !busy {
                        self.hear();
                    }
                }
                Some(query) = self.questions.recv() => {
                    let now = self.now();
                    answers::answer(&mut self.engine, query, now);
                    // Whoever asks without end must not hold up what registries say.
                    if !busy {
                        self.hear();
                    }
                }
                Some(settings) = self.settings.recv() => self.engine.configure(settings, self.now()),
                () = tokio::task::yield_now(), if busy => {}
                delivery = self.deliveries.recv(), if !busy => match delivery {
                    Some(delivery) => self.deliver(delivery),
                    None => return Err("nobody is left who could say anything"),
                },
                () = tokio::time::sleep_until(alarm), if !busy => {}
            }
        }
    }

    /// Works for a slice and publishes what is due. Whether there is more to work on.
    fn step(&mut self) -> bool {
        let now = self.now();
        let busy = self.engine.work(SLICE, now);
        self.speak();
        self.ask_for_reads();
        if self.waits_for_reads() {
            return busy;
        }
        if let Some(snapshot) = self.engine.flush(now) {
            self.store.publish(snapshot);
            self.metrics.snapshots.inc();
            if let Some(since) = self.waiting_since.take() {
                self.metrics.propagation.observe(since.elapsed().as_secs_f64());
            }
        } else if !busy && self.engine.desired().is_empty() {
            self.waiting_since = None; // what came changed nothing
        }
        if !busy {
            self.save();
        }
        busy
    }

    /// Whether it would still be the past that is published.
    fn waits_for_reads(&mut self) -> bool {
        let restored = || self.engine.readings().any(|(_, reading)| reading.is_restored());
        let waits = self.fresh_until.is_some_and(|until| Instant::now() < until) && restored();
        if !waits {
            self.fresh_until = None;
        }
        waits
    }

    /// Hands over what has changed, when it is time for that.
    fn save(&mut self) {
        let now = self.now();
        let Some(saving) = &mut self.saving else { return };
        let instant = Instant::now();
        let due = instant >= saving.from && self.engine.has_news() || instant >= saving.until;
        if !due || !saving.outbox.is_idle() {
            return;
        }
        saving.from = instant + saving.outbox.pause();
        saving.until = instant + REFRESH.max(saving.outbox.pause());
        if !saving.outbox.send(self.engine.take_news(now)) {
            tracing::error!(
                "nothing is saved any more: the thread that saves has ended (a bug, please report it)"
            );
            self.saving = None;
        }
    }

    /// Hands over what nobody has seen yet, and lets go of the outbox: what is saved last says when we ended.
    fn save_last(&mut self) {
        let now = self.now();
        if let Some(saving) = self.saving.take() {
            saving.outbox.send(self.engine.take_news(now));
        }
    }

    /// When to look after [`Pipeline::save`]; absent: nobody saves.
    fn save_at(&self) -> Option<Instant> {
        let saving = self.saving.as_ref()?;
        let at = if self.engine.has_news() { saving.from } else { saving.until };
        // Nobody says when a slow disk is done.
        Some(if saving.outbox.is_idle() { at } else { at.max(Instant::now() + Duration::from_secs(1)) })
    }

    /// Takes in one thing that waits. Settings come first: what follows from them may be among the deliveries.
    fn hear(&mut self) {
        if let Ok(settings) = self.settings.try_recv() {
            self.engine.configure(settings, self.now());
        } else if let Ok(delivery) = self.deliveries.try_recv() {
            self.deliver(delivery);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        self.waiting_since.get_or_insert_with(Instant::now);
        self.engine.deliver(delivery, self.now());
    }

    /// Tells people what was read, what was refused and what no longer is.
    fn speak(&mut self) {
        for registry in self.engine.take_read() {
            let Counts { services, left_out, endpoints, objects } = self.engine.catalog().counts(&registry);
            tracing::info!(%registry, services, left_out, endpoints, objects, "registry read");
        }
        self.speak_of_the_late();
        self.speak_of_ignored();
        self.speak_of_held();
        self.speak_of_crowding();
        let collisions = self.engine.desired().addresses().collisions();
        self.metrics.collisions.inc_by(collisions.saturating_sub(self.metrics.collisions.get()));
        for complaint in self.engine.take_complaints() {
            tracing::warn!("{complaint}");
        }
        let verdicts = self.engine.take_verdicts();
        for v in verdicts.iter().take(AT_A_TIME) {
            let host = v.host.as_ref().map(tracing::field::display);
            match &v.refused {
                Some(why) => tracing::warn!(
                    registry = %v.registry, item = %v.item, host,
                    "refused, what was known of it stays: {why}"
                ),
                None => tracing::info!(registry = %v.registry, item = %v.item, host, "no longer refused"),
            }
        }
        if let Some(more) = verdicts.len().checked_sub(AT_A_TIME).filter(|more| *more > 0) {
            tracing::warn!("{more} more are refused, or no longer are: /api/v1/services names all that are");
        }
    }

    fn speak_of_the_late(&mut self) {
        for registry in self.engine.take_overdue() {
            let Some((_, reading)) = self.engine.readings().find(|(name, _)| **name == registry) else {
                continue;
            };
            let wait = reading.startup().wait;
            if reading.is_restored() {
                tracing::warn!(%registry, ?wait, "not read in time: what was saved of it is served until it is");
            } else if reading.startup().optional {
                tracing::warn!(%registry, ?wait, "not read in time and optional: the mesh is served without it until it is");
            } else {
                tracing::warn!(
                    %registry, ?wait,
                    "not read in time: what it feeds is not answered until it is (`startup.optional: true` would do without it)"
                );
            }
        }
    }

    fn speak_of_ignored(&mut self) {
        let ignored = self.engine.take_ignored();
        for i in ignored.iter().take(AT_A_TIME) {
            tracing::warn!(registry = %i.registry, item = %i.item, "ignored what its owner says: {}", i.what.join("; "));
        }
        if let Some(more) = ignored.len().checked_sub(AT_A_TIME).filter(|more| *more > 0) {
            tracing::warn!("ignored what the owners of {more} more services say: /api/v1/services names all");
        }
    }

    fn speak_of_crowding(&mut self) {
        for Crowding { registry, outside, bounds } in self.engine.take_crowding() {
            let Bounds { services, endpoints } = bounds;
            if outside > 0 {
                tracing::warn!(
                    %registry, outside, services, endpoints,
                    "it holds more than `limits` allows: what is newest is not taken, what is served stays"
                );
            } else {
                tracing::info!(%registry, services, endpoints, "it holds no more than `limits` allows");
            }
        }
    }

    /// Tells what is held and why, and what no longer is: a line for each reason, with the first names.
    fn speak_of_held(&mut self) {
        const NAMED: usize = 5;
        for Guarded { registry, news } in self.engine.take_guarded() {
            let mut lines: BTreeMap<News, (usize, Vec<Arc<str>>)> = BTreeMap::new();
            for ((news, service), count) in news {
                let line = lines.entry(news).or_default();
                line.0 += count;
                line.1.push(service);
            }
            for (news, (count, services)) in lines {
                let named: Vec<&str> = services.iter().take(NAMED).map(AsRef::as_ref).collect();
                let (named, services) = (named.join(", "), services.len());
                match news {
                    News::Held(why) => tracing::warn!(
                        %registry, services, "kept {count} endpoints or objects that it does not show any more ({named}): {why}"
                    ),
                    News::Gone => {
                        tracing::info!(%registry, services, "let go {count} that were held ({named})")
                    }
                    News::Back => {
                        tracing::info!(%registry, services, "{count} that were held are back ({named})")
                    }
                }
            }
        }
    }

    /// Lets adapters know which registries are to be read again, and how often.
    fn ask_for_reads(&self) {
        let wanted = self.engine.read_again();
        self.read_again.send_if_modified(|asked| {
            let news = *asked != wanted;
            if news {
                *asked = wanted;
            }
            news
        });
    }

    fn now(&self) -> Moment {
        self.start.plus(self.started.elapsed())
    }

    /// When there is something to do although nobody says anything.
    fn alarm(&self) -> Instant {
        /// Without a deadline any far moment will do.
        const FAR: Duration = Duration::from_secs(3600);
        if let Some(until) = self.fresh_until {
            return until; // what is due before waits for it
        }
        let deadline = self.engine.deadline().map(|at| self.started + at.since(self.start));
        let first = deadline.into_iter().chain(self.save_at()).min();
        first.unwrap_or_else(|| Instant::now() + FAR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::mapping::Mapping;
    use crate::convert::naming::Template;
    use crate::convert::validate::Release;
    use crate::model::change::{Batch, Change, Item, Trust};
    use crate::model::service::{ItemKind, Protocol, Scope, ServiceKey};
    use crate::pipeline::debounce::Cadence;
    use crate::pipeline::desired::Terms;
    use crate::pipeline::reading::{Identity, RegistrySettings, Startup};
    use crate::pipeline::report::Wanted;
    use crate::resource::collection::Collection;
    use crate::store::disk::keeper::Hands;

    /// More than the channel holds, so that there is always another question.
    const ASKERS: usize = 4 * QUESTIONS;

    fn settings() -> Settings {
        let namespace = Template::parse("mesh", &[]).unwrap();
        let registry = RegistrySettings {
            name: RegistryName::new("r"),
            generation: Generation(1),
            policy: Arc::new(Mapping::new(Vec::new(), namespace, Protocol::Http).into()),
            startup: Startup::default(),
            scopes: vec![Scope::new("all")],
            feeds: vec![Collection::ServiceEntry],
            identity: Identity::default(),
        };
        let terms = Terms { oldest: Release::new(1, 9) };
        let (virtual_ranges, pins, merging) = Default::default();
        Settings {
            registries: vec![registry],
            merging,
            virtual_ranges,
            pins,
            terms,
            cadence: Cadence::default(),
        }
    }

    /// Refused items: they cost an answer time, and nothing else.
    fn items(n: usize) -> Vec<Item> {
        let key = |i| ServiceKey {
            kind: ItemKind::Service,
            name: format!("s{i}").into(),
            scope: Scope::new("all"),
        };
        (0..n).map(|i| Item::Refused(key(i), "no".into())).collect()
    }

    fn web(address: &str) -> Item {
        let key = ServiceKey { kind: ItemKind::Service, name: "web".into(), scope: Scope::new("all") };
        let hosts = vec![crate::model::host::Host::parse("web.test").unwrap()];
        let address = crate::model::endpoint::Address::parse(address).unwrap();
        let ports = crate::model::endpoint::EndpointPorts::One(80);
        let endpoints = vec![crate::model::endpoint::Endpoint::at(address, ports)];
        Item::Service(Arc::new(crate::model::service::Service {
            hosts,
            endpoints,
            ..crate::model::service::Service::new(key, "web")
        }))
    }

    fn read(items: Vec<Item>) -> Batch {
        Batch(vec![Change::Reset { scope: Scope::new("all"), items, trust: Trust::Complete }])
    }

    #[tokio::test(start_paused = true)]
    async fn an_optional_registry_that_says_nothing_is_waited_for_no_longer_than_it_says() {
        let mut settings = settings();
        let wait = Duration::from_secs(60);
        settings.registries[0].startup = Startup { optional: true, wait };
        let (pipeline, _handle, mut reader) = Pipeline::new(settings, Arc::default());
        let (stop, started) = (CancellationToken::new(), Instant::now());
        let mut running = tokio::task::JoinSet::new();
        running.spawn(pipeline.run(stop.clone()));
        while reader.next().await.unwrap().get(Collection::ServiceEntry).is_none() {}
        let took = started.elapsed();
        assert!(took >= wait && took < wait + Duration::from_secs(1), "{took:?}");
        stop.cancel();
        running.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_held_is_asked_about_again_and_goes_when_enough_reads_agree() {
        let (pipeline, handle, mut reader) = Pipeline::new(settings(), Arc::default());
        let stop = CancellationToken::new();
        let mut running = tokio::task::JoinSet::new();
        running.spawn(pipeline.run(stop.clone()));
        let mut changes = handle.changes(RegistryName::new("r"), Generation(1));
        changes.send(read(vec![web("10.0.0.1")])).await.unwrap();
        while reader.next().await.unwrap().get(Collection::ServiceEntry).is_none() {}
        assert_eq!(changes.read_again(), None);
        changes.send(read(Vec::new())).await.unwrap();
        changes.read_again_changed().await;
        let began = Instant::now();
        let held = handle.questions.held().await.unwrap();
        assert_eq!((held.len(), held[0].endpoints, held[0].confirm_reads), (1, 1, 2));
        while let Some(every) = changes.read_again() {
            tokio::select! {
                () = tokio::time::sleep(every) => changes.send(read(Vec::new())).await.unwrap(),
                () = changes.read_again_changed() => {}
            }
        }
        assert_eq!(began.elapsed().as_secs(), 60);
        assert!(handle.questions.held().await.unwrap().is_empty());
        stop.cancel();
        running.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_sign_of_life_does_not_wait_behind_what_others_ask() {
        let (pipeline, handle, _reader) = Pipeline::new(settings(), Arc::default());
        let mut askers = tokio::task::JoinSet::new();
        for _ in 0..ASKERS {
            let questions = handle.questions.clone();
            askers.spawn(async move { questions.registries().await.map(|_| "asker") });
        }
        // They stand in line before it does.
        tokio::task::yield_now().await;
        let questions = handle.questions.clone();
        askers.spawn(async move { questions.ping().await.map(|()| "sign of life") });
        tokio::task::yield_now().await;
        let stop = CancellationToken::new();
        let mut running = tokio::task::JoinSet::new();
        running.spawn(pipeline.run(stop.clone()));
        let first = askers.join_next().await.unwrap().unwrap();
        assert_eq!(first, Some("sign of life"));
        stop.cancel();
        running.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn who_speaks_without_end_waits_itself_and_is_published_all_the_same() {
        let (pipeline, handle, mut reader) = Pipeline::new(settings(), Arc::default());
        let stop = CancellationToken::new();
        let mut running = tokio::task::JoinSet::new();
        running.spawn(pipeline.run(stop.clone()));
        let changes = handle.changes(RegistryName::new("r"), Generation(1));
        let service = |n: u32| {
            let key = ServiceKey { kind: ItemKind::Service, name: "web".into(), scope: Scope::new("all") };
            let hosts = vec![crate::model::host::Host::parse("web.test").unwrap()];
            let address =
                crate::model::endpoint::Address::Ip(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into());
            let ports = crate::model::endpoint::EndpointPorts::One(80);
            let endpoints = vec![crate::model::endpoint::Endpoint::at(address, ports)];
            let service = crate::model::service::Service::new(key, "web");
            Item::Service(Arc::new(crate::model::service::Service { hosts, endpoints, ..service }))
        };
        let first =
            Change::Reset { scope: Scope::new("all"), items: vec![service(1)], trust: Trust::Complete };
        changes.send(Batch(vec![first])).await.unwrap();
        let mut flood = tokio::task::JoinSet::new();
        flood.spawn(async move {
            for n in (2..0x00ff_ffff).cycle() {
                if changes.send(Batch(vec![Change::Upsert(service(n))])).await.is_err() {
                    return;
                }
            }
        });
        let mut versions = std::collections::BTreeSet::new();
        let publish = async {
            while versions.len() < 5 {
                let snapshot = reader.next().await.unwrap();
                versions.extend(snapshot.get(Collection::ServiceEntry).map(|c| c.version().to_string()));
            }
        };
        tokio::time::timeout(Duration::from_secs(60), publish).await.expect("it is published");
        assert!(handle.deliveries.max_capacity() == intake::CAPACITY, "nothing else may queue");
        stop.cancel();
        running.join_next().await.unwrap().unwrap().unwrap();
    }

    /// What a pipeline saves that was told of `items`.
    fn saved(items: Vec<Item>) -> Image {
        let (mut engine, mut image) = (Engine::new(settings()), Image::default());
        engine.keep_news();
        let delivery =
            Delivery { registry: RegistryName::new("r"), generation: Generation(1), batch: read(items) };
        engine.deliver(delivery, Moment::START);
        while engine.work(SLICE, Moment::START) {}
        image.absorb(engine.take_news(Moment::START));
        image
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_saved_is_served_only_if_its_registry_cannot_be_read_at_once() {
        for read_after in [Some(FRESH / 2), None] {
            let (mut pipeline, handle, mut reader) = Pipeline::new(settings(), Arc::default());
            assert_eq!(pipeline.restore(saved(vec![web("10.0.0.1")]), Duration::ZERO, FRESH).registries, 1);
            let (stop, began) = (CancellationToken::new(), Instant::now());
            let mut running = tokio::task::JoinSet::new();
            running.spawn(pipeline.run(stop.clone()));
            let changes = handle.changes(RegistryName::new("r"), Generation(1));
            if let Some(after) = read_after {
                tokio::time::sleep(after).await;
                changes.send(read(vec![web("10.0.0.2")])).await.unwrap();
            }
            let first = loop {
                if let Some(entries) = reader.next().await.unwrap().get(Collection::ServiceEntry) {
                    break Arc::clone(entries);
                }
            };
            assert_eq!(began.elapsed(), read_after.unwrap_or(FRESH));
            let body = String::from_utf8_lossy(&first.iter().next().unwrap().body).into_owned();
            let (wanted, other) =
                if read_after.is_some() { ("10.0.0.2", "10.0.0.1") } else { ("10.0.0.1", "10.0.0.2") };
            assert!(body.contains(wanted) && !body.contains(other), "{body}");
            stop.cancel();
            running.join_next().await.unwrap().unwrap().unwrap();
        }
    }

    fn upsert(item: Item) -> Batch {
        Batch(vec![Change::Upsert(item)])
    }

    /// Waits until an endpoint is published.
    async fn published(reader: &mut StoreReader, address: &str) {
        loop {
            let snapshot = reader.next().await.unwrap();
            let entries = snapshot.get(Collection::ServiceEntry);
            if entries
                .is_some_and(|all| all.iter().any(|r| String::from_utf8_lossy(&r.body).contains(address)))
            {
                return;
            }
        }
    }

    /// A pipeline that is saved by hand and has read one service.
    struct ByHand {
        hands: Hands<image::News>,
        changes: Changes,
        reader: StoreReader,
        began: Instant,
        _running: tokio::task::JoinSet<Result<(), &'static str>>,
    }

    impl ByHand {
        async fn new() -> Self {
            let began = Instant::now();
            let (mut pipeline, handle, reader) = Pipeline::new(settings(), Arc::default());
            let (hands, outbox) = Hands::new();
            pipeline.save_to(outbox);
            let changes = handle.changes(RegistryName::new("r"), Generation(1));
            let mut running = tokio::task::JoinSet::new();
            running.spawn(pipeline.run(CancellationToken::new()));
            let mut all = Self { hands, changes, reader, began, _running: running };
            all.say(read(vec![web("10.0.0.1")]), "10.0.0.1").await;
            all
        }

        /// Says `batch`, and waits until its endpoint is published.
        async fn say(&mut self, batch: Batch, address: &str) {
            self.changes.send(batch).await.unwrap();
            published(&mut self.reader, address).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_change_after_calm_is_saved_before_it_is_published_and_the_next_after_a_pause() {
        use crate::store::disk::keeper::PAUSE;
        let mut it = ByHand::new().await;
        let mut all: Vec<_> = it.hands.news.try_iter().collect();
        assert_eq!(all.pop().expect("the first read is saved").items.len(), 1);
        it.hands.done();
        tokio::time::sleep(PAUSE).await;
        // Hosts whose first publication came after the save, at the most.
        let rest: usize = it.hands.news.try_iter().map(|news| news.items.len()).sum();
        it.hands.done();
        tokio::time::sleep(PAUSE).await;
        assert_eq!((rest, it.hands.news.try_iter().count()), (0, 0), "it is calm");

        let calm = Instant::now();
        it.say(upsert(web("10.0.0.2")), "10.0.0.2").await;
        assert!(calm.elapsed() >= Duration::from_millis(100), "published after a while");
        let second = it.hands.news.try_recv().expect("saved by then");
        let moment = Moment::START.plus(calm - it.began);
        assert!(second.items.len() == 1 && second.now.since(moment) < Duration::from_millis(10), "at once");
        it.hands.done();

        it.say(upsert(web("10.0.0.3")), "10.0.0.3").await;
        assert!(it.hands.news.try_recv().is_err(), "not so soon again");
        tokio::time::sleep_until(calm + PAUSE + Duration::from_millis(10)).await;
        let third = it.hands.news.try_recv().expect("saved after the pause");
        assert!(third.items.len() == 1 && third.now.since(second.now) >= PAUSE, "{:?}", third.now);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_holds_up_nothing_and_gets_the_newest_when_it_is_back() {
        let mut it = ByHand::new().await;
        assert_eq!(it.hands.news.try_iter().count(), 1);
        for n in 2..50 {
            let address = format!("10.0.0.{n}");
            it.say(upsert(web(&address)), &address).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        assert!(it.hands.news.try_recv().is_err(), "nobody takes any");
        it.hands.done();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let news = it.hands.news.try_recv().expect("it is back");
        let item = news.items.into_values().next().flatten().and_then(|item| item.known);
        let crate::model::catalog::Known::Service(service, _) = item.unwrap() else { panic!("a service") };
        assert_eq!(service.endpoints[0].address.to_string(), "10.0.0.49");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn who_asks_without_end_does_not_hold_up_a_registry() {
        let (pipeline, handle, mut reader) = Pipeline::new(settings(), Arc::default());
        let stop = CancellationToken::new();
        let mut running = tokio::task::JoinSet::new();
        running.spawn(pipeline.run(stop.clone()));
        let changes = handle.changes(RegistryName::new("r"), Generation(1));
        let reset = |n| {
            Batch(vec![Change::Reset { scope: Scope::new("all"), items: items(n), trust: Trust::Complete }])
        };
        changes.send(reset(2000)).await.unwrap();
        while reader.next().await.unwrap().get(Collection::ServiceEntry).is_none() {}
        let mut askers = tokio::task::JoinSet::new();
        for _ in 0..ASKERS {
            let questions = handle.questions.clone();
            askers.spawn(async move { while questions.services(Wanted::default()).await.is_some() {} });
        }
        // More than the channel holds: they end up there only if somebody takes them out.
        let speak = async {
            for _ in 0..2 * intake::CAPACITY {
                changes.send(reset(2000)).await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), speak).await.expect("it is heard");
        stop.cancel();
        running.join_next().await.unwrap().unwrap().unwrap();
        askers.join_all().await;
    }
}
