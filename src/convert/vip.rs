//! Virtual addresses: one of each family in our ranges for every host that wants one.
//!
//! Where a host's address comes from, first that applies: its pin, the address that it has already, the first free
//! candidate. Candidates follow from a fixed hash of the host and the attempt, and a batch is served in the order of
//! that hash, so that replicas that see the same hosts at once agree; who came first keeps what it has, whatever comes
//! later. Replicas that saw colliding hosts in different order differ there (collisions are counted), and only there.
//! The first and the last address of a range are not given away: software tends to treat them as its network's own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::model::host::Host;

/// Hashed attempts before the search goes on address by address: with half of a range taken, one host in 2³² gets there.
const ATTEMPTS: u64 = 32;

/// The ranges have no free address left for a host; its service goes without.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no virtual {family} address is left for {host}: all {size} in `mesh.virtualAddresses` are taken; add a range or make it larger"
)]
pub struct Exhausted {
    /// Who goes without.
    pub host: Host,
    /// `IPv4` or `IPv6`.
    pub family: &'static str,
    /// How many there are to give.
    pub size: u128,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// Addresses in a row: from the first to the last that may be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u128,
    size: u128,
}

/// Who has which virtual addresses.
#[derive(Debug, Clone, Default)]
pub struct VirtualAddresses {
    v4: Vec<Span>,
    v6: Vec<Span>,
    pins: BTreeMap<Host, IpAddr>,
    pinned: BTreeSet<IpAddr>,
    held: BTreeMap<Host, Vec<IpAddr>>,
    taken: BTreeSet<IpAddr>,
    collisions: u64,
}

impl VirtualAddresses {
    /// Nobody has any yet. Pins are reserved, whether they lie in a range or not; of two hosts pinned to one address
    /// the first has it (the configuration refuses that).
    #[must_use]
    pub fn new(ranges: Vec<IpNet>, pins: BTreeMap<Host, IpAddr>) -> Self {
        let mut addresses = Self::default();
        addresses.settle(&ranges, pins);
        addresses
    }

    fn settle(&mut self, ranges: &[IpNet], pins: BTreeMap<Host, IpAddr>) {
        // Ranges that overlap would give one address two places.
        let ranges = IpNet::aggregate(&ranges.to_vec());
        let spans = |v4: bool| ranges.iter().filter(|n| n.addr().is_ipv4() == v4).map(span).collect();
        (self.v4, self.v6) = (spans(true), spans(false));
        self.pinned.clear();
        self.pins = pins.into_iter().filter(|(_, ip)| self.pinned.insert(*ip)).collect();
    }

    /// Gives every one of `hosts` its addresses; who has one keeps it. Returns who goes without.
    pub fn assign(&mut self, hosts: &BTreeSet<Host>) -> Vec<Exhausted> {
        let lacks = |h: &&Host| Family::BOTH.iter().any(|f| self.lacks(h, *f));
        let mut batch: Vec<(u128, Host)> =
            hosts.iter().filter(lacks).map(|h| (hash(h, 0), h.clone())).collect();
        batch.sort();
        let mut without = Vec::new();
        for (_, host) in batch {
            for family in Family::BOTH {
                if !self.lacks(&host, family) {
                    continue;
                }
                match self.pin(&host, family).or_else(|| self.free(&host, family)) {
                    Some(ip) => self.give(&host, ip),
                    None => without.push(self.exhausted(&host, family)),
                }
            }
        }
        without
    }

    fn give(&mut self, host: &Host, ip: IpAddr) {
        self.taken.insert(ip);
        let own = self.held.entry(host.clone()).or_default();
        own.push(ip);
        own.sort_unstable();
    }

    /// The addresses of `host`, IPv4 first; empty for a host that was not assigned any.
    #[must_use]
    pub fn get(&self, host: &Host) -> &[IpAddr] {
        self.held.get(host).map_or(&[], Vec::as_slice)
    }

    /// Takes the addresses of `host` back: its service is gone.
    pub fn release(&mut self, host: &Host) {
        for ip in self.held.remove(host).unwrap_or_default() {
            self.taken.remove(&ip);
        }
    }

    /// How often a host met an address that another host has.
    #[must_use]
    pub fn collisions(&self) -> u64 {
        self.collisions
    }

