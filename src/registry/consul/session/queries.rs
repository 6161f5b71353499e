//! The questions of a session, each a future that ends in a [`Done`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{AbortHandle, BoxFuture, abortable};
use tokio::time::{Instant, sleep};

use super::{Session, Watched};
use crate::registry::consul::client::{Ask, Index, Page, READS};
use crate::registry::consul::plan::{self, Mode};
use crate::registry::consul::scope::{STATES, ScopeWatch, States};
use crate::registry::http::HttpError;
use xxhash_rust::xxh3::xxh3_64;

/// A question that will be answered.
pub(in crate::registry::consul) type Asking = BoxFuture<'static, Done>;

/// A question that was answered.
#[derive(Debug)]
pub(in crate::registry::consul) enum Done {
    List(Asked, Result<Page, HttpError>),
    Service(Arc<str>, Asked, Result<Page, HttpError>),
    State(&'static str, Result<Page, HttpError>),
    Defaults(Result<Page, HttpError>),
    /// Nobody wants to know any more.
    Aborted,
}

/// How something was asked.
#[derive(Debug, Clone, Copy)]
pub(in crate::registry::consul) struct Asked {
    pub(super) how: How,
    /// The state that was known then.
    pub(super) known: Option<Index>,
    at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::registry::consul) enum How {
    /// A blocking query.
    Poll,
    /// A read that is answered at once.
    Read,
    /// The same, of the leader.
    Surely,
}

impl Asked {
    /// How long the next question about the same has to wait.
    pub(super) fn next_at(&self) -> Duration {
        (self.at + plan::GAP).saturating_duration_since(Instant::now())
    }

    fn ask(&self, wait: Duration) -> Ask {
        match (self.how, self.known) {
            (How::Surely, _) => Ask::Surely,
            (How::Poll, Some(index)) => Ask::Beyond(index, wait),
            (How::Poll | How::Read, _) => Ask::Now,
        }
    }
}

/// How so many services are watched: over which connections, and how long each question waits.
#[derive(Debug, Clone, Copy)]
pub(in crate::registry::consul) struct Lanes {
    count: u64,
    wait: Duration,
}

/// The same for one of them.
#[derive(Debug, Clone, Copy)]
pub(in crate::registry::consul) struct Lane {
    number: u16,
    wait: Duration,
}

impl Lanes {
    /// For so many `services`. Where a connection carries one request at a time there is but one lane.
    pub(in crate::registry::consul) fn new(services: usize, multiplexed: bool) -> Self {
        let lanes = if multiplexed { services / crate::registry::consul::STREAMS + 1 } else { 0 };
        Self { count: u64::try_from(lanes).unwrap_or(1), wait: plan::service_wait(services) }
    }

    /// Where a service is watched: it stays with its connection as long as their number stays.
    pub(in crate::registry::consul) fn of(self, name: &str) -> Lane {
        let lane = xxh3_64(name.as_bytes()).checked_rem(self.count).map_or(0, |lane| lane + 1);
        Lane { number: u16::try_from(lane).unwrap_or_default(), wait: self.wait }
    }
}

/// A blocking query for a service that is known in this state, and how it is called off.
pub(in crate::registry::consul) fn watch(
    scope: &ScopeWatch,
    name: &Arc<str>,
    known: Option<Index>,
    lane: Lane,
    after: Duration,
) -> (Asking, AbortHandle) {
    // Should an answer lack its index, it is asked for again, but not in a loop.
    let after = if known.is_none() { after.max(plan::PEER_LIST) } else { after };
    let (api, place, name) = (scope.shared.api.clone(), Arc::clone(&scope.place), Arc::clone(name));
    let asking = async move {
        sleep(after).await;
        let asked = Asked { how: How::Poll, known, at: Instant::now() };
        let page = api.instances(&place, &name, asked.ask(lane.wait), lane.number).await;
        Done::Service(name, asked, page)
    };
    let (asking, handle) = abortable(asking);
    (Box::pin(async move { asking.await.unwrap_or(Done::Aborted) }), handle)
}

impl Session {
    pub(super) fn ask_list(&mut self, how: How, known: Option<Index>, after: Duration) {
        let (api, place) = (self.scope.shared.api.clone(), Arc::clone(&self.scope.place));
        // Without an index there is nothing to wait for.
        let after = if known.is_none() { plan::PEER_LIST } else { after };
        self.open.push(Box::pin(async move {
            sleep(after).await;
            let asked = Asked { how, known, at: Instant::now() };
            let page = api.services(&place, asked.ask(plan::LIST_WAIT)).await;
            Done::List(asked, page)
        }));
    }

    pub(super) fn ask_defaults(&mut self, after: Duration) {
        // Without an index they could not be read to begin with.
        let Some(index) = self.defaults.index else { return };
        let (api, place) = (self.scope.shared.api.clone(), Arc::clone(&self.scope.place));
        self.open.push(Box::pin(async move {
            sleep(after).await;
            Done::Defaults(api.service_defaults(&place, Ask::Beyond(index, plan::DEFAULTS_WAIT)).await)
        }));
    }

