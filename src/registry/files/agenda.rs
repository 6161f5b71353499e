//! What is to be looked at, and when. Pure: signs and the time come in.
//!
//! A file that was renamed into place, or whose writer has closed it, is looked at on the spot. One that is being written
//! is left alone until it is closed or has been quiet for [`SETTLE`]: the beginning of a file may well parse, and would
//! say that everything behind it is gone. What looks broken or gone is looked at once more after [`SETTLE`] before it is
//! believed: editors and tools that do not rename leave such moments.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::registry::files::ground::Place;
use crate::registry::files::scan::SourceName;

/// Quiet for so long: nobody is at it any more.
pub(crate) const SETTLE: Duration = Duration::from_millis(300);
/// A file that never comes to rest is read after this long all the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was noticed of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sign {
    /// A file's contents or attributes change.
    Writing,
    /// A file came by a rename or its writer has closed it, or something went.
    Finished,
    /// A directory or a link came by a rename: what it holds is complete.
    Renamed,
    /// A directory, or something of which nothing is known, came, went or changed.
    Unclear,
}

/// How to look at everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Sweep {
    /// Not at all: only at what is named.
    #[default]
    No,
    /// At all whose stamp is not as it was.
    Careful,
    /// The same; what is young was renamed into place, so it is complete.
    Complete,
}

/// What to look at in one round.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether at everything.
    pub(crate) sweep: Sweep,
    /// Complete, as far as anybody can know: read them. What is in doubt is always among them, so that what it turns
    /// into is seen together with it.
    pub(crate) ready: BTreeSet<SourceName>,
    /// Of those, the ones at rest: if they are broken or gone, they are.
    pub(crate) settled: BTreeSet<SourceName>,
    /// Being written: leave them alone.
    pub(crate) busy: BTreeSet<SourceName>,
}

impl Look {
    fn is_empty(&self) -> bool {
        self.sweep == Sweep::No && self.ready.is_empty()
    }
}

/// What is waiting to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    now: Look,
    /// Being written: when that began, and when it will have been quiet for long enough.
    writing: BTreeMap<SourceName, (Instant, Instant)>,
    /// Broken or gone, and when that is to be believed.
    doubted: BTreeMap<SourceName, Instant>,
}

impl Agenda {
    /// Takes in what was noticed.
    pub(crate) fn note(&mut self, place: Place, sign: Sign, now: Instant) {
        match (place, sign) {
            (Place::Nowhere, _) | (Place::Entry, Sign::Writing | Sign::Finished) => {}
            (Place::Source(name), Sign::Writing) => self.wait(name, now),
            (Place::Source(name), Sign::Finished | Sign::Renamed) => {
                self.writing.remove(&name);
                self.doubted.remove(&name);
                self.now.ready.insert(name);
            }
            (Place::Entry | Place::Structure, Sign::Renamed) => self.sweep(Sweep::Complete),
            (Place::Source(_) | Place::Entry | Place::Structure, _) => self.sweep(Sweep::Careful),
        }
    }

    /// Everything is to be looked at.
    pub(crate) fn sweep(&mut self, sweep: Sweep) {
        self.now.sweep = self.now.sweep.max(sweep);
    }

    /// These, and no others, looked broken or gone; what was in doubt before keeps its time.
    pub(crate) fn doubt(&mut self, names: BTreeSet<SourceName>, now: Instant) {
        let before = std::mem::take(&mut self.doubted);
        let due = |name: &SourceName| before.get(name).copied().unwrap_or(now + SETTLE);
        self.doubted = names.into_iter().map(|name| (name.clone(), due(&name))).collect();
    }

    /// `name` is being written.
    pub(crate) fn wait(&mut self, name: SourceName, now: Instant) {
        self.doubted.remove(&name);
        self.now.ready.remove(&name);
        let (since, due) = self.writing.entry(name).or_insert((now, now));
        *due = (now + SETTLE).min(*since + PATIENCE);
    }

