//! One collection that one client watches: what it wants, what it has, and what it must be told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, Version};
use crate::resource::snapshot::{CollectionSnapshot, Snapshot};
use crate::session::ledger::{Held, Ledger, Verdict, Waiting};
use crate::session::message::{Content, Mode, Nonce, Request, Response, Selection, Target, Versions};
use crate::session::names::cost;
use crate::session::subscription::Subscription;

/// How a client that asks for changes is told a whole state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wholes {
    /// As everything that came, and all names that went.
    Add,
    /// As a response in full mode, which it tells apart: what is missing is gone.
    Replace,
}

/// One watch.
#[derive(Debug)]
pub(super) struct Watch {
    target: Target,
    wholes: Wholes,
    /// What the client asked for last.
    mode: Mode,
    subscription: Option<Subscription>,
    ledger: Ledger,
    /// What the client said it held, until its first acknowledgement; `None`: of a version that is not ours.
    claimed: BTreeMap<String, Option<Version>>,
    claimed_bytes: usize,
    untold: Waiting,
    /// An answer is owed even if nothing differs.
    owed: bool,
    /// Something happened since it was last found that nothing is to be said.
    stirred: bool,
}

/// A response that has no name yet.
#[derive(Debug)]
pub(super) struct Answer {
    mode: Mode,
    version: Version,
    content: Content,
    removed: Vec<String>,
}

impl Answer {
    pub(super) fn into_response(
        self,
        asked: Arc<str>,
        target: Target,
        nonce: Nonce,
        versions: Versions,
        left_out: usize,
    ) -> Response {
        let Self { mode, version, content, removed } = self;
        Response { asked, target, mode, nonce, version, versions, content, removed, left_out }
    }
}

/// By name, what a client is to be told: there and how, or (`None`) gone.
type News = BTreeMap<String, Option<Arc<Encoded>>>;

impl Watch {
    pub(super) fn new(first: &Request, wholes: Wholes) -> Self {
        Self {
            target: first.target,
            wholes,
            mode: first.mode,
            subscription: None,
            ledger: Ledger::default(),
            claimed: BTreeMap::new(),
            claimed_bytes: 0,
            untold: Waiting::default(),
            owed: true,
            stirred: true,
        }
    }

    pub(super) fn target(&self) -> Target {
        self.target
    }

    /// About how much memory the names that the client gave take.
    pub(super) fn name_bytes(&self) -> usize {
        let wanted = self.subscription.as_ref().map_or(0, |s| s.names().bytes());
        wanted + self.claimed_bytes + self.untold.names.bytes() + self.ledger.name_bytes()
    }

    /// What the client says it holds. Only what it cannot be told about is worth remembering.
    pub(super) fn claim(&mut self, held: BTreeMap<String, String>) {
        if self.mode == Mode::Full || !matches!(self.target, Target::Known(_)) {
            return;
        }
        self.claimed_bytes = held.keys().map(|name| cost(name)).sum();
        self.claimed = held.into_iter().map(|(name, version)| (name, parse(&version))).collect();
        // It is told about these only if it is wrong about them.
        self.untold.names.retain(|name| !self.claimed.contains_key(name));
    }

    /// What a request says about what was sent.
    pub(super) fn judge(&mut self, nonce: &str, refused: bool) -> Verdict {
        let verdict = self.ledger.judge(nonce, refused, &mut self.untold);
        if matches!(verdict, Verdict::Acknowledged(..)) {
            self.claimed.clear();
            self.claimed_bytes = 0;
        }
        verdict
    }

    /// Takes in what a request wants; whether that is something new. `again`: it is about no response.
    pub(super) fn select(&mut self, mode: Mode, selection: Selection, again: bool) -> bool {
        self.mode = mode;
        self.stirred = true;
        let first = self.subscription.is_none();
        let subscription = self.subscription.get_or_insert_default();
        let owed = match selection {
            Selection::Replace(names) => subscription.replace(names),
            Selection::Change { subscribe, unsubscribe } => {
                let changed = subscription.change(first, subscribe, unsubscribe);
                if changed.everything && !first {
                    self.untold.everything = true;
                    // Of these the client may hold what is gone by the time of the answer.
                    self.untold.names.extend(std::mem::take(&mut self.claimed).into_keys());
                    self.claimed_bytes = 0;
                    self.untold.names.extend(subscription.names().iter().cloned());
                }
                if changed.narrowed {
                    self.untold.everything = false;
                    self.untold.names.retain(|name| subscription.names().contains(name));
                }
                for name in &changed.tell {
                    self.claimed.remove(name);
                }
                let owed = changed.everything || !changed.tell.is_empty();
                self.untold.names.extend(changed.tell);
                for name in &changed.dropped {
                    self.untold.names.remove(name);
                }
                owed
            }
        };
        self.owed |= owed || again;
        // Who asks again has lost what it had.
        self.untold.everything |= again && !first && self.wholes == Wholes::Replace;
        owed || again || first
    }

    /// Whether the client waits to be told something.
    pub(super) fn owes(&self) -> bool {
        let wants = self.subscription.as_ref().is_some_and(|s| s.is_everything() || !s.names().is_empty());
        self.owed && wants && !self.ledger.is_pending()
    }

    pub(super) fn on_snapshot(&mut self, old: &Snapshot, new: &Snapshot) {
        if let Target::Known(collection) = self.target {
            self.stirred |= !same(old, new, collection);
        }
    }

    /// What the client is to be told now, if anything.
    pub(super) fn answer(&mut self, content: &Arc<CollectionSnapshot>, largest: usize) -> Option<Answer> {
        if !self.stirred || self.ledger.is_pending() {
            return None;
        }
        if self.everything() && self.wants_whole() && content.bytes() > largest {
            return None;
        }
        let answer = match self.mode {
            Mode::Delta if self.wholes == Wholes::Add || self.can_tell_changes() => self.delta(content),
            Mode::Full | Mode::Delta => self.full(content),
        };
        self.stirred = answer.is_some();
        answer
    }

