//! One scope: a complete read, then a session of watching, and again from the start where something was amiss.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use crate::model::change::{Batch, Change, Item, Trust};
use crate::model::service::{Protocol, Scope};
use crate::pipeline::intake::Changes;
use crate::registry::RegistryError;
use crate::registry::consul::Shared;
use crate::registry::consul::ahead::Ahead;
use crate::registry::consul::client::{Ask, Index, Page, READS};
use crate::registry::consul::decode::{self, Failing, List, Read};
use crate::registry::consul::memory::{Memory, Reads, Round};
use crate::registry::consul::place::Place;
use crate::registry::consul::plan::{self, Mode};
use crate::registry::consul::session::Session;
use crate::registry::consul::session::queries::Lanes;
use crate::registry::consul::settings::Consistency;
use crate::registry::http::HttpError;

/// Complete reads begin at least this far apart: something that keeps sending us back to the start must not become a storm.
const APART: Duration = Duration::from_secs(2);

/// States of checks that are not well.
pub(super) const STATES: [&str; 2] = ["critical", "warning"];

/// Failing checks by their state.
pub(super) type States = BTreeMap<&'static str, (BTreeSet<Failing>, Option<Index>)>;

/// One scope in one life.
#[derive(Debug, Clone)]
pub(super) struct ScopeWatch {
    pub(super) shared: Arc<Shared>,
    pub(super) place: Arc<Place>,
    at: usize,
    pub(super) changes: Changes,
}

/// A complete read.
#[derive(Debug)]
pub(super) struct Complete {
    pub(super) list: List,
    /// [`decode::gist`] of it.
    pub(super) gist: Option<u128>,
    /// Of the list; absent for peers.
    pub(super) index: Option<Index>,
    /// Every service of the list, with the state that its answer showed.
    pub(super) reads: Reads,
    pub(super) defaults: Defaults,
    /// Failing checks as they were before the services were read; empty if nobody will watch them.
    pub(super) states: States,
    /// Something was left out for want of rights.
    pub(super) filtered: bool,
    /// One connection carries many requests.
    pub(super) multiplexed: bool,
    /// Why it should not be believed.
    pub(super) doubt: Option<Arc<str>>,
    pub(super) took: Duration,
}

/// What the answers about services came to.
struct Rest {
    reads: Reads,
    ahead: Ahead,
    filtered: bool,
}

/// The protocols in `service-defaults`. `None`: they cannot be read, which is no fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) protocols: BTreeMap<Arc<str>, Protocol>,
    pub(super) index: Option<Index>,
}

impl ScopeWatch {
    pub(super) fn new(shared: &Arc<Shared>, at: usize, changes: Changes) -> Option<Self> {
        let place = Arc::new(shared.places.get(at)?.0.clone());
        Some(Self { shared: Arc::clone(shared), place, at, changes })
    }

    pub(super) fn scope(&self) -> &Scope {
        &self.place.scope
    }

