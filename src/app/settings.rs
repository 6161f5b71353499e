//! What the configuration means to the pipeline and to streams.

use crate::config::Config;
use crate::delivery::StreamSettings;
use crate::pipeline::debounce::Cadence;
use crate::pipeline::desired::Terms;
use crate::pipeline::engine::Settings;
use crate::pipeline::reading::RegistrySettings;

/// The pipeline's settings, given what the registries say of themselves.
pub(super) fn of(config: &Config, registries: Vec<RegistrySettings>) -> Settings {
    Settings {
        registries,
        merging: config.merge.clone(),
        virtual_ranges: config.mesh.virtual_addresses.clone(),
        pins: config.mesh.pins.clone(),
        terms: Terms { oldest: config.mesh.oldest_xds },
        cadence: Cadence {
            endpoint_quiet: config.push.endpoint.quiet,
            endpoint_max: config.push.endpoint.max,
            topology_quiet: config.push.topology.quiet,
            topology_max: config.push.topology.max,
        },
    }
}

/// How streams are treated.
pub(super) fn of_streams(config: &Config) -> StreamSettings {
    StreamSettings {
        full_state_interval: config.push.full_state_interval,
        limits: config.server.limits,
        oldest_pilot: config.mesh.oldest_pilot,
    }
}
