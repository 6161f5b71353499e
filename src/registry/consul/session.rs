//! One scope being watched: what is asked, and what an answer changes.
//!
//! By either strategy the list of services is a blocking query. With *each*, so is every service: its own change wakes
//! its own query and nothing else. With *sweep*, for catalogues with more services than the server grants connections,
//! blocking queries on failing checks say which services to read again at once, and a registration somewhere (the list
//! wakes, without saying where) lets all services be read again in turn, those that changed last first.
//!
//! An answer whose index went back is asked for again of the leader, and so is one that lacks an instance and comes from
//! an agent's own stream. If the index is still behind, or rights were lost, the session ends and everything is read anew.
//! While a read is in doubt nothing is taken away.

mod queries;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::AbortHandle;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::time::{Instant, sleep_until};

use self::queries::{Asked, Done, How};
use crate::model::change::{Batch, Cause, Change};
use crate::registry::RegistryError;
use crate::registry::consul::client::{Index, Page};
use crate::registry::consul::decode::{Failing, List, Read};
use crate::registry::consul::plan::{self, Mode, Sweep};
use crate::registry::consul::scope::{Complete, Defaults, ScopeWatch, States, failed};
use crate::registry::http::HttpError;

/// Answers that are taken together: a burst of changes becomes few batches.
const TOGETHER: usize = 256;
/// A query that failed is asked once more after this; the second failure in a row ends the life.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Session {
    scope: ScopeWatch,
    list: List,
    index: Option<Index>,
    items: BTreeMap<Arc<str>, Watched>,
    defaults: Defaults,
    failing: BTreeMap<&'static str, BTreeSet<Failing>>,
    /// As the complete read had it: more omissions than that mean lost rights.
    filtered: bool,
    multiplexed: bool,
    /// When a doubtful read is repeated.
    doubt: Option<Instant>,
    /// How long the complete read took.
    took: Duration,
    mode: Mode,
    sweep: Sweep,
    open: FuturesUnordered<BoxFuture<'static, Done>>,
    /// The queries on failing checks.
    states: Vec<AbortHandle>,
    /// What they said before the complete read.
    states_before: States,
    /// To be read now.
    due: BTreeSet<Arc<str>>,
    reading: usize,
    out: Vec<Change>,
    /// Counts changes: what changed last is swept first.
    moves: u64,
    /// The server was found to grant fewer connections than we wanted.
    refused: bool,
    over: bool,
}

/// One service.
#[derive(Debug, Default)]
struct Watched {
    /// What was last said of it.
    read: Read,
    index: Option<Index>,
    failures: u8,
    moved: u64,
    /// Its blocking query.
    query: Option<AbortHandle>,
    reading: bool,
    /// It is to be read once more after the read that is under way.
    again: bool,
}

impl Session {
    pub(super) fn new(scope: ScopeWatch, complete: Complete) -> Self {
        let now = Instant::now();
        let watched = |(name, (read, index))| (name, Watched { read, index, ..Watched::default() });
        Self {
            list: complete.list,
            index: complete.index,
            items: complete.reads.into_iter().map(watched).collect(),
            defaults: complete.defaults,
            failing: BTreeMap::new(),
            filtered: complete.filtered,
            multiplexed: complete.multiplexed,
            doubt: complete.doubt.map(|_| now + plan::doubt_rest(complete.took)),
            took: complete.took,
            mode: Mode::Sweep,
            sweep: Sweep::new(now),
            open: FuturesUnordered::new(),
            states: Vec::new(),
            states_before: complete.states,
            due: BTreeSet::new(),
            reading: 0,
            out: Vec::new(),
            moves: 0,
            refused: false,
            over: false,
            scope,
        }
    }

    /// Watches until everything should be read anew.
    pub(super) async fn watch(mut self) -> Result<(), RegistryError> {
        self.begin();
        while !self.over {
            self.flush().await?;
            self.feed();
            let wake = self.wake();
            tokio::select! {
                Some(done) = self.open.next() => self.take(done)?,
                () = sleep_until(wake) => self.tick(),
            }
            for _ in 1..TOGETHER {
                let Some(Some(done)) = self.open.next().now_or_never() else { break };
                self.take(done)?;
            }
        }
        self.flush().await
    }

