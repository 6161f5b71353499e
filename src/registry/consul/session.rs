//! One scope being watched: what is asked, and what an answer changes.
//!
//! By either strategy the list of services is a blocking query. With *each*, so is every service: its own change wakes
//! its own query and nothing else. With *sweep*, for catalogues with more services than the server grants connections,
//! blocking queries on failing checks say which services to read again at once, and a registration somewhere (the list
//! wakes, without saying where) lets all services be read again in turn, those that changed last first.
//!
//! An answer whose index went back is asked for again of the leader, and so is one that lacks an instance and comes from
//! an agent's own stream. If the index is still behind, or rights were lost, the session ends and everything is read anew;
//! so it does if something is missing from the first answer after a query broke off: a server that has forgotten it may have
//! counted past the index that was known, and what is missing then was not deregistered.
//! While a read is in doubt nothing is taken away.

mod answers;
pub(super) mod queries;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::AbortHandle;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until};

use self::queries::{Asking, Done, How};
use crate::model::change::{Batch, Change};
use crate::registry::RegistryError;
use crate::registry::again::Again;
use crate::registry::consul::ahead::Ahead;
use crate::registry::consul::client::Index;
use crate::registry::consul::decode::{Failing, List, Read};
use crate::registry::consul::plan::{self, Mode, Sweep};
use crate::registry::consul::scope::{Complete, Defaults, ScopeWatch, States};

/// Answers that are taken together: a burst of changes becomes few batches.
const TOGETHER: usize = 256;
/// A query that failed is asked once more after this; the second failure in a row ends the life.
const RETRY: Duration = Duration::from_secs(1);

pub(super) struct Session {
    scope: ScopeWatch,
    list: List,
    gist: Option<u128>,
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
    open: FuturesUnordered<Asking>,
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
    /// A query of the session as a whole has failed since the list was last answered.
    failed: bool,
    over: bool,
    /// Something that the scope lacks is held until further complete reads agree.
    again: Again,
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
    pub(super) fn new(scope: ScopeWatch, complete: Complete, mut ahead: Ahead) -> Self {
        let now = Instant::now();
        let watched = |(name, (read, index))| {
            let (query, failures) = (ahead.queries.remove(&name), u8::from(ahead.failed.contains(&name)));
            (name, Watched { read, index, query, failures, ..Watched::default() })
        };
        let items = complete.reads.into_iter().map(watched).collect();
        Self {
            list: complete.list,
            gist: complete.gist,
            index: complete.index,
            items,
            defaults: complete.defaults,
            failing: BTreeMap::new(),
            filtered: complete.filtered,
            multiplexed: complete.multiplexed,
            doubt: complete.doubt.map(|_| now + plan::doubt_rest(complete.took)),
            took: complete.took,
            mode: Mode::Sweep,
            sweep: Sweep::new(now),
            open: ahead.open,
            states: Vec::new(),
            states_before: complete.states,
            due: ahead.stirred,
            reading: 0,
            out: Vec::new(),
            moves: 0,
            failed: false,
            over: false,
            again: Again::new(scope.changes.clone()),
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
                () = self.again.wait() => self.over = true,
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
                self.call_off();
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
            Done::List(asked, page) => self.on_list(asked, page),
            Done::Service(name, asked, page) => self.on_service(&name, asked, page),
            Done::State(state, page) => self.on_state(state, page),
            Done::Defaults(page) => {
                self.on_defaults(page);
                Ok(())
            }
            Done::Aborted => Ok(()),
        }
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
