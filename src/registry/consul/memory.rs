//! What is known of a scope beyond one life, and whether a complete read is to be believed. Pure.
//!
//! Consul says "nothing" in three ways that are no truth: to who lost his rights, to who never had any, and after a
//! restart that lost the catalogue, while its agents have not come back yet. All three look complete.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::change::Trust;
use crate::registry::consul::client::Index;
use crate::registry::consul::decode::Read;

/// Agents register everything anew within a minute in small clusters and within six in the largest ones; what is missing
/// for longer than this after a restart is gone.
const SETTLES: Duration = Duration::from_secs(600);
/// How many missing services a reason names.
const NAMED: usize = 3;

/// What is known of one scope; the factory keeps it.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The furthest state that the list of services has shown.
    index: Option<Index>,
    /// Every instance of every service, as last believed.
    believed: BTreeMap<Arc<str>, Arc<[Arc<str>]>>,
    /// A read was seen from which nothing had been left out.
    had_all_rights: bool,
    /// The index went back, and not all has come again.
    back: Option<Back>,
}

#[derive(Debug)]
struct Back {
    from: Index,
    to: Index,
    since: Instant,
    /// Services of which everybody has come again: what they lack from here on has left.
    again: BTreeSet<Arc<str>>,
}

/// What was read, with the state that each answer showed.
pub(super) type Reads = BTreeMap<Arc<str>, (Read, Option<Index>)>;

/// A complete read of a scope.
#[derive(Debug)]
pub(super) struct Round<'a> {
    /// Of the list; absent where there is none.
    pub(super) index: Option<Index>,
    /// Something was left out for want of rights.
    pub(super) filtered: bool,
    /// Without rights everything is left out, and we show no token.
    pub(super) anonymous_is_blind: bool,
    /// Consul's own servers are registered here, whatever else is.
    pub(super) is_home: bool,
    /// All services that were read.
    pub(super) reads: &'a Reads,
}

impl Round<'_> {
    fn is_empty(&self) -> bool {
        self.reads.values().all(|(read, _)| read.instances.is_empty())
    }
}

impl Memory {
    /// Notes a state that the list has shown.
    pub(super) fn saw(&mut self, index: Option<Index>) {
        self.index = self.index.max(index);
    }

    /// Notes what a service has now, all being well.
    pub(super) fn believe(&mut self, name: &Arc<str>, instances: &Arc<[Arc<str>]>) {
        if let Some(back) = &mut self.back {
            back.again.insert(Arc::clone(name));
        }
        if instances.is_empty() {
            self.believed.remove(name);
        } else {
            self.believed.insert(Arc::clone(name), Arc::clone(instances));
        }
    }

    /// Whether `read` lacks an instance that was believed to be there, and that has not come again since.
    pub(super) fn misses(&self, name: &str, read: &Read) -> bool {
        !self.is_again(name) && self.lacks(name, read)
    }

    fn is_again(&self, name: &str) -> bool {
        self.back.as_ref().is_some_and(|back| back.again.contains(name))
    }

    fn lacks(&self, name: &str, read: &Read) -> bool {
        self.believed.get(name).is_some_and(|had| had.iter().any(|id| !read.has(id)))
    }

    /// Whether a complete read is to be believed; if it is, it is remembered.
    pub(super) fn weigh(&mut self, round: &Round<'_>, now: Instant) -> Trust {
        let went_back = self.index.zip(round.index).filter(|(had, now)| now < had);
        if let Some((from, to)) = went_back {
            self.back = Some(Back { from, to, since: now, again: BTreeSet::new() });
        }
        // From here on it counts from where it is now.
        self.index = round.index.or(self.index);
        if let Some(why) = self.lost_rights(round) {
            // Who has come again may be hidden now.
            if let Some(back) = &mut self.back {
                back.again.clear();
            }
            return Trust::Doubtful(why.into());
        }
        if let Some(why) = self.lost_memory(round, now) {
            let missing: BTreeSet<Arc<str>> = self.missing(round).map(Arc::clone).collect();
            let whole = self.believed.keys().filter(|name| !missing.contains(*name));
            if let Some(back) = &mut self.back {
                back.again.extend(whole.map(Arc::clone));
            }
            return Trust::Doubtful(why.into());
        }
        self.back = None;
        self.had_all_rights |= !round.filtered;
        let registered = round.reads.iter().filter(|(_, (read, _))| !read.instances.is_empty());
        self.believed =
            registered.map(|(n, (read, _))| (Arc::clone(n), Arc::clone(&read.instances))).collect();
        Trust::Complete
    }

