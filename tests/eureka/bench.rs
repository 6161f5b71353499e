//! The adapter without the rest of the program: what it says, and what one believes who takes all of it in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chandler::model::change::{Batch, Cause, Change, Item, Trust};
use chandler::model::service::{RegistryName, Service};
use chandler::pipeline::intake::{CAPACITY, Changes, Delivery, Generation, ReadAgain};
use chandler::registry::eureka::{EurekaFactory, EurekaSettings, Format, Names, Rules, Shape};
use chandler::registry::http::settings::{Address, Credentials, Limits, Settings, TlsFiles};
use chandler::registry::{Factory, RegistryError};
use chandler::runtime::status::Status;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(300);
/// How often the adapter asks in these tests.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// Settings for the cluster of these servers, believed at once.
pub(crate) fn settings(servers: &[String]) -> EurekaSettings {
    EurekaSettings {
        http: Settings {
            addresses: servers.iter().map(|s| Address::parse(s).unwrap()).collect(),
            tls: TlsFiles::default(),
            credentials: Credentials::None,
            // Nothing here is late for being asked of a busy machine.
            limits: Limits { connect: SOON / 2, read: SOON / 2, ..Limits::default() },
        },
        regions: Vec::new(),
        format: Format::Json,
        interval: INTERVAL,
        rules: Rules {
            names: Names::default(),
            shape: Shape::default(),
            settle: Duration::ZERO,
            full_every: Duration::from_secs(300),
        },
    }
}

/// A registry and its present life.
pub(crate) struct Bench {
    factory: EurekaFactory,
    pub(crate) status: Arc<Status>,
    said: mpsc::Receiver<Delivery>,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), RegistryError>>,
    /// How often it is to read again, as the guard asks for it.
    again: watch::Sender<ReadAgain>,
    /// What is known by name, doubtful reads left aside.
    pub(crate) known: BTreeMap<String, Arc<Service>>,
    /// Every change in order, as [`told`] puts it.
    pub(crate) told: Vec<String>,
}

impl Bench {
    pub(crate) fn start(settings: EurekaSettings) -> Self {
        let status = Arc::new(Status::default());
        let factory = EurekaFactory::new(settings, RegistryName::new("spring"), Arc::clone(&status));
        let again = watch::Sender::new(ReadAgain::new());
        let (said, stop, ended) = live(&factory, &again);
        Self { factory, status, said, stop, ended, again, known: BTreeMap::new(), told: Vec::new() }
    }

    /// Asks for a complete read each `every`.
    pub(crate) fn ask_for_reads(&self, every: Duration) {
        self.again.send_replace(ReadAgain::from([(RegistryName::new("spring"), every)]));
    }

    /// Complete reads so far.
    pub(crate) fn reads(&self) -> usize {
        self.told.iter().filter(|t| t.starts_with('=')).count()
    }

    /// Ends this life and begins the next.
    pub(crate) async fn another_life(&mut self) {
        self.stop.cancel();
        (&mut self.ended).await.unwrap().unwrap();
        self.next_life();
    }

    /// The next life of a registry whose last one has ended.
    pub(crate) fn next_life(&mut self) {
        (self.said, self.stop, self.ended) = live(&self.factory, &self.again);
    }

    /// Takes in batches until `check` holds.
    pub(crate) async fn until(&mut self, what: &str, mut check: impl FnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + SOON;
        while !check(self) {
            let next = tokio::time::timeout_at(deadline, self.said.recv()).await;
            let Ok(delivery) = next else { panic!("waited in vain for {what}; told: {:#?}", self.told) };
            let Some(delivery) = delivery else {
                panic!("the life ended before {what}: {:?}", (&mut self.ended).await)
            };
            self.take(delivery.batch);
        }
    }

    /// Waits until the registry holds exactly these services: `NAME[id,id]`.
    pub(crate) async fn holds(&mut self, want: &[&str]) {
        self.until(&format!("{want:?}"), |b| b.shown() == want).await;
    }