    fn begin(&mut self) {
        if self.doubt.is_some() {
            // The read as a whole is not believed; what it says without taking anything away is.
            let memory = self.scope.memory();
            let sound = |name: &str, read: &Read| memory.as_ref().is_none_or(|m| !m.misses(name, read));
            let sound = self.items.iter().filter(|(name, w)| sound(name, &w.read));
            self.out.extend(sound.filter_map(|(name, w)| self.scope.item(name, &w.read)).map(Change::Upsert));
        }
        let mode = self.wanted_mode();
        self.ask_list(How::Poll, self.index, Duration::ZERO);
        self.ask_defaults(Duration::ZERO);
        self.mode = mode;
        match mode {
            Mode::Each => self.poll_all(),
            Mode::Sweep => {
                let before = std::mem::take(&mut self.states_before);
                self.watch_states(before);
            }
        }
    }

    async fn flush(&mut self) -> Result<(), RegistryError> {
        if !self.out.is_empty() {
            self.scope.changes.send(Batch(std::mem::take(&mut self.out))).await?;
        }
        Ok(())
    }

    fn take(&mut self, done: Done) -> Result<(), RegistryError> {
        match done {
            Done::List(asked, page) => self.on_list(asked, page.map_err(failed)?),
            Done::Service(name, asked, page) => self.on_service(&name, asked, page),
            Done::State(state, page) => self.on_state(state, &page.map_err(failed)?),
            Done::Defaults(page) => {
                self.on_defaults(page);
                Ok(())
            }
            Done::Aborted => Ok(()),
        }
    }

    fn on_list(&mut self, asked: Asked, page: Page) -> Result<(), RegistryError> {
        let list = self.scope.list(&page).map_err(failed)?;
        self.scope.shared.board.answered(self.scope.scope());
        if self.went_back(&asked, &page) {
            if asked.how != How::Surely {
                self.ask_list(How::Surely, asked.known, Duration::ZERO);
            }
            return Ok(());
        }
        if self.lost_rights(&page, list.is_empty() && !self.list.is_empty()) {
            return Ok(());
        }
        if let Some(mut memory) = self.scope.memory() {
            memory.saw(page.index);
        }
        let come = list.keys().filter(|name| !self.items.contains_key(*name)).cloned();
        let gone = self.items.keys().filter(|name| !list.contains_key(*name)).cloned();
        let mut due: Vec<Arc<str>> = come.chain(gone).collect();
        if self.mode == Mode::Sweep && page.index != self.index {
            let tags =
                list.iter().filter(|(name, tags)| self.list.get(*name).is_some_and(|had| had != *tags));
            due.extend(tags.map(|(name, _)| Arc::clone(name)));
            self.sweep.want();
        }
        due.into_iter().for_each(|name| self.read_again(name));
        (self.list, self.index, self.multiplexed) = (list, page.index, page.is_multiplexed());
        self.change_mode();
        self.ask_list(How::Poll, self.index, plan::list_gap(page.body().len()));
        Ok(())
    }

    fn on_service(
        &mut self,
        name: &Arc<str>,
        asked: Asked,
        page: Result<Page, HttpError>,
    ) -> Result<(), RegistryError> {
        if asked.how != How::Poll {
            self.reading = self.reading.saturating_sub(1);
        }
        // It may have gone meanwhile.
        let Some(item) = self.items.get_mut(name) else { return Ok(()) };
        if asked.how == How::Poll {
            item.query = None;
        } else {
            item.reading = false;
        }
        let page = match page {
            Ok(page) => page,
            Err(e) if item.failures == 0 && !e.is_denied() => {
                item.failures += 1;
                if e.status().is_some_and(|s| s.as_u16() == 429)
                    && !std::mem::replace(&mut self.refused, true)
                {
                    self.scope.shared.too_many();
                    self.change_mode();
                }
                tracing::debug!("{e}; once more");
                self.read_service(name, How::Read, RETRY);
                return Ok(());
            }
            Err(e) => return Err(failed(e)),
        };
        if self.went_back(&asked, &page) {
            if asked.how != How::Surely {
                self.read_service(name, How::Surely, Duration::ZERO);
            }
            return Ok(());
        }
        let read = self.scope.instances(name, &page, &self.defaults);
        if page.streamed && self.items.get(name).is_some_and(|item| item.read.has_more_than(&read)) {
            // A plain answer comes from the leader, and says whether rights are why something is missing.
            self.read_service(name, How::Surely, Duration::ZERO);
        } else if !self.lost_rights(&page, read.instances.is_empty()) {
            self.judge(name, read, page.index);
            self.go_on(name, &asked);
        }
        Ok(())
    }