    fn lost_rights(&self, round: &Round<'_>) -> Option<String> {
        let advice = "give the token `service:read` and `node:read` for what is to be in the mesh";
        if round.anonymous_is_blind && round.is_empty() {
            return Some(format!(
                "Consul shows nothing, and denies everything to who shows no token: write `token` or `tokenFile`, and {advice}"
            ));
        }
        if round.filtered && round.is_empty() {
            return Some(format!("Consul leaves out everything for want of rights: {advice}"));
        }
        if round.is_home && round.reads.is_empty() {
            return Some("Consul lists no service, not even itself: it has only just started".into());
        }
        let less = self.had_all_rights && self.missing(round).next().is_some();
        (round.filtered && less)
            .then(|| format!("Consul leaves out for want of rights what it showed before: {advice}"))
    }

    fn lost_memory(&self, round: &Round<'_>, now: Instant) -> Option<String> {
        let back = self.back.as_ref().filter(|b| now.duration_since(b.since) < SETTLES)?;
        let missing: Vec<&str> =
            self.missing(round).map(|n| &**n).filter(|n| !back.again.contains(*n)).collect();
        let named = missing.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = missing.len().saturating_sub(NAMED);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        (!missing.is_empty()).then(|| {
            format!(
                "Consul's index went back from {} to {}, as after a restart that lost the catalogue, and instances of {named}{more} are missing: they are believed gone {} minutes later",
                back.from,
                back.to,
                SETTLES.as_secs() / 60
            )
        })
    }

