//! How everyone is: what admin, readiness and `chandler status` read. Written by supervisors and streams, never awaited.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;

use crate::model::service::RegistryName;
use crate::resource::encoded::Version;

/// Everyone's state. Shared; every method takes the lock for an instant.
#[derive(Debug, Default)]
pub struct Status {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    registries: BTreeMap<RegistryName, RegistryStatus>,
    clients: BTreeMap<u64, ClientStatus>,
    sinks: BTreeMap<String, SinkStatus>,
    next_client: u64,
}

/// How a registry's adapter is.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryStatus {
    /// Whether its current life is running without complaint.
    pub up: bool,
    /// What is wrong, while something is.
    pub problem: Option<String>,
    /// When it last said anything, or last found that nothing had changed.
    pub last_success: Option<SystemTime>,
    /// How many lives have ended by themselves.
    pub failures: u64,
}

/// How a sink is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkStatus {
    /// Whether the other side is reached and everything in it is known.
    pub up: bool,
    /// What is wrong with all of it, while something is.
    pub problem: Option<String>,
    /// Whether this process is the one that writes.
    pub writer: bool,
    /// Who writes, as far as is known.
    pub holder: Option<String>,
    /// What tells our objects from those of others.
    pub instance: String,
    /// The registries that go there.
    pub registries: Vec<String>,
    /// Objects that are wanted there.
    pub wanted: usize,
    /// Objects that differ from what is wanted, failed ones included.
    pub pending: usize,
    /// Objects that cannot be as wanted.
    pub failing: usize,
    /// The first of them, each with its reason.
    pub failures: Vec<(String, String)>,
    /// When everything was last as wanted, or an object was last written.
    pub last_success: Option<SystemTime>,
}

/// One open stream of a client.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientStatus {
    /// Unique in this process.
    pub id: u64,
    /// Where it dials from.
    pub peer: Option<SocketAddr>,
    /// The names of its verified certificate, in order; none without one.
    pub identities: Vec<String>,
    /// How it speaks: `xds`, `delta`, `mcp`.
    pub wire: &'static str,
    /// What it calls itself.
    pub node: String,
    /// Since when.
    pub connected: SystemTime,
    /// What it watches, by the name that it asked under.
    pub watches: BTreeMap<String, WatchStatus>,
}

/// One collection that a client watches.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchStatus {
    /// The plural of the kind; absent for a name that nobody knows.
    pub collection: Option<String>,
    /// The version last sent; absent: nothing was.
    pub sent: Option<Version>,
    /// The version last acknowledged.
    pub acknowledged: Option<Version>,
    /// What the client objected to in the version last sent, with its code.
    pub nack: Option<String>,
    /// When the last acknowledgement came.
    pub acknowledged_at: Option<SystemTime>,
}

impl Status {
    /// Records how a registry is; creates its row.
    pub fn registry(&self, name: &RegistryName, change: impl FnOnce(&mut RegistryStatus)) {
        change(self.lock().registries.entry(name.clone()).or_default());
    }

    /// Forgets a registry that is no longer configured.
    pub fn forget_registry(&self, name: &RegistryName) {
        self.lock().registries.remove(name);
    }

    /// All registries by name.
    #[must_use]
    pub fn registries(&self) -> BTreeMap<RegistryName, RegistryStatus> {
        self.lock().registries.clone()
    }

    /// Records how a sink is; creates its row.
    pub fn sink(&self, name: &str, change: impl FnOnce(&mut SinkStatus)) {
        change(self.lock().sinks.entry(name.to_owned()).or_default());
    }

    /// Forgets a sink that is no longer configured.
    pub fn forget_sink(&self, name: &str) {
        self.lock().sinks.remove(name);
    }

    /// All sinks by name.
    #[must_use]
    pub fn sinks(&self) -> BTreeMap<String, SinkStatus> {
        self.lock().sinks.clone()
    }

    /// Adds a client and returns its id; the caller removes it when its stream ends.
    pub fn add_client(&self, peer: Option<SocketAddr>, identities: Vec<String>, wire: &'static str) -> u64 {
        let mut inner = self.lock();
        inner.next_client += 1;
        let id = inner.next_client;
        let connected = SystemTime::now();
        let (node, watches) = (String::new(), BTreeMap::new());
        let client = ClientStatus { id, peer, identities, wire, node, connected, watches };
        inner.clients.insert(id, client);
        id
    }

    /// Records what a client does; nothing happens for one that has left.
    pub fn client(&self, id: u64, change: impl FnOnce(&mut ClientStatus)) {
        if let Some(client) = self.lock().clients.get_mut(&id) {
            change(client);
        }
    }

    /// A client's stream has ended.
    pub fn remove_client(&self, id: u64) {
        self.lock().clients.remove(&id);
    }

    /// All open streams in the order in which they came.
    #[must_use]
    pub fn clients(&self) -> Vec<ClientStatus> {
        self.lock().clients.values().cloned().collect()
    }

    /// The data is plain, so a panic of another holder leaves nothing half-done.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