    /// Who has what, for the state on disk.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<Host, Vec<IpAddr>> {
        &self.held
    }

    /// Takes back what was saved, as far as it is still right: within a range, not pinned to another host, held once.
    pub fn restore(&mut self, saved: BTreeMap<Host, Vec<IpAddr>>) {
        for (host, addresses) in saved {
            for ip in addresses {
                let lacks = self.lacks(&host, Family::of(ip));
                if lacks && self.is_right(&host, ip) && !self.taken.contains(&ip) {
                    self.give(&host, ip);
                }
            }
        }
    }

    /// Other ranges and pins. Who has an address that is still right keeps it, the others get a new one. Returns who
    /// goes without.
    pub fn reconfigure(&mut self, ranges: Vec<IpNet>, pins: BTreeMap<Host, IpAddr>) -> Vec<Exhausted> {
        self.settle(&ranges, pins);
        let before = std::mem::take(&mut self.held);
        self.taken.clear();
        let hosts = before.keys().cloned().collect();
        self.restore(before);
        self.assign(&hosts)
    }

    /// Whether `host` should have an address of `family` and has none.
    fn lacks(&self, host: &Host, family: Family) -> bool {
        let due = !self.spans(family).is_empty() || self.pin(host, family).is_some();
        due && !self.get(host).iter().any(|ip| Family::of(*ip) == family)
    }

    /// Whether `host` may have `ip`.
    fn is_right(&self, host: &Host, ip: IpAddr) -> bool {
        let (family, n) = (Family::of(ip), number(ip));
        match self.pin(host, family) {
            Some(pin) => pin == ip,
            None => {
                let within = self.spans(family).iter().any(|s| n >= s.first && n - s.first < s.size);
                within && !self.pinned.contains(&ip)
            }
        }
    }

    fn pin(&self, host: &Host, family: Family) -> Option<IpAddr> {
        self.pins.get(host).copied().filter(|ip| Family::of(*ip) == family)
    }

    fn spans(&self, family: Family) -> &[Span] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// The first candidate of `host` that nobody has and nobody is pinned to.
    fn free(&mut self, host: &Host, family: Family) -> Option<IpAddr> {
        let size = size(self.spans(family));
        if size == 0 {
            return None;
        }
        for attempt in 0..ATTEMPTS {
            let ip = address(self.spans(family), family, hash(host, attempt) % size)?;
            if self.is_free(ip) {
                return Some(ip);
            }
            self.collisions += 1;
        }
        // So full that chance does not find the gaps: one after the other, which ends after as many as are taken.
        let start = hash(host, ATTEMPTS) % size;
        let mut steps = (0..size).map(|step| (start + step) % size);
        steps.find_map(|at| address(self.spans(family), family, at).filter(|ip| self.is_free(*ip)))
    }

    fn is_free(&self, ip: IpAddr) -> bool {
        !self.taken.contains(&ip) && !self.pinned.contains(&ip)
    }

    fn exhausted(&self, host: &Host, family: Family) -> Exhausted {
        Exhausted { host: host.clone(), family: family.name(), size: size(self.spans(family)) }
    }
}

fn hash(host: &Host, attempt: u64) -> u128 {
    xxh3_128_with_seed(host.as_str().as_bytes(), attempt)
}

/// All addresses of `net` but its first and its last; a range of one or two has nothing else and is given whole.
fn span(net: &IpNet) -> Span {
    let (first, last) = (number(net.network()), number(net.broadcast()));
    if last - first < 2 {
        Span { first, size: last - first + 1 }
    } else {
        Span { first: first + 1, size: last - first - 1 }
    }
}

/// How many addresses there are to give. Of more than 2⁶⁴ only the first are used.
fn size(spans: &[Span]) -> u128 {
    spans.iter().fold(0, |sum: u128, s| sum.saturating_add(s.size)).min(1 << 64)
}

/// The address that is `at` places behind the first.
fn address(spans: &[Span], family: Family, at: u128) -> Option<IpAddr> {
    let mut at = at;
    for span in spans {
        if at < span.size {
            let n = span.first + at;
            return match family {
                Family::V4 => u32::try_from(n).ok().map(|n| Ipv4Addr::from(n).into()),
                Family::V6 => Some(Ipv6Addr::from(n).into()),
            };
        }
        at -= span.size;
    }
    None
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

#[cfg(test)]
mod tests;
