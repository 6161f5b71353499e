//! What a registry says, put together as the pipeline would; and somebody who writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chandler::model::change::{Cause, Change, Item, Trust};
use chandler::model::service::{Protocol, RegistryName, Service};
use chandler::pipeline::intake::{CAPACITY, Changes, Delivery, Generation};
use chandler::registry::Factory;
use chandler::registry::zookeeper::{
    By, ConnectSettings, CuratorSettings, DubboSettings, LayoutSettings, Login, ZooKeeperFactory,
    ZooKeeperSettings,
};
use chandler::runtime::status::{RegistryStatus, Status};
use chandler::runtime::supervise::{Owned, keep_alive};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zookeeper_client as zk;

use crate::support::{ZooKeeper, eventually};

/// Longer than anything takes on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(300);
/// A session that is to end soon: one that is waited for.
pub(crate) const SHORT: Duration = Duration::from_secs(2);
/// One that is not to end: as long as the servers of these tests grant.
const LONG: Duration = Duration::from_secs(10);

/// A registry that is kept alive, and all that it has said.
pub(crate) struct World {
    pub(crate) services: BTreeMap<String, Arc<Service>>,
    /// Complete reads that were believed.
    pub(crate) resets: usize,
    /// Why reads were not believed.
    pub(crate) doubts: Vec<String>,
    /// Single changes: the name, and why it went.
    pub(crate) changes: Vec<(String, Option<Cause>)>,
    /// How many endpoints a changed service had, for each change.
    pub(crate) counts: Vec<(String, usize)>,
    said: mpsc::Receiver<Delivery>,
    status: Arc<Status>,
    name: RegistryName,
    stop: CancellationToken,
    _task: Owned,
}

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watches {
    Recursive,
    OneShot,
}

/// Dubbo by interface and Curator, where they usually are.
pub(crate) fn settings(servers: &[&ZooKeeper]) -> ZooKeeperSettings {
    let dubbo = DubboSettings::usual(By::Interface);
    let curator = CuratorSettings { root: "/services".into(), protocol: Protocol::Auto };
    ZooKeeperSettings {
        connect: ConnectSettings {
            servers: servers.iter().map(|s| s.address().to_string()).collect(),
            chroot: None,
            session_timeout: LONG,
            login: Login::Nobody,
            tls: None,
        },
        layouts: vec![LayoutSettings::Dubbo(dubbo), LayoutSettings::Curator(curator)],
        calm: Duration::from_secs(1),
    }
}

impl World {
    /// Everything that `server` holds, once it has been read.
    pub(crate) async fn of(server: &ZooKeeper, watches: Watches) -> Self {
        let mut world = Self::start(settings(&[server]), watches);
        world.until("the first read", |w| w.resets == 1).await;
        world
    }

    /// Starts reading.
    pub(crate) fn start(settings: ZooKeeperSettings, watches: Watches) -> Self {
        let (status, name) = (Arc::new(Status::default()), RegistryName::new("zk"));
        let factory = ZooKeeperFactory::new(settings, name.clone(), Arc::clone(&status));
        let factory = match watches {
            Watches::Recursive => factory,
            Watches::OneShot => factory.with_one_shot_watches(),
        };
        let (out, said) = mpsc::channel(CAPACITY);
        let stop = CancellationToken::new();
        let changes = Changes::new(name.clone(), Generation(0), out);
        let (told, called, until) = (Arc::clone(&status), name.clone(), stop.clone());
        let task = Owned::spawn(async move {
            let life_stop = until.clone();
            keep_alive(called, &told, until, move || {
                factory.registry().run(changes.clone(), life_stop.clone())
            })
            .await;
        });
        let (services, doubts, changes, counts) = Default::default();
        Self { services, resets: 0, doubts, changes, counts, said, status, name, stop, _task: task }
    }

