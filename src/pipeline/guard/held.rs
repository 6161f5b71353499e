//! Why something is held and what lets it go: pure.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::model::limits::Limits;
use crate::model::time::Moment;
use crate::pipeline::guard::loss::{Slot, What};

/// Why something that its registry does not show any more is still served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The read that lacked it is not believed, for this reason.
    Doubt(Arc<str>),
    /// The scope that it was in shows nothing at all any more.
    Scope(Arc<str>),
    /// The same read lacked too many others.
    Shrink {
        /// Endpoints that it lacked, less those that came in their place.
        gone: usize,
        /// Endpoints of the registry.
        all: usize,
        /// How many may go, in percent.
        limit: u8,
    },
    /// Nothing would be left of its service.
    Last,
    /// A person froze it.
    Frozen,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Doubt(why) => write!(f, "the read that lacks it is not believed: {why}"),
            Self::Scope(scope) => {
                write!(f, "nothing at all is left in {scope}, and the registry did not say why")
            }
            Self::Shrink { gone, all, limit } => write!(
                f,
                "{gone} of {all} endpoints of the registry vanished at once without a word, more than {limit}% (registryShrinkLimit)"
            ),
            Self::Last => f.write_str(
                "nothing else is left of the service, and the registry did not say why (emptyServiceHold)",
            ),
            Self::Frozen => f.write_str("frozen by hand"),
        }
    }
}

/// Since when and why one thing is held, and how far it is from being let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Why; the latest reason.
    pub why: Why,
    /// Since when.
    pub since: Moment,
    /// Further reads that agreed and are believed.
    pub confirmed: u32,
    /// The first read that lacked it was not believed.
    pub doubted: bool,
    /// The registry itself said that it is gone: only a person keeps it.
    pub said: bool,
}

impl Mark {
    fn new(why: Why, said: bool, now: Moment) -> Self {
        let doubted = matches!(why, Why::Doubt(_));
        Self { why, since: now, confirmed: 0, doubted, said }
    }

    /// When it goes, if the clock alone decides about it by now.
    #[must_use]
    pub fn due(&self, limits: &Limits) -> Option<Moment> {
        let confirmed = self.why != Why::Frozen && self.confirmed >= limits.confirmations(self.doubted);
        confirmed.then(|| self.since.plus(limits.removal_hold))
    }
}

/// What is held of one item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldItem {
    /// The registry's own name of it.
    pub name: Arc<str>,
    /// The registry does not name it at all any more.
    pub whole: bool,
    pub(super) parts: BTreeMap<Slot, (What, Mark)>,
}

impl HeldItem {
    /// One of which that is held; of several parts that are the same the last counts.
    #[must_use]
    pub fn of(name: Arc<str>, whole: bool, parts: impl IntoIterator<Item = (What, Mark)>) -> Self {
        let parts = parts.into_iter().map(|(what, mark)| (what.slot(), (what, mark))).collect();
        Self { name, whole, parts }
    }

    /// What is held, and why, in order.
    pub fn parts(&self) -> impl Iterator<Item = (&What, &Mark)> {
        self.parts.values().map(|(what, mark)| (what, mark))
    }

    /// How many endpoints.
    #[must_use]
    pub fn endpoints(&self) -> usize {
        self.parts.keys().filter(|slot| slot.is_some()).count()
    }
}

/// How far what a registry says now is to be believed about what it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// A complete read: it confirms what others lacked before.
    Complete,
    /// A read that is not believed: it confirms nothing.
    Doubtful,
    /// A word about one item: it confirms what was held for another reason than doubt.
    Word,
}

/// What decides about one thing that is gone.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) before: Option<&'a Mark>,
    pub(super) said: bool,
    pub(super) frozen: bool,
    /// Why it is suspicious; `None`: it is not.
    pub(super) why: Option<Why>,
    pub(super) proof: Proof,
    pub(super) limits: &'a Limits,
    pub(super) now: Moment,
}

impl Case<'_> {
    /// The mark with which it is held; `None`: it goes.
    pub(super) fn judge(self) -> Option<Mark> {
        let said = self.said || self.before.is_some_and(|m| m.said);
        let why = match self.why {
            Some(why) if !said => why,
            _ if self.frozen => Why::Frozen,
            _ => return None,
        };
        let Some(before) = self.before else { return Some(Mark::new(why, said, self.now)) };
        let confirms = match self.proof {
            Proof::Complete => true,
            Proof::Doubtful => false,
            Proof::Word => !before.doubted,
        };
        let mut mark = before.clone();
        mark.said = said;
        if confirms {
            mark.confirmed = mark.confirmed.saturating_add(1);
            mark.why = why;
        }
        let due = !self.frozen && mark.due(self.limits).is_some_and(|at| at <= self.now);
        (!due).then_some(mark)
    }
}
