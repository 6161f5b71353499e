//! Consul as the configuration has it, and as its adapter wants to hear it.

use std::sync::Arc;

use http::HeaderName;

use super::unusable::Unusable;
use crate::config::{ConsulConfig, ConsulConsistency, ConsulWatch, RegistryConfig};
use crate::registry::Factory;
use crate::registry::consul::settings::{Consistency, Instances, Strategy};
use crate::registry::consul::{ConsulFactory, ConsulSettings};
use crate::runtime::status::Status;

/// Where Consul of any age looks for a token.
const TOKEN: HeaderName = HeaderName::from_static("x-consul-token");

pub(super) fn factory(
    config: &RegistryConfig,
    consul: &ConsulConfig,
    status: &Arc<Status>,
) -> Arc<dyn Factory> {
    match settings(consul) {
        Ok(settings) => Arc::new(ConsulFactory::new(settings, config.name.clone(), Arc::clone(status))),
        Err(why) => Arc::new(Unusable::new(why.to_string())),
    }
}

fn settings(config: &ConsulConfig) -> Result<ConsulSettings, crate::registry::http::settings::AddressError> {
    Ok(ConsulSettings {
        http: super::http::settings(&config.addresses, &config.connection, Some(TOKEN))?,
        datacenters: config.datacenters.clone(),
        local_datacenter: config.local_datacenter.clone(),
        domain: config.domain.clone(),
        namespaces: config.namespaces.clone(),
        partitions: config.partitions.clone(),
        peers: config.peers.clone(),
        filter: config.filter.clone(),
        consistency: match config.consistency {
            ConsulConsistency::Default => Consistency::Default,
            ConsulConsistency::Stale => Consistency::Stale(config.max_stale),
            ConsulConsistency::Consistent => Consistency::Consistent,
        },
        strategy: match config.watch {
            ConsulWatch::Auto => Strategy::Auto,
            ConsulWatch::Each => Strategy::Each,
            ConsulWatch::Sweep => Strategy::Sweep,
        },
        connections: config.connections,
        instances: Instances {
            sidecars: config.sidecars,
            gateways: config.gateways,
            tagged_address: config.tagged_address.clone(),
            only_passing: config.only_passing,
            service_defaults: config.service_defaults,
        },
    })
}
