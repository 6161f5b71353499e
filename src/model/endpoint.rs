//! One instance of a service.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::host::{HostError, check_fqdn};
use crate::model::labels::{Labels, Tags};

/// Where an endpoint is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// By number.
    Ip(IpAddr),
    /// By a name that the proxy resolves.
    Name(Arc<str>),
    /// By a socket of the proxy's own machine: an absolute path, or `@` and a name.
    Unix(Arc<str>),
}

/// Why a string is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Neither an IP nor a name.
    #[error("endpoint address {0:?} is not a valid FQDN or an IP address: {1}")]
    Neither(String, HostError),
    /// A socket that Istio does not take.
    #[error("{0:?} is not an absolute path to a file")]
    Unix(String),
    /// Nothing.
    #[error("address is required")]
    Empty,
}

impl Address {
    /// Reads an IP, a DNS name or `unix://…`.
    ///
    /// # Errors
    /// Whatever Istio would not take as an endpoint's address.
    pub fn parse(s: &str) -> Result<Self, AddressError> {
        if s.is_empty() {
            return Err(AddressError::Empty);
        }
        if let Ok(ip) = s.parse() {
            return Ok(Self::Ip(ip));
        }
        if let Some(path) = s.strip_prefix("unix://") {
            let ok = path.starts_with('@') || (path.starts_with('/') && !path.ends_with('/'));
            return if ok { Ok(Self::Unix(path.into())) } else { Err(AddressError::Unix(path.into())) };
        }
        check_fqdn(s).map_err(|e| AddressError::Neither(s.into(), e))?;
        Ok(Self::Name(s.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::Unix(path) => write!(f, "unix://{path}"),
        }
    }
}

/// On which ports an endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum EndpointPorts {
    /// On the service's own (or their targets).
    #[default]
    AsService,
    /// On one; never 0.
    One(u16),
    /// By the name of the service's port; a port that is missing is served as the service says. Sorted by name.
    Named(Arc<[(Arc<str>, u16)]>),
}

/// A share of the traffic relative to the other endpoints of the service, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Weight(u32);

impl Weight {
    /// Every endpoint's unless it says otherwise.
    pub const ONE: Self = Self(1000);
    /// Gets no traffic: the endpoint is left out.
    pub const ZERO: Self = Self(0);
    /// More would overflow the sums that Envoy keeps.
    const MAX: f64 = 1_000_000.0;

    /// A weight from a number; `None` for what is not one (negative, infinite, NaN). Capped at a million;
    /// a positive weight below a thousandth counts as one.
    #[must_use]
    pub fn new(weight: f64) -> Option<Self> {
        if !weight.is_finite() || weight < 0.0 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 10^9
        let thousandths = (weight.min(Self::MAX) * 1000.0).round() as u32;
        Some(Self(if weight > 0.0 { thousandths.max(1) } else { 0 }))
    }

    /// A weight from its [`Weight::thousandths`]; capped as every weight is.
    #[must_use]
    pub const fn of_thousandths(thousandths: u32) -> Self {
        const MOST: u32 = 1_000_000_000;
        Self(if thousandths < MOST { thousandths } else { MOST })
    }

    /// In thousandths: 0 to 10^9.
    #[must_use]
    pub const fn thousandths(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

/// Whether an endpoint's own proxy takes Istio's mutual TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TlsMode {
    /// It has no such proxy.
    None,
    /// It does.
    Istio,
}

/// One instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The registry's own name of the instance; empty where it has none. Only orders endpoints that are otherwise equal.
    pub id: Arc<str>,
    /// Where it is reached.
    pub address: Address,
    /// On which ports.
    pub ports: EndpointPorts,
    /// Its labels, which are its metadata: as the registry has them (made legal by the conversion).
    pub labels: Labels,
    /// Its tags, where the registry has such beside metadata.
    pub tags: Tags,
    /// `region/zone/subzone`, right parts optional.
    pub locality: Option<Arc<str>>,
    /// The network it is on, where that is not the mesh's own.
    pub network: Option<Arc<str>>,
    /// The account its proxy authenticates as; only endpoints with a proxy have one.
    pub service_account: Option<Arc<str>>,
    /// Absent: the mapping's to decide.
    pub tls_mode: Option<TlsMode>,
    /// Its share of the traffic.
    pub weight: Weight,
}

impl Endpoint {
    /// An endpoint that says nothing but where it is.
    #[must_use]
    pub fn at(address: Address, ports: EndpointPorts) -> Self {
        Self {
            id: Arc::default(),
            address,
            ports,
            labels: Labels::EMPTY,
            tags: Tags::EMPTY,
            locality: None,
            network: None,
            service_account: None,
            tls_mode: None,
            weight: Weight::ONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_ips_names_or_sockets() {
        assert!(matches!(Address::parse("10.0.0.1"), Ok(Address::Ip(_))));
        assert!(matches!(Address::parse("2001:db8::1"), Ok(Address::Ip(_))));
        assert!(matches!(Address::parse("Web.example"), Ok(Address::Name(n)) if &*n == "web.example"));
        assert!(matches!(Address::parse("unix:///run/x.sock"), Ok(Address::Unix(_))));
        for bad in ["", "unix://x", "unix:///x/", "10.0.0.256", "a_b", "http://x", "10.0.0.1:80"] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_weight_is_a_number_that_makes_sense() {
        assert_eq!(Weight::new(0.5), Some(Weight(500)));
        assert_eq!(Weight::new(0.0), Some(Weight::ZERO));
        assert_eq!(Weight::new(1e-9), Some(Weight(1)));
        assert_eq!(Weight::new(1e300), Some(Weight(1_000_000_000)));
        for bad in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Weight::new(bad), None);
        }
    }
}
