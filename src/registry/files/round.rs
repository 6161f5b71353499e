//! One round of looking: from what is to be looked at to what has changed. Blocks; runs off the runtime's workers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use crate::model::change::Change;
use crate::registry::files::agenda::{Look, SETTLE, Sweep};
use crate::registry::files::content::{Job, is_absence, read_all};
use crate::registry::files::decode::Decoder;
use crate::registry::files::ground::Ground;
use crate::registry::files::memory::{Finding, Memory};
use crate::registry::files::notice::Watches;
use crate::registry::files::scan::{Listing, Root, ScanError, SourceName, Stamp, scan, unreadable};

/// Contents may change within one tick of a file system's clock without a change of the stamp; the coarsest one in use
/// (FAT) ticks every two seconds. Files younger than this when they were read are read again by the next sweep.
const TICK: Duration = Duration::from_secs(2);
/// A directory that appears while directories are put under watch is found by walking again; somebody who makes
/// them faster than this is left to the next sweep.
const WALKS: usize = 3;

/// What outlives a life: what each file said, and how often one was read.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) root: Root,
    pub(crate) decoder: Decoder,
    memory: Mutex<Memory>,
    reads: AtomicU64,
}

impl Shared {
    pub(crate) fn new(root: Root, decoder: Decoder) -> Self {
        let memory = Mutex::new(Memory::new(decoder.scope.clone()));
        Self { root, decoder, memory, reads: AtomicU64::new(0) }
    }

    /// How many times the contents of a file have been read.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// What is remembered; every change of it is complete before anything can fail.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one round found.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What is different from before.
    pub(crate) changes: Vec<Change>,
    /// What looked broken or gone and is to be looked at once more, when it has settled.
    pub(crate) doubted: BTreeSet<SourceName>,
    /// What may not be finished yet.
    pub(crate) young: BTreeSet<SourceName>,
    /// What is wrong with the root as a whole.
    pub(crate) root_fault: Option<String>,
}

/// What is at the place of a source.
enum Seen {
    File(Stamp),
    Fault(String),
    Nothing,
}