    /// `answer` goes out as `nonce`.
    pub(super) fn sent(&mut self, nonce: Nonce, answer: &Answer, content: &Arc<CollectionSnapshot>) {
        let content = (self.mode == Mode::Delta).then(|| Arc::clone(content));
        let told = std::mem::take(&mut self.untold);
        self.ledger.sent(nonce, Held { version: answer.version, content }, told);
        self.owed = false;
    }

    fn everything(&self) -> bool {
        self.subscription.as_ref().is_some_and(Subscription::is_everything)
    }

    /// Whether what it has cannot be told from what it wants.
    fn wants_whole(&self) -> bool {
        self.mode == Mode::Full || self.base().is_none() || self.untold.everything
    }

    /// Whether it is known what the client has, or the client has said so.
    fn can_tell_changes(&self) -> bool {
        !self.untold.everything && (self.base().is_some() || !self.claimed.is_empty())
    }

    /// What differences are computed against.
    fn base(&self) -> Option<&Arc<CollectionSnapshot>> {
        self.ledger.held()?.content.as_ref()
    }

    fn full(&self, content: &Arc<CollectionSnapshot>) -> Option<Answer> {
        let subscription = self.subscription.as_ref()?;
        let (version, content) = if subscription.is_everything() {
            (content.version(), Content::Whole(Arc::clone(content)))
        } else if subscription.names().is_empty() {
            return None; // wants nothing
        } else {
            let picked: Vec<_> =
                subscription.names().iter().filter_map(|name| content.get(name)).map(Arc::clone).collect();
            let version = picked.iter().fold(0_u128, |sum, r| sum.wrapping_add(r.share()));
            (Version(version), Content::Picked(picked))
        };
        let known = self.ledger.held().is_some_and(|h| h.version == version);
        let idle = known || self.ledger.refused() == Some(version);
        (self.owed || !idle).then_some(Answer { mode: Mode::Full, version, content, removed: Vec::new() })
    }

    fn delta(&mut self, content: &Arc<CollectionSnapshot>) -> Option<Answer> {
        let version = content.version();
        if !self.owed && self.ledger.refused() == Some(version) {
            return None;
        }
        if self.everything() && self.wants_whole() && self.claimed.is_empty() {
            let had = self.base().into_iter().flat_map(|base| base.iter()).map(|r| r.id.name.as_str());
            let known = had.chain(self.untold.names.iter().map(String::as_str));
            let gone: BTreeSet<&str> = known.filter(|name| content.get(name).is_none()).collect();
            let removed = gone.into_iter().map(String::from).collect();
            return Some(Answer {
                mode: Mode::Delta,
                version,
                content: Content::Whole(Arc::clone(content)),
                removed,
            });
        }
        let mut news = self.news(content);
        news.extend(self.untold.names.iter().map(|name| (name.clone(), content.get(name).map(Arc::clone))));
        if news.is_empty() && !self.owed {
            self.ledger.advance(version, content);
            return None;
        }
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for (name, resource) in news {
            match resource {
                Some(resource) => changed.push(resource),
                None => removed.push(name),
            }
        }
        Some(Answer { mode: Mode::Delta, version, content: Content::Picked(changed), removed })
    }

    /// What leads from what the client has, or says it has, to `content`.
    fn news(&self, content: &CollectionSnapshot) -> News {
        let Some(subscription) = self.subscription.as_ref() else { return News::new() };
        match (self.base(), subscription.is_everything()) {
            (Some(base), true) => {
                let difference = content.diff(base);
                let changed = difference.changed.into_iter().map(|r| (name_of(&r), Some(r)));
                let removed = difference.removed.iter().map(|name| (name.to_string(), None));
                changed.chain(removed).collect()
            }
            (None, true) => {
                let gone = self.claimed.keys().filter(|name| content.get(name).is_none());
                let news = content.iter().filter(|r| self.claims(r.id.name.as_str()) != Some(r.version));
                let news = news.map(|r| (name_of(r), Some(Arc::clone(r))));
                news.chain(gone.map(|name| (name.clone(), None))).collect()
            }
            (Some(base), false) => {
                let named = subscription.names().iter().map(|name| (name, base.get(name), content.get(name)));
                let news = named.filter(|(_, old, now)| old.map(|r| r.version) != now.map(|r| r.version));
                news.map(|(name, _, now)| (name.clone(), now.map(Arc::clone))).collect()
            }
            // Names that it did not claim are untold.
            (None, false) => {
                let claimed = subscription.names().iter().filter(|name| self.claimed.contains_key(*name));
                let named = claimed.map(|name| (name, content.get(name)));
                let news =
                    named.filter(|(name, now)| now.is_none_or(|r| self.claims(name) != Some(r.version)));
                news.map(|(name, now)| (name.clone(), now.map(Arc::clone))).collect()
            }
        }
    }

    fn claims(&self, name: &str) -> Option<Version> {
        self.claimed.get(name).copied().flatten()
    }
}

/// A version as we print it; anything else is not ours.
fn parse(version: &str) -> Option<Version> {
    let ours = version.len() == 32 && version.bytes().all(|b| b.is_ascii_hexdigit());
    u128::from_str_radix(version, 16).ok().filter(|_| ours).map(Version)
}

fn name_of(resource: &Encoded) -> String {
    resource.id.name.to_string()
}

fn same(old: &Snapshot, new: &Snapshot, collection: Collection) -> bool {
    match (old.get(collection), new.get(collection)) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        (None, None) => true,
        _ => false,
    }
}
