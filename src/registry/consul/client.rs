//! The questions that Consul is asked, and what every answer says beside its body.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::registry::consul::place::Place;
use crate::registry::consul::settings::{Consistency, ConsulSettings};
use crate::registry::http::{Answer, Client, Get, HttpError, HttpFault, segment};

/// Consul adds up to a sixteenth to a wait, so that its clients do not come back all at once.
const JITTER: u32 = 16;
/// Short reads that are under way at a time, over all scopes: a catalogue is read in seconds, and nobody else starves.
pub(super) const READS: usize = 16;

/// Asks one Consul. Cheap to clone; outlives lives.
#[derive(Debug, Clone)]
pub(super) struct Api {
    http: Client,
    settings: Arc<ConsulSettings>,
    reads: Arc<Semaphore>,
}

/// How a question is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Answered at once, as consistent as the settings say.
    Now,
    /// Answered at once by the leader, whatever the settings say: the truth where two answers contradict each other.
    Surely,
    /// Answered when the index has gone beyond this one, or after the wait.
    Beyond(Index, Duration),
}

/// A state of the catalogue. Never 0, which would mean "do not wait".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Index(u64);

impl Index {
    /// 0 is taken as 1.
    pub(super) fn new(index: u64) -> Self {
        Self(index.max(1))
    }
}

impl std::fmt::Display for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// An answer with status 200.
#[derive(Debug, Clone)]
pub(super) struct Page {
    answer: Answer,
    /// The state that it shows. Absent: the question knows none.
    pub(super) index: Option<Index>,
    /// Something was left out for want of rights.
    pub(super) filtered: bool,
    /// Without rights everything is left out, without a word.
    pub(super) denies: bool,
    /// It comes from what an agent follows by itself: quick, but silent about rights, and old when no server is left.
    pub(super) streamed: bool,
}

impl Page {
    pub(super) fn body(&self) -> &[u8] {
        &self.answer.body
    }

    /// Whether the connection carries many requests at a time.
    pub(super) fn is_multiplexed(&self) -> bool {
        self.answer.multiplexed
    }

    /// The error for a body that makes no sense, for this reason.
    pub(super) fn unreadable(&self, why: &str) -> HttpError {
        self.answer.unreadable(why)
    }
}

impl Api {
    pub(super) fn new(settings: Arc<ConsulSettings>) -> Self {
        Self { http: Client::new(settings.http.clone()), settings, reads: Arc::new(Semaphore::new(READS)) }
    }

    /// Whether every server is asked over TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.http.is_tls()
    }

    /// All services and their tags. A peer's are part of what is known of the peer, which knows no index.
    pub(super) async fn services(&self, place: &Place, ask: Ask) -> Result<Page, HttpError> {
        if let Some(peer) = &place.peer {
            return self.ask(Get::new(format!("/v1/peering/{}", segment(peer))), Ask::Now).await;
        }
        self.ask(within(place, Get::new("/v1/catalog/services")), ask).await
    }

    /// The instances of a service with their checks.
    pub(super) async fn instances(
        &self,
        place: &Place,
        name: &str,
        ask: Ask,
        lane: u16,
    ) -> Result<Page, HttpError> {
        let mut get = within(place, Get::new(format!("/v1/health/service/{}", segment(name))));
        if let Some(filter) = &self.settings.filter {
            get = get.with("filter", filter);
        }
        get.lane = lane;
        self.ask(get, ask).await
    }

    /// All checks in a state.
    pub(super) async fn checks(&self, place: &Place, state: &str, ask: Ask) -> Result<Page, HttpError> {
        self.ask(within(place, Get::new(format!("/v1/health/state/{state}"))), ask).await
    }

    /// What operators wrote about services for the whole datacenter.
    pub(super) async fn service_defaults(&self, place: &Place, ask: Ask) -> Result<Page, HttpError> {
        self.ask(within(place, Get::new("/v1/config/service-defaults")), ask).await
    }

    async fn ask(&self, get: Get, ask: Ask) -> Result<Page, HttpError> {
        let mut get = match (ask, self.settings.consistency) {
            (Ask::Surely, _) | (_, Consistency::Default) => get,
            (_, Consistency::Consistent) => get.with("consistent", ""),
            (_, Consistency::Stale(None)) => get.with("stale", ""),
            (_, Consistency::Stale(Some(max))) => {
                get.with("stale", "").with("max_stale", format!("{}ms", max.as_millis()))
            }
        };
        // Long polls wait for something else; what is answered at once waits its turn.
        let turn = match ask {
            Ask::Beyond(index, wait) => {
                get = get.with("index", index.to_string()).with("wait", format!("{}ms", wait.as_millis()));
                get.patience = wait + wait / JITTER;
                None
            }
            Ask::Now | Ask::Surely => self.reads.acquire().await.ok(),
        };
        let answer = self.http.get(&get).await?;
        drop(turn);
        if answer.status.as_u16() != 200 {
            let fault =
                HttpFault::Status { status: answer.status, text: "only 200 carries an answer".into() };
            return Err(HttpError { address: answer.address.to_string(), fault });
        }
        let says = |name, value| answer.header(name).is_some_and(|v| v.eq_ignore_ascii_case(value));
        let index = answer.header("x-consul-index").and_then(|i| i.parse().ok());
        Ok(Page {
            index: index.map(Index::new),
            filtered: says("x-consul-results-filtered-by-acls", "true"),
            denies: says("x-consul-default-acl-policy", "deny"),
            streamed: says("x-consul-query-backend", "streaming"),
            answer,
        })
    }
}

/// The question asked of one scope.
fn within(place: &Place, mut get: Get) -> Get {
    let parts = [
        ("dc", &place.datacenter),
        ("partition", &place.partition),
        ("ns", &place.namespace),
        ("peer", &place.peer),
    ];
    for (key, value) in parts {
        if let Some(value) = value {
            get = get.with(key, &**value);
        }
    }
    get
}