    fn hear(&mut self, delivery: Delivery) {
        for change in delivery.batch.0 {
            match change {
                Change::Reset { items, trust: Trust::Complete, .. } => {
                    self.services.clear();
                    self.resets += 1;
                    items.into_iter().for_each(|item| self.put(item));
                }
                Change::Reset { trust: Trust::Doubtful(why), .. } => self.doubts.push(why.to_string()),
                Change::Upsert(item) => {
                    self.changes.push((item.key().name.to_string(), None));
                    if let Item::Service(service) = &item {
                        self.counts.push((service.key.name.to_string(), service.endpoints.len()));
                    }
                    self.put(item);
                }
                Change::Remove(key, cause) => {
                    self.changes.push((key.name.to_string(), Some(cause)));
                    self.services.remove(&*key.name);
                }
            }
        }
    }

    fn put(&mut self, item: Item) {
        let Item::Service(service) = item else { panic!("only services are said here") };
        self.services.insert(service.key.name.to_string(), service);
    }

    /// Hears on until `check` holds.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, check: impl Fn(&Self) -> bool) -> impl Future<Output = ()> {
        self.within(SOON, what.to_owned(), check)
    }

    async fn within(&mut self, limit: Duration, what: String, check: impl Fn(&Self) -> bool) {
        let wait = async {
            while !check(self) {
                let delivery = self.said.recv().await.expect("it goes on");
                self.hear(delivery);
            }
        };
        let done = tokio::time::timeout(limit, wait).await.is_ok();
        assert!(
            done,
            "waited in vain for {what}: {:?}, {} resets, {:?}, {:?}",
            self.services.keys().take(20).collect::<Vec<_>>(),
            self.resets,
            self.doubts,
            self.how()
        );
    }

    /// How the registry says that it is.
    pub(crate) fn how(&self) -> RegistryStatus {
        self.status.registries().remove(&self.name).unwrap_or_default()
    }

    /// Waits until the registry says so of itself.
    pub(crate) async fn until_it_says(&self, what: &str) {
        eventually(what, SOON, async || self.how().problem.is_some_and(|p| p.contains(what)).then_some(()))
            .await;
    }

    /// Waits until nothing is said to be wrong: that is said apart from what was read.
    pub(crate) async fn until_well(&self) {
        let well = async || (self.how().up && self.how().problem.is_none()).then_some(());
        eventually("nothing wrong", SOON, well).await;
    }

    /// The endpoints of a service, as `address weight`.
    pub(crate) fn endpoints(&self, name: &str) -> Vec<String> {
        let service = self.services.get(name);
        let endpoints = service.into_iter().flat_map(|s| &s.endpoints);
        endpoints.map(|e| format!("{} {}", e.address, e.weight.thousandths())).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Who writes.
pub(crate) struct Writer(pub(crate) zk::Client);

pub(crate) const PERSISTENT: zk::CreateOptions<'static> =
    zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
pub(crate) const EPHEMERAL: zk::CreateOptions<'static> =
    zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());

impl Writer {
    pub(crate) async fn of(server: &ZooKeeper) -> Self {
        Self(server.client().await)
    }

    /// A session of the shortest time-out that is left to expire when the writer goes.
    pub(crate) async fn that_leaves_without_a_word(server: &ZooKeeper) -> Self {
        let connector = zk::Client::connector().with_session_timeout(Duration::from_secs(1)).with_detached();
        Self(connector.connect(&server.address().to_string()).await.unwrap())
    }

    /// The node at `path` with this data, and all folders above it.
    pub(crate) async fn put(&self, path: &str, data: &str, options: &zk::CreateOptions<'_>) {
        let (folder, _) = path.rsplit_once('/').unwrap();
        if !folder.is_empty() {
            self.0.mkdir(folder, &PERSISTENT).await.unwrap();
        }
        self.0.create(path, data.as_bytes(), options).await.unwrap();
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.0.delete(path, None).await.unwrap();
    }
}

/// The path of a provider of `interface`.
pub(crate) fn provider(interface: &str, address: &str, query: &str) -> String {
    let url = format!("dubbo://{address}/{interface}?application=app&interface={interface}&{query}");
    format!("/dubbo/{interface}/providers/{}", encoded(&url))
}

/// As Java's encoder does it.
pub(crate) fn encoded(url: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*');
    url.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
