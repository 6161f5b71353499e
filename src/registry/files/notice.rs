//! The system's notices of changes, gathered until somebody has time for them.
//!
//! Notices are hints: they say where to look, never what is there. What the system loses, or cannot watch at all, the
//! rescan finds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};
use notify::{ErrorKind, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::registry::files::agenda::Sign;

/// More paths than that are not told apart: everything is looked at.
const MOST: usize = 4096;

/// What was noticed and not yet looked at. Shared with the system's thread.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    gathered: Mutex<Gathered>,
    bell: Notify,
}

/// A number of notices.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// What was last noticed of each path.
    pub(crate) signs: BTreeMap<PathBuf, Sign>,
    /// Notices were lost.
    pub(crate) lost: bool,
}

impl Inbox {
    /// Returns once there is something to [`take`](Self::take).
    pub(crate) async fn ring(&self) {
        self.bell.notified().await;
    }

    /// Everything that was noticed since the last time.
    pub(crate) fn take(&self) -> Gathered {
        std::mem::take(&mut *self.lock())
    }

    fn put(&self, event: notify::Result<Event>) {
        let event = event.ok().filter(|event| !event.need_rescan());
        let signs = event.map(|event| {
            let of = |path: PathBuf| Some((sign(event.kind, &path)?, path));
            event.paths.into_iter().filter_map(of).collect::<Vec<_>>()
        });
        let mut gathered = self.lock();
        match signs {
            Some(signs) if signs.is_empty() => return,
            Some(signs) => gathered.signs.extend(signs.into_iter().map(|(sign, path)| (path, sign))),
            None => gathered.lost = true,
        }
        if gathered.signs.len() > MOST {
            *gathered = Gathered { lost: true, ..Gathered::default() };
        }
        drop(gathered);
        self.bell.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our own reading shows as opening and closing: of accesses only the end of a writing counts. A rename does not say of
/// what, a new link looks like a new file, and most are of no interest: so whoever is told (the system's thread) looks.
fn sign(kind: EventKind, path: &Path) -> Option<Sign> {
    let found = || path.symlink_metadata().ok().map(|meta| meta.file_type());
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Sign::Finished),
        EventKind::Access(_) => None,
        EventKind::Modify(ModifyKind::Name(_)) if found().is_some_and(|t| !t.is_file()) => {
            Some(Sign::Renamed)
        }
        EventKind::Modify(ModifyKind::Name(_)) => Some(Sign::Finished),
        EventKind::Create(CreateKind::File) if found().is_some_and(|t| t.is_symlink()) => Some(Sign::Renamed),
        EventKind::Create(CreateKind::File) | EventKind::Modify(_) => Some(Sign::Writing),
        EventKind::Remove(RemoveKind::File) => Some(Sign::Finished),
        _ => Some(Sign::Unclear),
    }
}

/// The directories that are watched.
#[derive(Debug)]
pub(crate) struct Watches {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    trouble: Option<String>,
}

impl Watches {
    /// Watches nothing yet; notices go to `inbox`.
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        let (watcher, trouble) = match notify::recommended_watcher(move |event| inbox.put(event)) {
            Ok(watcher) => (Some(watcher), None),
            Err(e) => (None, Some(words(&e))),
        };
        Self { watcher, watched: BTreeSet::new(), trouble }
    }

    /// Notices nothing, for this reason if it is known.
    #[cfg(test)]
    pub(crate) fn none(trouble: Option<&str>) -> Self {
        Self { watcher: None, watched: BTreeSet::new(), trouble: trouble.map(ToOwned::to_owned) }
    }

    /// Why changes are not noticed, at least in part; then the caller has to look by itself, often.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Watches exactly `wanted`. Returns whether that is more than before: then what happened there in the meantime
    /// was not noticed. `renew`: even those that seem to be watched already (a lost watch makes no sound).
    pub(crate) fn follow(&mut self, wanted: &BTreeSet<PathBuf>, renew: bool) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        // First: a directory that was renamed has one watch, under its old name.
        for gone in self.watched.extract_if(.., |path| !wanted.contains(path)) {
            let _ = watcher.unwatch(&gone); // it went with its directory
        }
        self.trouble = None;
        let mut more = false;
        for path in wanted {
            let known = self.watched.contains(path);
            if known && !renew {
                continue;
            }
            match watcher.watch(path, RecursiveMode::NonRecursive) {
                Ok(()) => more |= self.watched.insert(path.clone()),
                // The next walk will not find it either.
                Err(e) if matches!(e.kind, ErrorKind::PathNotFound) => {}
                Err(e) => self.trouble = Some(words(&e)),
            }
        }
        more
    }

    /// Ends the watches of `path` and of everything below: they may be dead or sit elsewhere by now.
    pub(crate) fn forget(&mut self, path: &Path) {
        for gone in self.watched.extract_if(.., |watched| watched.starts_with(path)) {
            if let Some(watcher) = &mut self.watcher {
                let _ = watcher.unwatch(&gone); // it went with its directory
            }
        }
    }
}

fn words(e: &notify::Error) -> String {
    match &e.kind {
        ErrorKind::MaxFilesWatch => {
            "the system's limit of watched directories is reached: raise fs.inotify.max_user_watches".into()
        }
        // EMFILE: there is no other thing that this call could have too many of.
        ErrorKind::Io(io) if io.raw_os_error() == Some(24) => {
            "the system's limit of watchers or of open files is reached: raise fs.inotify.max_user_instances or the \
             number of open files"
                .into()
        }
        _ => format!("changes cannot be watched: {e}"),
    }
}
