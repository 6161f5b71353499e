//! The doors of all listeners: which files they need, and what a new configuration changes about them.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::app::{Error, Place};
use crate::config::{Access, Config, Entrance};
use crate::security::Keeper;
use crate::security::access::Rules;
use crate::security::authorizer::{Anyone, Authorizer};
use crate::security::door::{Door, DoorMetrics, Speaks};
use crate::security::tls::server::ServerTls;
use crate::telemetry::Metrics;

/// One for each listener, in the order of the configuration.
#[derive(Debug)]
pub(super) struct Doors {
    pub(super) grpc: Vec<Arc<Door>>,
    pub(super) admin: Arc<Door>,
    pub(super) telemetry: Arc<Door>,
    pub(super) keeper: Keeper,
}

/// What is to hold at each door, gRPC first; `None`: what holds already.
pub(super) struct Prepared(Vec<Option<Holds>>);

struct Holds {
    tls: Option<Arc<ServerTls>>,
    access: Arc<dyn Authorizer>,
}

impl Doors {
    /// Doors for `config`, with its files read.
    ///
    /// # Errors
    /// A certificate, key or authority is missing or wrong: all of them.
    pub(super) fn new(config: &Config, metrics: &mut Metrics) -> Result<Self, Error> {
        let counted = DoorMetrics::new(metrics.ours());
        let keeper = Keeper::default();
        metrics.ours().register_collector(keeper.metrics());
        let door = |speaks| Arc::new(Door::open(speaks, counted.clone()));
        let grpc = config.server.listeners.iter().map(|_| door(Speaks::Grpc)).collect();
        let doors = Self { grpc, admin: door(Speaks::Http), telemetry: door(Speaks::Http), keeper };
        let prepared = doors.prepare(config, None)?;
        doors.take_over(prepared);
        Ok(doors)
    }

    /// Reads what `next` needs beyond `current`, which listens on the same addresses. Waits for the disk.
    ///
    /// # Errors
    /// A certificate, key or authority is missing or wrong: all of them; nothing has changed then.
    pub(super) fn prepare(&self, next: &Config, current: Option<&Config>) -> Result<Prepared, Error> {
        let old: Vec<&Entrance> =
            current.map(|c| entrances(c).map(|(_, entrance)| entrance).collect()).unwrap_or_default();
        let mut faults = Vec::new();
        let mut prepared = Vec::new();
        for (i, ((address, entrance), door)) in entrances(next).zip(self.all()).enumerate() {
            if old.get(i).is_some_and(|old| *old == entrance) {
                prepared.push(None);
                continue;
            }
            match holds(entrance, door.speaks(), &self.keeper) {
                Ok(holds) => prepared.push(Some(holds)),
                Err(why) => faults.push(format!("{address}: tls: {why}")),
            }
        }
        if faults.is_empty() { Ok(Prepared(prepared)) } else { Err(Error::Tls { faults: faults.join("\n") }) }
    }

    /// Lets `prepared` hold, for connections and streams to come.
    pub(super) fn take_over(&self, prepared: Prepared) {
        for (door, holds) in self.all().zip(prepared.0) {
            if let Some(holds) = holds {
                door.set(holds.tls, holds.access);
            }
        }
    }

    /// What people are told of each, gRPC first; `addresses`: where they really listen.
    pub(super) fn places(&self, config: &Config, addresses: impl Iterator<Item = SocketAddr>) -> Vec<Place> {
        let doors = entrances(config).zip(self.all()).zip(addresses);
        doors
            .map(|(((_, entrance), door), address)| {
                let tls = door.tls().map(|tls| tls.summary());
                Place { address, tls, access: entrance.access.clone() }
            })
            .collect()
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Door>> {
        self.grpc.iter().chain([&self.admin])
    }
}

/// Reads all files that the listeners of `config` need, and says how they look.
///
/// # Errors
/// A certificate, key or authority is missing or wrong: all of them.
pub fn entrances_of(config: &Config) -> Result<Vec<Place>, Error> {
    let doors = Doors::new(config, &mut Metrics::new())?;
    Ok(doors.places(config, entrances(config).map(|(address, _)| address)))
}

/// Those of gRPC, then that of the API.
fn entrances(config: &Config) -> impl Iterator<Item = (SocketAddr, &Entrance)> {
    let grpc = config.server.listeners.iter().map(|l| (l.address, &l.entrance));
    grpc.chain([(config.admin.listen, &config.admin.entrance)])
}

fn holds(entrance: &Entrance, speaks: Speaks, keeper: &Keeper) -> Result<Holds, String> {
    let load = |files| ServerTls::load(files, speaks.protocol(), keeper).map_err(|e| e.to_string());
    let tls = entrance.tls.as_ref().map(load).transpose()?;
    let access: Arc<dyn Authorizer> = match &entrance.access {
        Access::Local | Access::Open => Arc::new(Anyone),
        Access::Rules(rules) => Rules::load(rules, keeper),
    };
    Ok(Holds { tls, access })
}