    /// When there will next be something to look at; `None`: nothing is waiting for time to pass.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.writing.values().map(|(_, due)| due).chain(self.doubted.values()).min().copied()
    }

    /// What is to be looked at now, if anything.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Look> {
        let at_rest = self.writing.extract_if(.., |_, (_, due)| *due <= now).map(|(name, _)| name);
        self.now.settled.extend(at_rest);
        let believed = self.doubted.extract_if(.., |_, due| *due <= now).map(|(name, _)| name);
        self.now.settled.extend(believed);
        self.now.ready.extend(self.now.settled.iter().cloned());
        if self.now.is_empty() {
            return None;
        }
        let mut look = std::mem::take(&mut self.now);
        look.ready.extend(self.doubted.keys().cloned());
        look.busy = self.writing.keys().cloned().collect();
        Some(look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> SourceName {
        SourceName::new("a.yaml")
    }

    fn source() -> Place {
        Place::Source(name())
    }

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn a_renamed_file_is_looked_at_on_the_spot() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.note(source(), Sign::Finished, now);
        let look = agenda.take(now).unwrap();
        assert_eq!((look.sweep, look.ready), (Sweep::No, BTreeSet::from([name()])));
        assert!(look.settled.is_empty());
        assert_eq!(agenda.take(now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_being_written_is_left_alone_until_it_is_closed() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.note(source(), Sign::Writing, now);
        assert_eq!(agenda.take(now), None);
        agenda.sweep(Sweep::Careful);
        assert_eq!(agenda.take(now).unwrap().busy, BTreeSet::from([name()]));
        agenda.note(source(), Sign::Finished, after(now, 10));
        assert_eq!(agenda.take(after(now, 10)).unwrap().ready, BTreeSet::from([name()]));
        assert_eq!(agenda.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_nobody_closes_is_read_once_it_is_quiet_and_never_later_than_patience() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.note(source(), Sign::Writing, now);
        agenda.note(source(), Sign::Writing, after(now, 200));
        assert_eq!(agenda.due(), Some(after(now, 500)));
        assert_eq!(agenda.take(after(now, 499)), None);
        assert_eq!(agenda.take(after(now, 500)).unwrap().settled, BTreeSet::from([name()]));
        for at in (1000..=6000).step_by(100) {
            agenda.note(source(), Sign::Writing, after(now, at));
        }
        assert_eq!(agenda.due(), Some(after(now, 6000)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_looks_broken_is_believed_after_it_has_settled_and_a_new_sign_starts_over() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.doubt(BTreeSet::from([name()]), now);
        agenda.doubt(BTreeSet::from([name()]), after(now, 100));
        assert_eq!(agenda.due(), Some(after(now, 300)));
        agenda.note(source(), Sign::Finished, after(now, 200));
        let look = agenda.take(after(now, 400)).unwrap();
        assert!(look.ready.contains(&name()) && look.settled.is_empty());
        agenda.doubt(BTreeSet::from([name()]), after(now, 400));
        assert_eq!(agenda.take(after(now, 700)).unwrap().settled, BTreeSet::from([name()]));
        assert_eq!(agenda.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_doubt_is_looked_at_with_everything_else() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        let gone = SourceName::new("gone.yaml");
        agenda.doubt(BTreeSet::from([gone.clone()]), now);
        assert_eq!(agenda.take(now), None);
        agenda.note(source(), Sign::Finished, now);
        assert_eq!(agenda.take(now).unwrap().ready, BTreeSet::from([name(), gone]));
        agenda.doubt(BTreeSet::new(), now);
        assert_eq!(agenda.due(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_to_other_files_is_of_no_interest_and_to_directories_it_is() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.note(Place::Nowhere, Sign::Renamed, now);
        agenda.note(Place::Entry, Sign::Finished, now);
        assert_eq!(agenda.take(now), None);
        agenda.note(Place::Entry, Sign::Unclear, now);
        agenda.note(Place::Entry, Sign::Renamed, now);
        assert_eq!(agenda.take(now), Some(Look { sweep: Sweep::Complete, ..Look::default() }));
    }
}
