//! The registries of the table: who is registered, how Chandler reads it, and how it breaks.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::consul::ConsulSite;
use crate::eureka::EurekaSite;
use crate::files::FilesSite;
use crate::ledger::Seat;
use crate::shared;
use crate::support::{Proxy, Way};
use crate::zookeeper::ZooKeeperSite;

/// Where every instance listens, and where its service is called.
pub(crate) const PORT: u16 = 9_090;

/// Each registry's services, and how many instances each has: many, some, one, and one whose instances change.
pub(crate) const SERVICES: [(&str, u8); 4] = [("web", 6), ("api", 3), ("solo", 1), (MOVING, 2)];
/// The service that shows whether true changes arrive.
pub(crate) const MOVING: &str = "moving";

/// A registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Files,
    /// One server with a disk and access lists.
    Consul,
    Eureka,
    ZooKeeper,
    /// Three Consul servers.
    Consuls,
    /// Three ZooKeeper servers.
    ZooKeepers,
    /// The first of two registries that know the same hosts.
    SharedConsul,
    /// The second.
    SharedZooKeeper,
}

impl Kind {
    /// Its name in Chandler's configuration.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Consul => "consul",
            Self::Eureka => "eureka",
            Self::ZooKeeper => "zookeeper",
            Self::Consuls => "consul of three",
            Self::ZooKeepers => "zookeeper of three",
            Self::SharedConsul => "consul shared",
            Self::SharedZooKeeper => "zookeeper shared",
        }
    }

    /// The name without blanks, which Chandler knows it by.
    pub(crate) fn id(self) -> String {
        self.name().replace(' ', "-")
    }

    const fn domain(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Consul => "service.consul",
            Self::Eureka => "eureka",
            Self::ZooKeeper => "zookeeper",
            Self::Consuls => "service.consuls",
            Self::ZooKeepers => "zookeepers",
            Self::SharedConsul | Self::SharedZooKeeper => shared::DOMAIN,
        }
    }

    /// The second byte of its instances' addresses.
    const fn network(self) -> u8 {
        match self {
            // The same instance may be in both.
            Self::SharedConsul | Self::SharedZooKeeper => 46,
            _ => 40 + self as u8,
        }
    }

    /// Who is registered at the start.
    fn seats(self) -> BTreeSet<Seat> {
        let mut seats = BTreeSet::new();
        match self {
            Self::SharedConsul | Self::SharedZooKeeper => {
                for (service, first, second) in shared::SEATS {
                    let numbers = if self == Self::SharedConsul { first } else { second };
                    seats.extend(numbers.map(|number| self.seat(service, number)));
                }
            }
            _ => {
                for (service, count) in SERVICES {
                    seats.extend((1..=count).map(|number| self.seat(service, number)));
                }
            }
        }
        seats
    }

    /// The number of the first instance of [`MOVING`] that comes later.
    const fn next(self) -> u8 {
        if matches!(self, Self::SharedZooKeeper) { 103 } else { 3 }
    }

    /// A seat of one of its services.
    pub(crate) fn seat(self, service: &str, number: u8) -> Seat {
        let index = SERVICES.iter().position(|(name, _)| *name == service).expect("a service of the table");
        let index = u8::try_from(index).expect("there are few");
        Seat {
            host: format!("{service}.{}", self.domain()),
            at: Ipv4Addr::new(10, self.network(), index, number),
        }
    }
}

/// The registry's name of a seat's service.
pub(crate) fn service_of(seat: &Seat) -> &str {
    seat.host.split('.').next().unwrap_or_default()
}

/// A registry, and those who are registered in it.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) kind: Kind,
    pub(crate) server: Server,
    present: BTreeSet<Seat>,
    /// The number of the next instance of [`MOVING`].
    next: u8,
}

#[derive(Debug)]
pub(crate) enum Server {
    Files(FilesSite),
    Consul(ConsulSite),
    Eureka(Box<EurekaSite>),
    ZooKeeper(ZooKeeperSite),
}

impl Site {
    /// It runs, and all of [`SERVICES`] are registered.
    pub(crate) async fn start(kind: Kind) -> Self {
        let server = match kind {
            Kind::Files => Server::Files(FilesSite::start()),
            Kind::Consul | Kind::SharedConsul => Server::Consul(ConsulSite::alone().await),
            Kind::Consuls => Server::Consul(ConsulSite::three().await),
            Kind::Eureka => Server::Eureka(Box::new(EurekaSite::start().await)),
            Kind::ZooKeeper | Kind::SharedZooKeeper => Server::ZooKeeper(ZooKeeperSite::alone().await),
            Kind::ZooKeepers => Server::ZooKeeper(ZooKeeperSite::three().await),
        };
        let mut site = Self { kind, server, present: kind.seats(), next: kind.next() };
        site.register_again().await;
        site
    }

    /// Its entry in Chandler's `registries`.
    pub(crate) fn config(&self) -> String {
        let settings = match &self.server {
            Server::Files(one) => one.config(),
            Server::Consul(one) if self.kind == Kind::SharedConsul => {
                format!("{}\n  map: {{hosts: ['{{service}}.{}']}}", one.config(), shared::DOMAIN)
            }
            Server::Consul(one) => one.config(),
            Server::Eureka(one) => one.config(),
            Server::ZooKeeper(one) => one.config(self.kind.domain()),
        };
        format!("- name: {}\n{settings}\n", self.kind.id())
    }

    pub(crate) fn present(&self) -> &BTreeSet<Seat> {
        &self.present
    }