    /// Takes in what is known of a service now.
    fn judge(&mut self, name: &Arc<str>, read: Read, index: Option<Index>) {
        let Some(item) = self.items.get_mut(name) else { return };
        (item.index, item.failures) = (index, 0);
        if item.read == read {
            return;
        }
        if let Some(mut memory) = self.scope.memory() {
            if self.doubt.is_some() && memory.misses(name, &read) {
                return;
            }
            memory.believe(name, &read.instances);
        }
        if item.read.faults != read.faults {
            self.scope.shared.board.service(self.scope.scope(), name, &read.faults);
        }
        let had = self.scope.item(name, &item.read);
        match self.scope.item(name, &read) {
            Some(now) if had.as_ref() != Some(&now) => self.out.push(Change::Upsert(now)),
            None if had.is_some() => {
                let cause = if item.read.healthy() == 0 { Cause::Unhealthy } else { Cause::Deregistered };
                self.out.push(Change::Remove(self.scope.place.key(name), cause));
            }
            _ => {}
        }
        // Something came back: perhaps all has.
        let soon = Instant::now() + plan::hope_rest(self.took);
        self.doubt = self.doubt.map(|at| at.min(soon));
        self.moves += 1;
        (item.read, item.moved) = (read, self.moves);
    }

    /// What is asked next about a service that was just answered.
    fn go_on(&mut self, name: &Arc<str>, asked: &Asked) {
        let listed = self.list.contains_key(name);
        let Some(item) = self.items.get_mut(name) else { return };
        if !listed && item.read.instances.is_empty() {
            item.query.take().iter().for_each(AbortHandle::abort);
            self.items.remove(name);
        } else if std::mem::take(&mut item.again) {
            self.due.insert(Arc::clone(name));
        } else if self.mode == Mode::Each {
            self.poll(name, asked.next_at());
        }
    }

    fn on_state(&mut self, state: &'static str, page: &Page) -> Result<(), RegistryError> {
        let now = ScopeWatch::failing(page).map_err(failed)?;
        let had = self.failing.insert(state, now.clone());
        let changed = had.iter().flat_map(|had| had.symmetric_difference(&now));
        let mut due = BTreeSet::new();
        for check in changed {
            if check.service.is_empty() {
                let on_node = |w: &Watched| w.read.nodes.iter().any(|n| **n == *check.node);
                due.extend(self.items.iter().filter(|(_, w)| on_node(w)).map(|(name, _)| Arc::clone(name)));
            } else {
                due.extend(self.list.get_key_value(&*check.service).map(|(name, _)| Arc::clone(name)));
            }
        }
        due.into_iter().for_each(|name| self.read_again(name));
        self.ask_state(state, page.index, plan::GAP);
        Ok(())
    }

    fn on_defaults(&mut self, page: Result<Page, HttpError>) {
        let read = page.ok().and_then(|page| ScopeWatch::read_defaults(&page));
        let Some(now) = read else { return self.ask_defaults(plan::DEFAULTS_RETRY) };
        let differs = |name: &&Arc<str>| now.protocols.get(*name) != self.defaults.protocols.get(*name);
        let due: Vec<_> = self.items.keys().filter(differs).cloned().collect();
        self.defaults = now;
        due.into_iter().for_each(|name| self.read_again(name));
        self.ask_defaults(plan::GAP);
    }

    /// Whether an answer shows an older state than is known. If the leader says so as well, the session is over.
    fn went_back(&mut self, asked: &Asked, page: &Page) -> bool {
        let back = asked.known.zip(page.index).is_some_and(|(known, now)| now < known);
        self.over |= back && asked.how == How::Surely;
        back
    }

    /// Whether an answer leaves out more than the complete read did; then the session is over.
    fn lost_rights(&mut self, page: &Page, empty: bool) -> bool {
        let blind = empty && page.denies && !self.scope.shared.settings.http.credentials.are_some();
        let lost = page.filtered && !self.filtered || blind && self.doubt.is_none();
        self.over |= lost;
        lost
    }

    /// When something is to be done even if nothing is heard.
    fn wake(&self) -> Instant {
        let far = Instant::now() + plan::NET;
        let sweep = if self.mode == Mode::Sweep { self.sweep.wake() } else { None };
        [self.doubt, sweep].into_iter().flatten().min().unwrap_or(far)
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.over |= self.doubt.is_some_and(|at| at <= now);
        if self.mode == Mode::Sweep {
            let items = &self.items;
            self.sweep
                .begin_if_due(now, || items.iter().map(|(name, w)| (w.moved, Arc::clone(name))).collect());
        }
    }
}