/// The eyes of one life.
#[derive(Debug)]
pub(crate) struct Reader {
    shared: Arc<Shared>,
    watches: Watches,
    ground: Ground,
    /// The first look has nothing to compare with, and believes what it sees.
    first: bool,
    /// Paths whose watches may be dead or sit elsewhere by now.
    moved: Vec<PathBuf>,
    /// What was wrong with the root when everything was last looked at.
    root_fault: Option<String>,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, watches: Watches) -> Self {
        Self { shared, watches, ground: Ground::default(), first: true, moved: Vec::new(), root_fault: None }
    }

    pub(crate) fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Something happened to `path`, which may be a directory of ours: the next walk watches it anew.
    pub(crate) fn distrust(&mut self, path: PathBuf) {
        self.moved.push(path);
    }

    /// Why changes are not noticed by themselves.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.watches.trouble()
    }

    /// Looks, and remembers what it saw.
    ///
    /// # Errors
    /// At the first look only: the root is missing or unreadable.
    pub(crate) fn round(&mut self, look: &Look) -> Result<Outcome, ScanError> {
        let mut outcome = Outcome::default();
        let shared = Arc::clone(&self.shared);
        let mut memory = shared.memory();
        let (sweep, seen) = match self.look_at_ready(look) {
            Some(seen) => (Sweep::No, seen),
            None => (look.sweep.max(Sweep::Careful), self.look_at_everything(look, &memory)?),
        };
        let mut findings = self.read_changed(look, sweep, seen, &memory, &mut outcome.young);
        if !self.first {
            doubt(look, &memory, &mut findings, &mut outcome.doubted);
        }
        outcome.changes = memory.apply(findings);
        outcome.root_fault.clone_from(&self.root_fault);
        self.first = false;
        Ok(outcome)
    }

    /// Only at what the look names; `None` if that is not enough: it asks for more, a link may share its target with
    /// another one, or a directory stands where a file was expected.
    fn look_at_ready(&self, look: &Look) -> Option<BTreeMap<SourceName, Seen>> {
        if look.sweep != Sweep::No {
            return None;
        }
        let mut seen = BTreeMap::new();
        for name in &look.ready {
            let at = match fs::symlink_metadata(self.shared.root.locate(name, &self.ground)) {
                Ok(meta) if meta.is_file() => Seen::File(Stamp::of(&meta)),
                Ok(_) => return None,
                Err(e) => absent_or_fault(&e),
            };
            seen.insert(name.clone(), at);
        }
        Some(seen)
    }

    fn look_at_everything(
        &mut self,
        look: &Look,
        memory: &Memory,
    ) -> Result<BTreeMap<SourceName, Seen>, ScanError> {
        let surveyed = self.survey();
        self.root_fault = surveyed.as_ref().err().map(ToString::to_string);
        let listing = match surveyed {
            Err(e) if self.first => return Err(e),
            // What it holds is as it was, for all that is known.
            Err(ScanError::Unreadable { .. }) => return Ok(BTreeMap::new()),
            Err(ScanError::Missing(_)) => {
                return Ok(memory.names().map(|n| (n.clone(), Seen::Nothing)).collect());
            }
            Ok(listing) => listing,
        };
        self.ground = listing.ground;
        let hidden = |name: &SourceName| listing.faults.keys().any(|fault| name.is_under(fault));
        let gone = memory.names().chain(&look.ready).filter(|name| !hidden(name));
        let mut seen: BTreeMap<SourceName, Seen> = gone.map(|n| (n.clone(), Seen::Nothing)).collect();
        seen.extend(listing.files.into_iter().map(|(name, stamp)| (name, Seen::File(stamp))));
        seen.extend(listing.faults.into_iter().map(|(name, why)| (name, Seen::Fault(why))));
        Ok(seen)
    }

    /// Walks until every directory was under watch before it was walked. Watches that went without a sound are renewed.
    fn survey(&mut self) -> Result<Listing, ScanError> {
        for path in std::mem::take(&mut self.moved) {
            self.watches.forget(&path);
        }
        let mut listing = scan(&self.shared.root)?;
        for _ in 0..WALKS {
            if !self.watches.follow(&listing.ground.directories(), true) {
                break;
            }
            listing = scan(&self.shared.root)?;
        }
        Ok(listing)
    }

    /// Reads what may have changed.
    fn read_changed(
        &self,
        look: &Look,
        sweep: Sweep,
        seen: BTreeMap<SourceName, Seen>,
        memory: &Memory,
        young: &mut BTreeSet<SourceName>,
    ) -> BTreeMap<SourceName, Finding> {
        let now = SystemTime::now();
        let mut findings = BTreeMap::new();
        let mut jobs = Vec::new();
        for (name, at) in seen {
            if look.busy.contains(&name) {
                continue;
            }
            let stamp = match at {
                Seen::File(stamp) => stamp,
                Seen::Nothing => {
                    findings.insert(name, Finding::Gone);
                    continue;
                }
                Seen::Fault(why) => {
                    let why = format!("{} {why}", self.shown(&name));
                    findings.insert(name, Finding::Broken(None, why));
                    continue;
                }
            };
            let asked = look.ready.contains(&name);
            if !asked && memory.last(&name).is_some_and(|(known, _)| known == stamp) {
                continue;
            }
            // Nobody said that its writer has finished.
            if sweep == Sweep::Careful && !asked && !self.first && stamp.is_younger_than(SETTLE, now) {
                young.insert(name);
                continue;
            }
            let stamp = if stamp.is_younger_than(TICK, now) { stamp.unproven() } else { stamp };
            jobs.push(self.job(name, stamp, memory));
        }
        self.shared.reads.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        for (name, finding) in read_all(&self.shared.decoder, jobs) {
            match finding {
                Some(finding) => drop(findings.insert(name, finding)),
                None => self.in_flux(name, &mut findings, young),
            }
        }
        findings
    }

    fn job(&self, name: SourceName, stamp: Stamp, memory: &Memory) -> Job {
        Job {
            path: self.shared.root.locate(&name, &self.ground),
            stamp,
            known: memory.last(&name).map(|(_, hash)| hash),
            says_something: memory.says_something(&name),
            name,
        }
    }

    /// It changed while it was read. At first nothing else is known of it, so the whole is not known either.
    fn in_flux(
        &self,
        name: SourceName,
        findings: &mut BTreeMap<SourceName, Finding>,
        young: &mut BTreeSet<SourceName>,
    ) {
        if self.first {
            let why = format!("{} is being written", self.shown(&name));
            findings.insert(name.clone(), Finding::Broken(None, why));
        }
        young.insert(name);
    }

    /// A source as the person who wrote the configuration finds it.
    fn shown(&self, name: &SourceName) -> String {
        self.shared.root.locate(name, &self.ground).display().to_string()
    }
}

fn absent_or_fault(e: &io::Error) -> Seen {
    if is_absence(e) { Seen::Nothing } else { Seen::Fault(unreadable(e)) }
}

/// Takes out of `findings` what is bad news and not settled. What went as a source and came as another one in the same
/// round was renamed: that is believed, so that nothing is gone in between.
fn doubt(
    look: &Look,
    memory: &Memory,
    findings: &mut BTreeMap<SourceName, Finding>,
    doubted: &mut BTreeSet<SourceName>,
) {
    let arrived = memory.arrivals(findings);
    let broken: BTreeSet<SourceName> = memory.faults().map(|(name, _)| name.clone()).collect();
    let bad = |name: &SourceName, finding: &mut Finding| match finding {
        _ if look.settled.contains(name) => false,
        Finding::Gone => {
            memory.says_something(name) && !memory.own_names(name).iter().any(|own| arrived.contains(*own))
        }
        Finding::Broken(..) => !broken.contains(name),
        _ => false,
    };
    doubted.extend(findings.extract_if(.., |name, finding| bad(name, finding)).map(|(name, _)| name));
}
