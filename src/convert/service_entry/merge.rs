//! Services of several registries that share a host: whose endpoints are served, and on which of the first one's ports.
//!
//! The first decides how the host appears. What another one adds is endpoints alone, and only such as serve every port of
//! the first: Istio sends a call on any port to any endpoint. Which of them takes over from which does not move a port.

use std::sync::Arc;

use super::Context;
use super::endpoints::{self, Chosen};
use crate::convert::memory::Memory;
use crate::convert::naming;
use crate::convert::ports::{Fit, Found, Ports, When};
use crate::model::endpoint::Address;
use crate::model::merging::Mode;
use crate::model::service::{RegistryName, Service};

/// One of the services that share a host.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The service.
    pub service: &'a Service,
    /// What decides about it.
    pub context: Context<'a>,
}

/// The ServiceEntry of several services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// What Istio receives, and what people should know.
    pub converted: super::Converted,
    /// What became of each service: of the first, then of the others in their order.
    pub shares: Vec<Share>,
}

/// What one service contributes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Share {
    /// Where those of its endpoints are that are served; one that another service has too is the first one's.
    pub endpoints: Vec<Address>,
    /// Why none of them is; absent: some are, or it has none.
    pub left_out: Option<Arc<str>>,
}

/// The endpoints of one of the services.
#[derive(Debug)]
pub(super) struct Pool<'a> {
    registry: &'a RegistryName,
    chosen: Vec<Chosen<'a>>,
    found: Found,
    left_out: Option<Arc<str>>,
}

/// The endpoints of all of them, as far as each takes its own. Only within one namespace are they one service.
pub(super) fn pools<'a>(
    lead: &Part<'a>,
    others: &[Part<'a>],
    namespace: &str,
    notes: &mut Vec<String>,
) -> Vec<Pool<'a>> {
    let all = std::iter::once(lead).chain(others).enumerate();
    let pool = |(place, part): (usize, &Part<'a>)| {
        let registry = part.context.registry;
        let left_out = if place == 0 { None } else { stranger(part, lead.context.registry, namespace) };
        let mut own = Vec::new();
        let chosen = match &left_out {
            None => endpoints::choose(part.service, &part.context, place, &mut own),
            Some(_) => Vec::new(),
        };
        let prefix = if others.is_empty() { String::new() } else { format!("{registry}: ") };
        notes.extend(own.into_iter().map(|note| format!("{prefix}{note}")));
        let found = Found::of(chosen.iter().map(Chosen::ports));
        Pool { registry, chosen, found, left_out }
    };
    all.map(pool).collect()
}

/// Why `part` cannot be one service with the first, which is in `namespace`.
fn stranger(part: &Part<'_>, first: &RegistryName, namespace: &str) -> Option<Arc<str>> {
    match naming::namespace(part.service, part.context.mapping) {
        Ok(own) if *own == *namespace => None,
        Ok(own) => Some(
            format!("its namespace is {own}, and that of {first}, which comes first, is {namespace}").into(),
        ),
        Err(e) => Some(e.to_string().into()),
    }
}

/// The ports of the instances that decide: those of the first that has any. Whoever decided once goes on while it is there,
/// with or without instances, until one before it has some: losing instances must not move ports.
pub(super) fn found(pools: &[Pool<'_>], memory: &mut Memory) -> Found {
    if let [alone] = pools {
        return alone.found.clone();
    }
    let before = memory.source().and_then(|source| pools.iter().position(|p| p.registry == source));
    let first = pools.iter().position(|p| !p.found.is_empty());
    let Some(pool) = before.into_iter().chain(first).min().and_then(|place| pools.get(place)) else {
        return Found::default();
    };
    memory.follow(pool.registry);
    pool.found.clone()
}

/// How each serves `ports`, which are the first one's; what cannot is left out.
pub(super) fn fit(pools: &mut [Pool<'_>], others: &[Part<'_>], ports: &Ports) -> Vec<Option<Fit>> {
    let mut fits = vec![None];
    for (part, pool) in others.iter().zip(pools.iter_mut().skip(1)) {
        let cx = &part.context;
        let when = When { now: cx.now, ttl: cx.empty_service_ttl };
        let memory = &mut Memory::default();
        let own = Ports::of(part.service, cx.says, cx.mapping, &pool.found, memory, when);
        let fit = match ports.fit(own) {
            Ok(fit) => Some(fit),
            Err(_) if pool.chosen.is_empty() => None,
            Err(unfit) => {
                pool.left_out = Some(unfit.to_string().into());
                pool.chosen.clear();
                None
            }
        };
        fits.push(fit);
    }
    fits
}

/// The endpoints that are served, and those that stand by.
pub(super) fn served<'a>(pools: &mut [Pool<'a>], mode: Mode) -> (Vec<Chosen<'a>>, Vec<Chosen<'a>>) {
    let able = pools.iter().position(|pool| pool.chosen.iter().any(Chosen::takes_calls));
    let active = able.filter(|_| mode == Mode::Failover);
    let serving = active.and_then(|place| pools.get(place)).map(|pool| pool.registry);
    let (mut served, mut standing_by) = (Vec::new(), Vec::new());
    for (place, pool) in pools.iter_mut().enumerate() {
        let chosen = std::mem::take(&mut pool.chosen);
        match serving.filter(|_| active != Some(place)) {
            None => served.extend(chosen),
            Some(first) => {
                if !chosen.is_empty() {
                    pool.left_out = Some(format!("stands by while {first} has endpoints").into());
                }
                standing_by.extend(chosen);
            }
        }
    }
    (served, standing_by)
}

pub(super) fn shares(pools: Vec<Pool<'_>>, served: Vec<Vec<Address>>) -> Vec<Share> {
    let share = |(pool, endpoints): (Pool<'_>, Vec<Address>)| Share { endpoints, left_out: pool.left_out };
    pools.into_iter().zip(served).map(share).collect()
}
