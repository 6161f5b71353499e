//! How many connections there are. It counts, and ends none: that is [`line`](super::line)'s matter.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How many connections there are.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections {
    open: Gauge,
    idle: Counter,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Open(Connections);

impl Connections {
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Connections from clients that are through the door";
        registry.register("connections", help, self.open.clone());
        let help = "Connections that were closed because there was no stream on them for a minute or two";
        registry.register("idle_connections_closed", help, self.idle.clone());
    }

    /// A further one, for as long as this lives.
    pub(super) fn open(&self) -> Open {
        self.open.inc();
        Open(self.clone())
    }

    /// How many are open, and how many were closed because nobody used them.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (i64, u64) {
        (self.open.get(), self.idle.get())
    }
}

impl Open {
    /// It is closed because nobody uses it.
    pub(super) fn idle(&self) {
        self.0.idle.inc();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.dec();
    }
}
