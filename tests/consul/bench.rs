//! The adapter on its own: a factory, one life after the other, and what it says, applied as the pipeline applies it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chandler::model::change::{Batch, Cause, Change, Item, Trust};
use chandler::model::service::{RegistryName, Service};
use chandler::pipeline::intake::{CAPACITY, Changes, Delivery, Generation, ReadAgain};
use chandler::registry::consul::settings::{Consistency, Instances, Strategy};
use chandler::registry::consul::{ConsulFactory, ConsulSettings};
use chandler::registry::http::settings::{
    Address, Credentials, IdentityFiles, Limits, Secret, SecretText, Settings, TlsFiles,
};
use chandler::registry::{Factory, RegistryError};
use chandler::runtime::status::Status;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(300);

/// What asks `addresses` (`http://…`) and nothing else is said.
pub(crate) fn settings(addresses: &[String]) -> ConsulSettings {
    let addresses = addresses.iter().map(|a| Address::parse(a).unwrap()).collect();
    ConsulSettings {
        http: Settings {
            addresses,
            tls: TlsFiles::default(),
            credentials: Credentials::None,
            // Nothing here is late for being asked of a busy machine.
            limits: Limits { connect: SOON / 2, read: SOON / 2, ..Limits::default() },
        },
        datacenters: Vec::new(),
        local_datacenter: None,
        domain: "consul".into(),
        namespaces: Vec::new(),
        partitions: Vec::new(),
        peers: Vec::new(),
        filter: None,
        consistency: Consistency::Default,
        strategy: Strategy::Auto,
        connections: 100,
        instances: Instances { service_defaults: true, ..Instances::default() },
    }
}

pub(crate) fn token(text: &str) -> Credentials {
    Credentials::Header(http::HeaderName::from_static("x-consul-token"), Secret::Text(SecretText::new(text)))
}

pub(crate) fn token_file(path: PathBuf) -> Credentials {
    Credentials::Header(http::HeaderName::from_static("x-consul-token"), Secret::File(path))
}

pub(crate) fn tls(ca: PathBuf, identity: Option<(PathBuf, PathBuf)>) -> TlsFiles {
    TlsFiles {
        ca: Some(ca),
        identity: identity.map(|(cert, key)| IdentityFiles { cert, key }),
        server_name: None,
    }
}

/// A factory, its present life, and what is known.
pub(crate) struct Bench {
    factory: ConsulFactory,
    status: Arc<Status>,
    name: RegistryName,
    life: Option<Life>,
    /// How often it is to read again, as the guard asks for it.
    again: watch::Sender<ReadAgain>,
    /// By key, what was said and not taken back. Doubtful resets change nothing, as in the pipeline.
    pub(crate) world: BTreeMap<String, Item>,
    /// Why the last reset should not be believed.
    pub(crate) doubt: Option<String>,
    /// Resets that were believed.
    pub(crate) resets: usize,
    /// Upserts and removals, in their order: `+web`, `-web Deregistered`.
    pub(crate) steps: Vec<String>,
}

struct Life {
    said: mpsc::Receiver<Delivery>,
    stop: CancellationToken,
    ended: JoinHandle<Result<(), RegistryError>>,
}

impl Bench {
    pub(crate) fn new(settings: ConsulSettings) -> Self {
        let (status, name) = (Arc::new(Status::default()), RegistryName::new("prod"));
        let factory = ConsulFactory::new(settings, name.clone(), Arc::clone(&status));
        Self {
            factory,
            status,
            name,
            life: None,
            again: watch::Sender::new(ReadAgain::new()),
            world: BTreeMap::new(),
            doubt: None,
            resets: 0,
            steps: Vec::new(),
        }
    }

    /// The next life. The one before must have ended.
    pub(crate) fn live(&mut self) {
        let (out, said) = mpsc::channel(CAPACITY);
        let stop = CancellationToken::new();
        let changes = Changes::new(self.name.clone(), Generation(1), out).heeding(self.again.subscribe());
        #[allow(clippy::disallowed_methods)] // the test owns it
        let ended = tokio::spawn(self.factory.registry().run(changes, stop.clone()));
        self.life = Some(Life { said, stop, ended });
    }

