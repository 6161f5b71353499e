//! What the pipeline counts over time. What it holds now is asked of it instead (`report`), at each scrape.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// From the debounce's 100 ms to its 5 s, and what lies beyond.
const PROPAGATION_BUCKETS: [f64; 10] = [0.01, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The pipeline's metrics.
#[derive(Debug)]
pub struct PipelineMetrics {
    /// Hosts that did not get their first candidate for a virtual address.
    pub collisions: Counter,
    /// Snapshots that were published.
    pub snapshots: Counter,
    /// From a batch's arrival to the snapshot that carries it.
    pub propagation: Histogram,
}

impl Default for PipelineMetrics {
    /// Registered nowhere, for runs that nobody scrapes.
    fn default() -> Self {
        let (collisions, snapshots) = Default::default();
        Self { collisions, snapshots, propagation: Histogram::new(PROPAGATION_BUCKETS) }
    }
}

impl PipelineMetrics {
    /// Registers everything in a registry that adds the prefix `chandler_`.
    pub fn new(registry: &mut Registry) -> Self {
        let m = Self::default();
        registry.register(
            "virtual_address_collisions",
            "Hosts that did not get their first candidate for a virtual address",
            m.collisions.clone(),
        );
        registry.register("snapshots", "Snapshots that were published", m.snapshots.clone());
        registry.register(
            "propagation_seconds",
            "From the arrival of a change to the snapshot that carries it",
            m.propagation.clone(),
        );
        m
    }
}