    pub(super) fn ask_state(&mut self, state: &'static str, known: Option<Index>, after: Duration) {
        let (api, place) = (self.scope.shared.api.clone(), Arc::clone(&self.scope.place));
        let asking = async move {
            sleep(after).await;
            let ask = known.map_or(Ask::Now, |index| Ask::Beyond(index, plan::LIST_WAIT));
            Done::State(state, api.checks(&place, state, ask).await)
        };
        let (asking, handle) = abortable(asking);
        self.open.push(Box::pin(async move { asking.await.unwrap_or(Done::Aborted) }));
        self.states.retain(|h| !h.is_aborted());
        self.states.push(handle);
    }

    /// A blocking query for a service, unless it has one.
    pub(super) fn poll(&mut self, name: &Arc<str>, after: Duration) {
        let lanes = Lanes::new(self.items.len(), self.multiplexed && self.scope.shared.api.is_tls());
        let Some(item) = self.items.get_mut(name).filter(|item| item.query.is_none()) else { return };
        let (asking, handle) = watch(&self.scope, name, item.index, lanes.of(name), after);
        item.query = Some(handle);
        self.open.push(asking);
    }

    pub(super) fn poll_all(&mut self) {
        let names: Vec<_> = self.items.keys().cloned().collect();
        names.iter().for_each(|name| self.poll(name, Duration::ZERO));
    }

    /// A read of a service that is answered at once.
    pub(super) fn read_service(&mut self, name: &Arc<str>, how: How, after: Duration) {
        let item = self.items.entry(Arc::clone(name)).or_default();
        item.reading = true;
        self.reading += 1;
        let (known, name) = (item.index, Arc::clone(name));
        let (api, place) = (self.scope.shared.api.clone(), Arc::clone(&self.scope.place));
        self.open.push(Box::pin(async move {
            sleep(after).await;
            let asked = Asked { how, known, at: Instant::now() };
            let page = api.instances(&place, &name, asked.ask(Duration::ZERO), 0).await;
            Done::Service(name, asked, page)
        }));
    }

    /// Notes that a service is to be read, now or after the read that is under way.
    pub(super) fn read_again(&mut self, name: Arc<str>) {
        match self.items.get_mut(&name) {
            Some(item) if item.reading => item.again = true,
            _ => {
                self.due.insert(name);
            }
        }
    }

    /// Begins as many reads as may be under way: what is due first, then what is swept.
    pub(super) fn feed(&mut self) {
        while self.reading < READS {
            let next = self.due.pop_first().or_else(|| self.sweep.next());
            let Some(name) = next else { break };
            if self.items.get(&name).is_none_or(|item| !item.reading) {
                self.read_service(&name, How::Read, Duration::ZERO);
            }
        }
        if self.reading == 0 {
            self.sweep.end(Instant::now());
        }
    }

    /// Watches failing checks from where they were before everything was read; if nobody asked then, everything is
    /// read once more, so that nothing in between is missed.
    pub(super) fn watch_states(&mut self, before: States) {
        // Checks of imported services are not among them.
        if self.scope.place.peer.is_some() {
            return;
        }
        if before.is_empty() {
            STATES.iter().for_each(|state| self.ask_state(state, None, Duration::ZERO));
            return self.sweep.want();
        }
        for (state, (failing, index)) in before {
            self.failing.insert(state, failing);
            self.ask_state(state, index, Duration::ZERO);
        }
    }

    /// No service is watched by itself any more.
    pub(super) fn call_off(&mut self) {
        let queries = self.items.values_mut().filter_map(|item: &mut Watched| item.query.take());
        queries.for_each(|handle: AbortHandle| handle.abort());
    }

    /// What is gone from the list counts until it has been read: in mode *each* it would have a query, too.
    pub(super) fn wanted_mode(&self) -> Mode {
        let services = self.list.len().max(self.items.len());
        self.scope.mode(services, self.multiplexed, self.mode)
    }

    /// Goes over to the other strategy if the catalogue's size asks for it. States stay known, so that nothing is missed.
    pub(super) fn change_mode(&mut self) {
        let mode = self.wanted_mode();
        if mode == self.mode {
            return;
        }
        tracing::info!(
            registry = %self.scope.changes.registry(),
            scope = self.scope.scope().as_str(),
            services = self.list.len(),
            "changes are noticed by {}",
            match mode {
                Mode::Each => "a query for each service",
                Mode::Sweep => "sweeping: there are more services than connections",
            }
        );
        self.mode = mode;
        match mode {
            Mode::Each => {
                self.states.drain(..).for_each(|handle| handle.abort());
                self.failing.clear();
                self.poll_all();
            }
            Mode::Sweep => {
                self.call_off();
                self.watch_states(States::new());
            }
        }
    }
}