    /// Asks for a complete read each `every`.
    pub(crate) fn ask_for_reads(&self, every: Duration) {
        self.again.send_replace(ReadAgain::from([(self.name.clone(), every)]));
    }

    /// A bench whose first life has read everything.
    pub(crate) async fn read(settings: ConsulSettings) -> Self {
        let mut bench = Self::new(settings);
        bench.live();
        bench.until("a complete read", |b| b.resets > 0 || b.doubt.is_some()).await;
        bench
    }

    /// Takes in what the adapter says until `so`.
    pub(crate) async fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + SOON;
        while !so(self) {
            let life = self.life.as_mut().expect("a life");
            let said = tokio::time::timeout_at(deadline, life.said.recv()).await;
            match said.unwrap_or_else(|_| panic!("waited for {what}; {}", self.shown())) {
                Some(delivery) => self.apply(delivery.batch),
                None => panic!("the life ended before {what}: {:?}; {}", self.end().await, self.shown()),
            }
        }
    }

    /// How the life ends by itself.
    pub(crate) async fn end(&mut self) -> Result<(), RegistryError> {
        let mut life = self.life.take().expect("a life");
        let drained = async {
            while let Some(delivery) = life.said.recv().await {
                self.apply(delivery.batch);
            }
            life.ended.await.unwrap()
        };
        tokio::time::timeout(SOON, drained).await.expect("the life ends")
    }

    /// The same over however many lives it takes.
    pub(crate) async fn follow(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + SOON;
        while !so(self) {
            let Some(life) = &mut self.life else {
                self.live();
                continue;
            };
            let said = tokio::time::timeout_at(deadline, life.said.recv()).await;
            match said.unwrap_or_else(|_| panic!("waited for {what}; {}", self.shown())) {
                Some(delivery) => self.apply(delivery.batch),
                None => {
                    self.life = None;
                    // A pause as the supervisor makes one.
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    pub(crate) async fn stop(mut self) {
        self.life.as_ref().expect("a life").stop.cancel();
        self.end().await.expect("it stops in peace");
    }

    fn apply(&mut self, batch: Batch) {
        for change in batch.0 {
            match change {
                Change::Reset { trust: Trust::Doubtful(why), .. } => self.doubt = Some(why.to_string()),
                Change::Reset { scope, items, .. } => {
                    self.world.retain(|_, item| item.key().scope != scope);
                    self.world.extend(items.into_iter().map(|i| (i.key().name.to_string(), i)));
                    (self.doubt, self.resets) = (None, self.resets + 1);
                }
                Change::Upsert(item) => {
                    self.steps.push(format!("+{}", item.key().name));
                    self.world.insert(item.key().name.to_string(), item);
                }
                Change::Remove(key, cause) => {
                    self.steps.push(format!("-{} {cause:?}", key.name));
                    assert!(cause != Cause::Vanished);
                    self.world.remove(&*key.name);
                }
            }
        }
    }

    pub(crate) fn service(&self, name: &str) -> Option<&Service> {
        match self.world.get(name)? {
            Item::Service(service) => Some(service),
            other => panic!("{other:?}"),
        }
    }

    /// Addresses and ports of a service's endpoints; empty if there is no such service.
    pub(crate) fn endpoints(&self, name: &str) -> Vec<String> {
        let endpoints = self.service(name).map(|s| s.endpoints.as_slice()).unwrap_or_default();
        endpoints.iter().map(|e| format!("{} {:?}", e.address, e.ports)).collect()
    }

    pub(crate) fn problem(&self) -> String {
        self.status.registries().get(&self.name).and_then(|r| r.problem.clone()).unwrap_or_default()
    }

    /// Waits until nothing is said to be wrong: that is said apart from what was read.
    pub(crate) async fn until_well(&self) {
        let well = async || self.problem().is_empty().then_some(());
        crate::support::eventually("nothing wrong", SOON, well).await;
    }

    pub(crate) fn shown(&self) -> String {
        let names: Vec<_> = self.world.keys().take(20).collect();
        let (doubt, problem) = (&self.doubt, self.problem());
        let steps: Vec<_> = self.steps.iter().rev().take(10).collect();
        format!(
            "{} items, of which {names:?}; last steps {steps:?}; doubt {doubt:?}; problem {problem:?}",
            self.world.len()
        )
    }
}
