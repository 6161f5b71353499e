//! What a sink counts. What it holds now is in its row of the status instead.

use http::Method;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    sink: String,
    method: &'static str,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWrite {
    sink: String,
    action: &'static str,
}

/// The families of all sinks. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct SinksMetrics {
    requests: Family<OfRequest, Counter>,
    writes: Family<OfWrite, Counter>,
}

impl SinksMetrics {
    /// Registers everything in a registry that adds the prefix `chandler_`.
    pub fn new(registry: &mut Registry) -> Self {
        let m = Self::default();
        let help = "Requests to the API server by the status of its answer; 0: there was none";
        registry.register("sink_requests", help, m.requests.clone());
        let help = "Objects written by a sink: created, updated, deleted, forced (a field that a person had changed)";
        registry.register("sink_writes", help, m.writes.clone());
        m
    }

    /// Those of one sink.
    #[must_use]
    pub fn of(&self, sink: &str) -> SinkMetrics {
        // From zero on: the first one is an increase.
        for action in ["created", "updated", "deleted", "forced"] {
            self.writes.get_or_create(&OfWrite { sink: sink.to_owned(), action }).inc_by(0);
        }
        SinkMetrics { all: self.clone(), sink: sink.to_owned() }
    }
}

/// The metrics of one sink. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SinkMetrics {
    all: SinksMetrics,
    sink: String,
}

impl SinkMetrics {
    /// A request was answered, with `code`, or (0) was not.
    pub fn request(&self, method: &Method, code: u16) {
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        self.all.requests.get_or_create(&OfRequest { sink: self.sink.clone(), method, code }).inc();
    }

    /// An object was written.
    pub fn wrote(&self, action: &'static str) {
        self.all.writes.get_or_create(&OfWrite { sink: self.sink.clone(), action }).inc();
    }
}
