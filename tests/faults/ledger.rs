//! What must be visible at every moment, and what was not. No I/O, no clock.
//!
//! An endpoint *must* be there from the moment that everyone has seen it until somebody begins to take it away in order. Between,
//! while a true change is on its way, it *may* be seen or not. What is seen beyond that is a ghost: something that had gone came
//! back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An endpoint of a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat {
    pub(crate) host: String,
    pub(crate) at: Ipv4Addr,
}

impl std::fmt::Display for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.at, self.host)
    }
}

/// Shared by those who change registries and those who watch.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    must: BTreeSet<Seat>,
    arriving: BTreeSet<Seat>,
    leaving: BTreeSet<Seat>,
    /// All that have ever left.
    left: BTreeSet<Seat>,
    /// What each watcher sees now.
    views: BTreeMap<&'static str, BTreeSet<Seat>>,
    wrong: Wrong,
}

/// What was seen that must not be, with who saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) lost: BTreeMap<Seat, BTreeSet<&'static str>>,
    pub(crate) ghosts: BTreeMap<Seat, BTreeSet<&'static str>>,
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be said before the registry is told.
    pub(crate) fn arriving(&self, seat: &Seat) {
        let mut state = self.state();
        state.leaving.remove(seat);
        if !state.must.contains(seat) {
            state.arriving.insert(seat.clone());
        }
    }

    /// To be said before the registry is told.
    pub(crate) fn leaving(&self, seat: &Seat) {
        let mut state = self.state();
        state.must.remove(seat);
        state.arriving.remove(seat);
        state.leaving.insert(seat.clone());
        state.left.insert(seat.clone());
    }

    /// From now on exactly this is to be seen: what is not there yet arrives, what is beyond it leaves. To be said before the
    /// registry is told.
    pub(crate) fn will_be(&self, wanted: &BTreeSet<Seat>) {
        let now: BTreeSet<Seat> = {
            let state = self.state();
            state.must.union(&state.arriving).cloned().collect()
        };
        wanted.difference(&now).for_each(|seat| self.arriving(seat));
        now.difference(wanted).for_each(|seat| self.leaving(seat));
    }

    /// Chandler is killed before its state was saved, which takes up to five seconds: until everything is right again it may say
    /// of the services of these hosts, which have changed meanwhile, what was true before. Of all others it may not.
    pub(crate) fn memory_may_be_old(&self, hosts: &BTreeSet<String>) {
        let mut state = self.state();
        let unsure: Vec<Seat> =
            state.must.iter().filter(|seat| hosts.contains(&seat.host)).cloned().collect();
        for seat in unsure {
            state.must.remove(&seat);
            state.arriving.insert(seat);
        }
        let old: Vec<Seat> = state.left.iter().filter(|seat| hosts.contains(&seat.host)).cloned().collect();
        let old = old.into_iter().filter(|seat| !state.arriving.contains(seat)).collect::<Vec<_>>();
        state.leaving.extend(old);
    }

    /// A watcher sees exactly this now.
    pub(crate) fn saw(&self, who: &'static str, seen: BTreeSet<Seat>) {
        let mut state = self.state();
        let lost: Vec<Seat> = state.must.difference(&seen).cloned().collect();
        let known = |seat: &&Seat| {
            !(state.must.contains(seat) || state.arriving.contains(seat) || state.leaving.contains(seat))
        };
        let ghosts: Vec<Seat> = seen.iter().filter(known).cloned().collect();
        lost.into_iter().for_each(|seat| {
            state.wrong.lost.entry(seat).or_default().insert(who);
        });
        ghosts.into_iter().for_each(|seat| {
            state.wrong.ghosts.entry(seat).or_default().insert(who);
        });
        state.views.insert(who, seen);
    }

    /// A watcher sees nothing at the moment and knows that it does not.
    pub(crate) fn blind(&self, who: &'static str) {
        self.state().views.remove(who);
    }

    /// Whether all of these see exactly what is wanted; then that is what must be from now on.
    pub(crate) fn settle(&self, watchers: &[&'static str]) -> bool {
        let mut state = self.state();
        let wanted: BTreeSet<Seat> = state.must.union(&state.arriving).cloned().collect();
        let right = watchers.iter().all(|who| state.views.get(who) == Some(&wanted));
        if right {
            (state.must, state.arriving, state.leaving) = (wanted, BTreeSet::new(), BTreeSet::new());
        }
        right
    }

    /// Whether an answer of `at` to a request for `host` is right.
    pub(crate) fn may_answer(&self, host: &str, at: Ipv4Addr) -> bool {
        let (state, seat) = (self.state(), Seat { host: host.to_owned(), at });
        state.must.contains(&seat) || state.arriving.contains(&seat) || state.leaving.contains(&seat)
    }

    /// How many endpoints have been lost so far.
    pub(crate) fn lost(&self) -> usize {
        self.state().wrong.lost.len()
    }

    /// What was wrong since this was asked last.
    pub(crate) fn take_wrong(&self) -> Wrong {
        std::mem::take(&mut self.state().wrong)
    }

    /// How each watcher's view differs from what is wanted, for people.
    pub(crate) fn difference(&self) -> String {
        let state = self.state();
        let wanted: BTreeSet<Seat> = state.must.union(&state.arriving).cloned().collect();
        let named = |seats: Vec<&Seat>| seats.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut lines = String::new();
        for (who, view) in &state.views {
            let (lacks, more) = (wanted.difference(view).collect(), view.difference(&wanted).collect());
            lines.push_str(&format!("{who} lacks [{}] and has beyond [{}]\n", named(lacks), named(more)));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(last: u8) -> Seat {
        Seat { host: "web".to_owned(), at: Ipv4Addr::new(10, 40, 0, last) }
    }

    fn settled(seats: &[u8]) -> Ledger {
        let ledger = Ledger::default();
        seats.iter().for_each(|n| ledger.arriving(&seat(*n)));
        ledger.saw("eye", seats.iter().map(|n| seat(*n)).collect());
        assert!(ledger.settle(&["eye"]));
        ledger
    }

    #[test]
    fn what_must_be_and_is_not_seen_for_one_moment_is_lost() {
        let ledger = settled(&[1, 2]);
        ledger.saw("eye", [seat(1)].into());
        ledger.saw("eye", [seat(1), seat(2)].into());
        assert!(ledger.settle(&["eye"]));
        assert_eq!(ledger.take_wrong().lost, BTreeMap::from([(seat(2), BTreeSet::from(["eye"]))]));
        assert_eq!(ledger.take_wrong(), Wrong::default());
    }

    #[test]
    fn what_leaves_in_order_is_not_lost_and_what_comes_back_unasked_is_a_ghost() {
        let ledger = settled(&[1, 2]);
        ledger.leaving(&seat(2));
        assert!(!ledger.settle(&["eye"]), "it is still seen");
        ledger.saw("eye", [seat(1)].into());
        assert!(ledger.settle(&["eye"]));
        assert_eq!(ledger.take_wrong(), Wrong::default());
        ledger.saw("eye", [seat(1), seat(2)].into());
        assert!(ledger.take_wrong().ghosts.contains_key(&seat(2)));
    }

    #[test]
    fn what_will_be_is_neither_lost_nor_a_ghost_on_its_way() {
        let ledger = settled(&[1, 2]);
        ledger.will_be(&[seat(2), seat(3)].into());
        ledger.saw("eye", [seat(1), seat(2), seat(3)].into());
        assert!(!ledger.settle(&["eye"]), "one of them leaves");
        ledger.saw("eye", [seat(3)].into());
        assert!(!ledger.settle(&["eye"]), "one of them stays");
        ledger.saw("eye", [seat(2), seat(3)].into());
        assert!(ledger.settle(&["eye"]));
        let wrong = ledger.take_wrong();
        assert_eq!(wrong.lost.into_keys().collect::<Vec<_>>(), [seat(2)], "it was to stay");
        assert_eq!(wrong.ghosts, BTreeMap::new());
    }

    #[test]
    fn nothing_is_right_before_everyone_has_seen_it() {
        let ledger = settled(&[1]);
        ledger.arriving(&seat(2));
        ledger.saw("eye", [seat(1), seat(2)].into());
        assert!(!ledger.settle(&["eye", "other"]));
        ledger.saw("other", [seat(1)].into());
        assert!(!ledger.settle(&["eye", "other"]));
        assert_eq!(ledger.take_wrong(), Wrong::default(), "it was only arriving");
    }
}