    /// What is known of the scope beyond this life.
    pub(super) fn memory(&self) -> Option<MutexGuard<'_, Memory>> {
        let (_, memory) = self.shared.places.get(self.at)?;
        Some(memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn failed(&self, why: &RegistryError) {
        self.shared.board.failed(self.scope(), why.to_string());
    }

    /// Reads and watches until something fails. Sets `alive` once it has been read.
    pub(super) async fn run(&self, alive: &AtomicBool) -> Result<Infallible, RegistryError> {
        loop {
            let began = Instant::now();
            let (complete, ahead) = self.read().await?;
            self.say(&complete).await?;
            alive.store(true, Ordering::Relaxed);
            Session::new(self.clone(), complete, ahead).watch().await?;
            sleep_until(began + APART).await;
        }
    }

    /// Everything that the scope holds, with what watches it already; an error if any part of it could not be had.
    async fn read(&self) -> Result<(Complete, Ahead), RegistryError> {
        let (api, began) = (&self.shared.api, Instant::now());
        let page = api.services(&self.place, Ask::Now).await.map_err(failed)?;
        let list = self.list(&page).map_err(failed)?;
        let defaults = self.defaults().await;
        let states = self.states(list.len(), page.is_multiplexed()).await.map_err(failed)?;
        let (multiplexed, index) = (page.is_multiplexed(), page.index);
        let ahead = match self.mode(list.len(), multiplexed, Mode::Sweep) {
            Mode::Each => Ahead::each(Lanes::new(list.len(), multiplexed && api.is_tls())),
            Mode::Sweep => Ahead::default(),
        };
        let Rest { reads, ahead, filtered } = self.rest(&list, &defaults, ahead).await?;
        let blind = page.denies && !self.shared.settings.http.credentials.are_some();
        let mut complete = Complete {
            list,
            gist: self.gist(&page),
            index,
            reads,
            defaults,
            states,
            filtered: filtered || page.filtered,
            multiplexed,
            doubt: None,
            took: began.elapsed(),
        };
        complete.doubt = self.weigh(&complete, blind);
        Ok((complete, ahead))
    }

    /// Every service of the list.
    async fn rest(&self, list: &List, defaults: &Defaults, ahead: Ahead) -> Result<Rest, RegistryError> {
        let mut rest = Rest { reads: Reads::new(), ahead, filtered: false };
        let one = |name| self.read_one(name, defaults);
        let mut reading = std::pin::pin!(stream::iter(list.keys().cloned()).map(one).buffer_unordered(READS));
        loop {
            // Answers go as soon as they are read: together they are ten times what is made of them.
            let (name, read, page) = tokio::select! {
                next = reading.next() => match next {
                    Some(one) => one?,
                    None => return Ok(rest),
                },
                Some(()) = rest.ahead.stirs(&self.shared) => continue,
            };
            rest.filtered |= page.filtered;
            rest.ahead.read(self, &name, page.index);
            rest.reads.insert(name, (read, page.index));
        }
    }

    async fn read_one(
        &self,
        name: Arc<str>,
        defaults: &Defaults,
    ) -> Result<(Arc<str>, Read, Page), RegistryError> {
        let api = &self.shared.api;
        let mut page = api.instances(&self.place, &name, Ask::Now, 0).await.map_err(failed)?;
        let mut read = self.instances(&name, &page, defaults);
        let stale = matches!(self.shared.settings.consistency, Consistency::Stale(_));
        if stale && read.instances.is_empty() {
            // It is in the list: a server that lags behind may not have heard of it.
            page = api.instances(&self.place, &name, Ask::Surely, 0).await.map_err(failed)?;
            read = self.instances(&name, &page, defaults);
        }
        Ok((name, read, page))
    }

    /// Why a complete read should not be believed.
    fn weigh(&self, complete: &Complete, blind: bool) -> Option<Arc<str>> {
        let round = Round {
            index: complete.index,
            filtered: complete.filtered,
            anonymous_is_blind: blind,
            is_home: self.place.is_home(),
            reads: &complete.reads,
        };
        match self.memory()?.weigh(&round, Instant::now()) {
            Trust::Doubtful(why) => Some(why),
            Trust::Complete => None,
        }
    }

    async fn say(&self, complete: &Complete) -> Result<(), RegistryError> {
        let items = complete.reads.iter().filter_map(|(name, (read, _))| self.item(name, read)).collect();
        let trust = complete.doubt.clone().map_or(Trust::Complete, Trust::Doubtful);
        self.changes.send(Batch(vec![Change::Reset { scope: self.scope().clone(), items, trust }])).await?;
        let faults = complete.reads.iter().filter(|(_, (read, _))| !read.faults.is_empty());
        let faults = faults.map(|(name, (read, _))| (Arc::clone(name), read.faults.clone())).collect();
        self.shared.board.read(self.scope(), complete.doubt.clone(), faults);
        Ok(())
    }

    /// What the mesh hears of a service; nothing if there is nothing of a kind that we take.
    pub(super) fn item(&self, name: &str, read: &Read) -> Option<Item> {
        if read.senseless {
            let why = read.faults.join("; ");
            return Some(Item::Refused(self.place.key(name), why.into()));
        }
        read.service.as_ref().map(|s| Item::Service(Arc::clone(s)))
    }

    pub(super) fn list(&self, page: &Page) -> Result<List, HttpError> {
        let read = if self.place.peer.is_some() { decode::imported } else { decode::services };
        read(page.body()).map_err(|why| page.unreadable(&why))
    }

    /// Two lists of the same gist are the same; `None`: it has to be read to be compared.
    pub(super) fn gist(&self, page: &Page) -> Option<u128> {
        if self.place.peer.is_some() { None } else { decode::gist(page.body()) }
    }

    /// What an answer about a service says. One that makes no sense is that service's own affair: it is named, and what is
    /// known of it stays.
    pub(super) fn instances(&self, name: &Arc<str>, page: &Page, defaults: &Defaults) -> Read {
        let (options, default) = (&self.shared.settings.instances, defaults.protocols.get(name).copied());
        let read = decode::instances(name, page.body(), &self.place, options, default);
        read.unwrap_or_else(|why| {
            let why = format!("{name}: {}", page.unreadable(&why));
            Read { faults: vec![why], senseless: true, ..Read::default() }
        })
    }

    /// Failing checks, if they are to be watched.
    async fn states(&self, services: usize, multiplexed: bool) -> Result<States, HttpError> {
        let mut states = States::new();
        if self.mode(services, multiplexed, Mode::Sweep) == Mode::Each || self.place.peer.is_some() {
            return Ok(states);
        }
        for state in STATES {
            let page = self.shared.api.checks(&self.place, state, Ask::Now).await?;
            states.insert(state, (Self::failing(&page)?, page.index));
        }
        Ok(states)
    }

    /// How changes of so many services are to be noticed, by one who is in mode `now`.
    pub(super) fn mode(&self, services: usize, multiplexed: bool, now: Mode) -> Mode {
        plan::mode(self.shared.settings.strategy, services, self.shared.each(multiplexed), now)
    }

    pub(super) fn failing(page: &Page) -> Result<BTreeSet<Failing>, HttpError> {
        decode::failing(page.body()).map_err(|why| page.unreadable(&why))
    }

    async fn defaults(&self) -> Defaults {
        if !self.shared.settings.instances.service_defaults || self.place.peer.is_some() {
            return Defaults::default();
        }
        let page = self.shared.api.service_defaults(&self.place, Ask::Now).await;
        page.ok().and_then(|page| Self::read_defaults(&page)).unwrap_or_else(|| {
            tracing::info!(
                registry = %self.changes.registry(),
                scope = self.scope().as_str(),
                "service-defaults cannot be read, so protocols come from elsewhere"
            );
            Defaults::default()
        })
    }

    pub(super) fn read_defaults(page: &Page) -> Option<Defaults> {
        let protocols = decode::service_defaults(page.body()).ok()?;
        Some(Defaults { protocols, index: page.index })
    }
}

/// A question that failed ends the life.
pub(super) fn failed(e: HttpError) -> RegistryError {
    RegistryError::Failed(e.to_string())
}
