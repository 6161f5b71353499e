//! What the state on disk counts.

use std::sync::atomic::AtomicU64;
use std::time::SystemTime;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The metrics of the state on disk.
#[derive(Debug, Clone, Default)]
pub struct DiskMetrics {
    /// Times that it was written.
    pub writes: Counter,
    /// Times that it could not be.
    pub failures: Counter,
    last_success: Gauge<f64, AtomicU64>,
    bytes: Gauge,
}

impl DiskMetrics {
    /// Registers everything in a registry that adds the prefix `chandler_`.
    pub fn new(registry: &mut Registry) -> Self {
        let m = Self::default();
        registry.register("state_writes", "Times that the state was saved", m.writes.clone());
        registry.register(
            "state_write_failures",
            "Times that the state could not be saved; it is tried again",
            m.failures.clone(),
        );
        registry.register(
            "state_last_success_timestamp_seconds",
            "When the state was last saved, in seconds since 1970; 0: never by this process",
            m.last_success.clone(),
        );
        registry.register("state_bytes", "Size of the state on disk", m.bytes.clone());
        m
    }

    /// It was saved.
    pub(super) fn saved(&self, at: SystemTime, bytes: u64) {
        self.writes.inc();
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.last_success.set(since.as_secs_f64());
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