    /// Services of which an instance is missing.
    fn missing<'a>(&'a self, round: &'a Round<'_>) -> impl Iterator<Item = &'a Arc<str>> {
        let lacks = |name: &Arc<str>, had: &Arc<[Arc<str>]>| match round.reads.get(name) {
            Some((read, _)) => had.iter().any(|id| !read.has(id)),
            None => true,
        };
        self.believed.iter().filter(move |(name, had)| lacks(name, had)).map(|(name, _)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(of: &[(&str, &[&str])]) -> Reads {
        let read =
            |ids: &[&str]| Read { instances: ids.iter().map(|i| Arc::from(*i)).collect(), ..Read::default() };
        of.iter().map(|(name, ids)| (Arc::from(*name), (read(ids), None))).collect()
    }

    fn round(index: u64, reads: &Reads) -> Round<'_> {
        Round {
            index: Some(Index::new(index)),
            filtered: false,
            anonymous_is_blind: false,
            is_home: false,
            reads,
        }
    }

    fn doubts(trust: &Trust) -> &str {
        match trust {
            Trust::Doubtful(why) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_index_that_goes_back_is_doubted_until_all_is_there_again() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let all = reads(&[("consul", &["n/consul"]), ("web", &["n/web-1", "n/web-2"])]);
        assert_eq!(memory.weigh(&round(33, &all), now), Trust::Complete);
        let empty = reads(&[("consul", &["n/consul"])]);
        let why = memory.weigh(&round(13, &empty), now);
        assert!(doubts(&why).contains("from 33 to 13") && doubts(&why).contains("web"), "{why:?}");
        // The next one counts from where the last one was, and is still short of an instance.
        let half = reads(&[("consul", &["n/consul"]), ("web", &["n/web-2"])]);
        assert!(matches!(memory.weigh(&round(14, &half), now), Trust::Doubtful(_)));
        assert!(memory.misses("web", &half["web"].0) && !memory.misses("new", &half["web"].0));
        assert_eq!(memory.weigh(&round(15, &all), now), Trust::Complete);
        assert_eq!(memory.weigh(&round(16, &empty), now), Trust::Complete, "this is no restart");
    }

    #[tokio::test(start_paused = true)]
    async fn who_came_again_after_a_restart_and_leaves_then_has_left() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let all = reads(&[("web", &["n/web-1", "n/web-2"]), ("old", &["n/old-1"])]);
        memory.weigh(&round(33, &all), now);
        assert!(matches!(memory.weigh(&round(13, &reads(&[])), now), Trust::Doubtful(_)));
        // Everybody of `web` registers again, then one of them leaves in order; of `old` nobody is back yet.
        let web: Arc<str> = "web".into();
        assert!(!memory.misses("web", &all["web"].0));
        memory.believe(&web, &all["web"].0.instances);
        let left = reads(&[("web", &["n/web-2"])]);
        assert!(!memory.misses("web", &left["web"].0), "it was there a moment ago");
        let why = memory.weigh(&round(14, &left), now);
        assert!(doubts(&why).contains("of old are"), "{why:?}");
        let settled = reads(&[("web", &["n/web-2"]), ("old", &["n/old-1"])]);
        assert_eq!(memory.weigh(&round(15, &settled), now), Trust::Complete);
        // Whom a read that lacks others shows has come again as well.
        assert!(matches!(memory.weigh(&round(9, &left), now), Trust::Doubtful(_)));
        assert!(!memory.misses("web", &Read::default()) && memory.misses("old", &Read::default()));
        // The next restart has everybody to come again.
        assert!(matches!(memory.weigh(&round(3, &reads(&[])), now), Trust::Doubtful(_)));
        assert!(memory.misses("web", &Read::default()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_missing_long_after_a_restart_is_gone() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let (all, less) = (reads(&[("web", &["n/1"]), ("old", &["n/2"])]), reads(&[("web", &["n/1"])]));
        memory.weigh(&round(33, &all), now);
        assert!(matches!(memory.weigh(&round(13, &less), now), Trust::Doubtful(_)));
        assert!(matches!(memory.weigh(&round(13, &less), now + SETTLES / 2), Trust::Doubtful(_)));
        assert_eq!(memory.weigh(&round(13, &less), now + SETTLES), Trust::Complete);
    }

    #[tokio::test(start_paused = true)]
    async fn lost_rights_are_doubted_and_few_rights_are_not() {
        let now = Instant::now();
        let (all, some, none) =
            (reads(&[("a", &["n/1"]), ("b", &["n/2"])]), reads(&[("a", &["n/1"])]), reads(&[]));
        let filtered = |reads| Round { filtered: true, ..round(5, reads) };
        let mut memory = Memory::default();
        assert_eq!(memory.weigh(&filtered(&some), now), Trust::Complete, "a token for some services only");
        assert_eq!(memory.weigh(&round(5, &all), now), Trust::Complete);
        let why = memory.weigh(&filtered(&some), now);
        assert!(doubts(&why).contains("want of rights"));
        assert!(matches!(Memory::default().weigh(&filtered(&none), now), Trust::Doubtful(_)));
        let blind = |reads| Round { anonymous_is_blind: true, ..round(5, reads) };
        let why = Memory::default().weigh(&blind(&none), now);
        assert!(doubts(&why).contains("tokenFile"));
        assert_eq!(Memory::default().weigh(&blind(&some), now), Trust::Complete);
        assert_eq!(Memory::default().weigh(&round(5, &none), now), Trust::Complete);
        let home = Round { is_home: true, ..round(5, &none) };
        assert!(matches!(Memory::default().weigh(&home, now), Trust::Doubtful(_)), "Consul knows itself");
    }
}
