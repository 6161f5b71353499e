//! What an answer changes, and what is asked next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::AbortHandle;
use tokio::time::Instant;

use super::queries::{Asked, How};
use super::{RETRY, Session, Watched};
use crate::model::change::{Cause, Change};
use crate::registry::RegistryError;
use crate::registry::consul::client::{Index, Page};
use crate::registry::consul::decode::{List, Read};
use crate::registry::consul::plan::{self, Mode};
use crate::registry::consul::scope::{ScopeWatch, failed};
use crate::registry::http::HttpError;

impl Session {
    /// A query of the session as a whole failed: once is no reason to read everything anew.
    fn once_more(&mut self, e: HttpError) -> Result<(), RegistryError> {
        self.heed(&e);
        if e.is_denied() || std::mem::replace(&mut self.failed, true) {
            return Err(failed(e));
        }
        tracing::debug!("{e}; once more");
        Ok(())
    }

    /// A server that has had enough of us is asked by fewer connections.
    fn heed(&mut self, e: &HttpError) {
        if e.is_too_much() {
            self.scope.shared.too_many();
            self.change_mode();
        }
    }

    pub(super) fn on_list(
        &mut self,
        asked: Asked,
        page: Result<Page, HttpError>,
    ) -> Result<(), RegistryError> {
        let page = match page {
            Ok(page) => page,
            Err(e) => {
                self.once_more(e)?;
                self.ask_list(asked.how, asked.known, RETRY);
                return Ok(());
            }
        };
        let broke_off = std::mem::take(&mut self.failed);
        self.scope.shared.board.answered(self.scope.scope());
        if self.went_back(&asked, &page) {
            if asked.how != How::Surely {
                self.ask_list(How::Surely, asked.known, Duration::ZERO);
            }
            return Ok(());
        }
        // Any registration wakes the list, which is hardly ever another one then.
        let gist = self.scope.gist(&page);
        let same = gist.is_some() && gist == self.gist;
        let list = if same { None } else { Some(self.scope.list(&page).map_err(failed)?) };
        let emptied = list.as_ref().is_some_and(List::is_empty) && !self.list.is_empty();
        if self.lost_rights(&page, emptied) {
            return Ok(());
        }
        let lacks = |list: &List| self.items.keys().any(|name| !list.contains_key(name));
        if broke_off && list.as_ref().is_some_and(lacks) {
            self.over = true;
            return Ok(());
        }
        if let Some(mut memory) = self.scope.memory() {
            memory.saw(page.index);
        }
        if self.mode == Mode::Sweep && page.index != self.index {
            self.sweep.want();
        }
        (self.index, self.multiplexed) = (page.index, page.is_multiplexed());
        if let Some(list) = list {
            self.take_list(list);
            self.gist = gist;
        }
        self.change_mode();
        self.ask_list(How::Poll, self.index, plan::list_gap(page.body().len()));
        Ok(())
    }

    /// Takes in a list that is not as it was.
    fn take_list(&mut self, list: List) {
        let come = list.keys().filter(|name| !self.items.contains_key(*name)).cloned();
        let gone = self.items.keys().filter(|name| !list.contains_key(*name)).cloned();
        let mut due: Vec<Arc<str>> = come.chain(gone).collect();
        if self.mode == Mode::Sweep {
            let tags =
                list.iter().filter(|(name, tags)| self.list.get(*name).is_some_and(|had| had != *tags));
            due.extend(tags.map(|(name, _)| Arc::clone(name)));
        }
        due.into_iter().for_each(|name| self.read_again(name));
        self.list = list;
    }

    pub(super) fn on_service(
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
                self.heed(&e);
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
        let lacks = self.items.get(name).filter(|item| item.read.has_more_than(&read));
        if lacks.is_some_and(|item| item.failures > 0) {
            self.over = true;
        } else if page.streamed && lacks.is_some() {
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
            self.change_mode();
        } else if std::mem::take(&mut item.again) {
            self.due.insert(Arc::clone(name));
        } else if self.mode == Mode::Each {
            self.poll(name, asked.next_at());
        }
    }

    pub(super) fn on_state(
        &mut self,
        state: &'static str,
        page: Result<Page, HttpError>,
    ) -> Result<(), RegistryError> {
        let page = match page {
            Ok(page) => page,
            Err(e) => {
                self.once_more(e)?;
                self.ask_state(state, None, RETRY);
                return Ok(());
            }
        };
        let now = ScopeWatch::failing(&page).map_err(failed)?;
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

    pub(super) fn on_defaults(&mut self, page: Result<Page, HttpError>) {
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
}