    /// Everybody registers who is there: at the start, and after a registry has forgotten them.
    pub(crate) async fn register_again(&mut self) {
        match &mut self.server {
            Server::Files(one) => one.write_all(&self.present),
            Server::Consul(one) => one.register(self.present.iter()).await,
            Server::Eureka(one) => one.register(self.present.iter()).await,
            Server::ZooKeeper(one) => one.register(self.present.iter()).await,
        }
    }

    /// An instance registers.
    pub(crate) async fn add(&mut self, seat: &Seat) {
        self.present.insert(seat.clone());
        match &mut self.server {
            Server::Files(one) => one.write(service_of(seat), &self.present),
            Server::Consul(one) => one.register([seat].into_iter()).await,
            Server::Eureka(one) => one.register([seat].into_iter()).await,
            Server::ZooKeeper(one) => one.register([seat].into_iter()).await,
        }
    }

    /// An instance deregisters in order.
    pub(crate) async fn remove(&mut self, seat: &Seat) {
        self.present.remove(seat);
        match &mut self.server {
            Server::Files(one) => one.write(service_of(seat), &self.present),
            Server::Consul(one) => one.deregister(seat).await,
            Server::Eureka(one) => one.deregister(seat).await,
            Server::ZooKeeper(one) => one.deregister(seat).await,
        }
    }

    /// These will not register again.
    pub(crate) fn forget(&mut self, seats: &[Seat]) {
        self.present.retain(|seat| !seats.contains(seat));
    }

    /// One instance of `api` will not register again.
    pub(crate) fn lose_one(&mut self) -> Seat {
        let host = self.kind.seat("api", 0).host;
        let lost = self
            .present
            .iter()
            .rev()
            .find(|seat| seat.host == host)
            .expect("there are three of them")
            .clone();
        self.present.remove(&lost);
        lost
    }

    /// A new instance of [`MOVING`], and the one that it takes over from.
    pub(crate) fn successor(&mut self) -> (Seat, Seat) {
        let host = self.kind.seat(MOVING, 0).host;
        let old = self.present.iter().find(|seat| seat.host == host).expect("there are two of them").clone();
        let new = self.kind.seat(MOVING, self.next);
        self.next = self.next.checked_add(1).expect("fewer changes than addresses");
        (old, new)
    }

    /// What stands between Chandler and it.
    pub(crate) fn proxies(&self) -> &[Proxy] {
        match &self.server {
            Server::Files(_) => &[],
            Server::Consul(one) => &one.proxies,
            Server::Eureka(one) => std::slice::from_ref(&one.proxy),
            Server::ZooKeeper(one) => &one.proxies,
        }
    }

    pub(crate) fn turn(&self, way: &Way) {
        self.proxies().iter().for_each(|proxy| proxy.turn(way.clone()));
    }

    pub(crate) fn touched(&self) -> usize {
        self.proxies().iter().map(Proxy::touched).sum()
    }

    /// SIGKILL to every server.
    pub(crate) async fn kill(&mut self) {
        match &mut self.server {
            Server::Files(_) => panic!("files are no server"),
            Server::Consul(one) => one.kill().await,
            Server::Eureka(one) => one.server.kill().await,
            Server::ZooKeeper(one) => one.kill().await,
        }
    }

    /// After [`Site::kill`].
    pub(crate) async fn start_again(&mut self, with_data: bool) {
        match &mut self.server {
            Server::Files(_) => panic!("files are no server"),
            Server::Consul(one) => one.start_again(with_data).await,
            Server::Eureka(one) => one.server.start_again().await,
            Server::ZooKeeper(one) => one.start_again(with_data).await,
        }
    }

    /// SIGKILL to two of three servers.
    pub(crate) async fn kill_most(&mut self) {
        match &mut self.server {
            Server::Consul(one) => {
                for server in one.servers.iter_mut().take(2) {
                    server.kill().await;
                }
                one.leaderless().await;
            }
            Server::ZooKeeper(one) => {
                for server in one.servers.iter_mut().take(2) {
                    server.kill().await;
                }
            }
            Server::Files(_) | Server::Eureka(_) => panic!("{} has no leader", self.kind.name()),
        }
    }

    /// After [`Site::kill_most`].
    pub(crate) async fn start_most_again(&mut self) {
        match &mut self.server {
            Server::Consul(one) => {
                for server in one.servers.iter_mut().take(2) {
                    server.start_again().await;
                }
            }
            Server::ZooKeeper(one) => {
                for server in one.servers.iter_mut().take(2) {
                    server.start_again(true).await;
                }
            }
            Server::Files(_) | Server::Eureka(_) => panic!("{} has no leader", self.kind.name()),
        }
    }

    /// STOP or CONT to every server.
    pub(crate) async fn signal(&mut self, signal: &str) {
        match &mut self.server {
            Server::Files(_) => panic!("files are no server"),
            Server::Consul(one) => {
                for server in &mut one.servers {
                    server.process().signal(signal).await;
                }
            }
            Server::Eureka(one) => one.server.process().signal(signal).await,
            Server::ZooKeeper(one) => {
                for server in &mut one.servers {
                    server.process().signal(signal).await;
                }
            }
        }
    }

    pub(crate) fn files(&self) -> &FilesSite {
        match &self.server {
            Server::Files(one) => one,
            _ => panic!("{} is not made of files", self.kind.name()),
        }
    }

    pub(crate) fn consul(&mut self) -> &mut ConsulSite {
        match &mut self.server {
            Server::Consul(one) => one,
            _ => panic!("{} is no Consul", self.kind.name()),
        }
    }

    pub(crate) fn zookeeper(&mut self) -> &mut ZooKeeperSite {
        match &mut self.server {
            Server::ZooKeeper(one) => one,
            _ => panic!("{} is no ZooKeeper", self.kind.name()),
        }
    }
}