    /// `NAME[id,id]` of every service.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.known.values().map(|s| shown(s)).collect()
    }

    /// How the life ended by itself, with everything that it said before.
    pub(crate) async fn end(&mut self) -> String {
        while let Ok(Some(delivery)) = tokio::time::timeout(SOON, self.said.recv()).await {
            self.take(delivery.batch);
        }
        let ended = tokio::time::timeout(SOON, &mut self.ended).await.expect("an end").unwrap();
        ended.expect_err("a failure").to_string()
    }

    /// What is said to be wrong.
    pub(crate) fn problem(&self) -> Option<String> {
        self.status.registries().into_values().next().and_then(|row| row.problem)
    }

    /// Waits until what is said to be wrong passes `check`.
    pub(crate) async fn until_problem(&mut self, what: &str, check: impl Fn(Option<&str>) -> bool) {
        let looks = async {
            loop {
                if check(self.problem().as_deref()) {
                    return;
                }
                // A batch is an event to look again at; so is a round in which nothing was said.
                if let Ok(Some(delivery)) = tokio::time::timeout(INTERVAL, self.said.recv()).await {
                    self.take(delivery.batch);
                }
            }
        };
        let waited = tokio::time::timeout(SOON, looks).await;
        assert!(waited.is_ok(), "waited in vain for {what}: {:?}", self.problem());
    }

    fn take(&mut self, batch: Batch) {
        for change in batch.0 {
            self.told.push(told(&change));
            match change {
                Change::Reset { items, trust: Trust::Complete, .. } => {
                    self.known = items.iter().filter_map(service).map(|s| (s.name.to_string(), s)).collect();
                }
                Change::Reset { .. } => {}
                Change::Upsert(item) => {
                    self.known.extend(service(&item).map(|s| (s.name.to_string(), s)));
                }
                Change::Remove(key, _) => {
                    self.known.remove(&*key.name);
                }
            }
        }
    }
}

fn live(
    factory: &EurekaFactory,
    again: &watch::Sender<ReadAgain>,
) -> (mpsc::Receiver<Delivery>, CancellationToken, JoinHandle<Result<(), RegistryError>>) {
    let (out, said) = mpsc::channel(CAPACITY);
    let stop = CancellationToken::new();
    let changes = Changes::new(RegistryName::new("spring"), Generation(0), out).heeding(again.subscribe());
    #[allow(clippy::disallowed_methods)] // the test owns it
    let ended = tokio::spawn(factory.registry().run(changes, stop.clone()));
    (said, stop, ended)
}

fn service(item: &Item) -> Option<Arc<Service>> {
    if let Item::Service(service) = item { Some(Arc::clone(service)) } else { None }
}

fn shown(service: &Service) -> String {
    let ids: Vec<&str> = service.endpoints.iter().map(|e| &*e.id).collect();
    format!("{}[{}]", service.name, ids.join(","))
}

/// `+NAME[id]`, `-NAME cause`, `=NAME[id] …`, `=? reason`.
fn told(change: &Change) -> String {
    let item = |item: &Item| match item {
        Item::Service(s) => shown(s),
        Item::Refused(key, why) => format!("{key}!{why}"),
        Item::Object(o) => format!("{o:?}"),
    };
    match change {
        Change::Upsert(one) => format!("+{}", item(one)),
        Change::Remove(key, cause) => format!(
            "-{key} {}",
            match cause {
                Cause::Deleted => "deleted",
                Cause::Deregistered => "deregistered",
                Cause::Unhealthy => "unhealthy",
                Cause::Expired => "expired",
                Cause::Vanished => "vanished",
            }
        ),
        Change::Reset { trust: Trust::Doubtful(why), .. } => format!("=? {why}"),
        Change::Reset { items, .. } => {
            format!("={}", items.iter().map(item).collect::<Vec<_>>().join(" "))
        }
    }
}
