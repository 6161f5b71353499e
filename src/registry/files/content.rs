//! The contents of files: read, compared with what was there, decoded; many of them on every core.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use xxhash_rust::xxh3::xxh3_128;

use crate::registry::files::decode::{Decoder, LONGEST};
use crate::registry::files::memory::{ContentHash, Finding};
use crate::registry::files::scan::{SourceName, Stamp, unreadable};

/// Fewer bytes than that are read sooner than a thread is started: about a millisecond's work.
const WORTH_A_THREAD: u64 = 16 * 1024;

/// A file to be read.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) name: SourceName,
    pub(crate) path: PathBuf,
    /// As it was when it was last looked at.
    pub(crate) stamp: Stamp,
    /// Of what it held last time.
    pub(crate) known: Option<ContentHash>,
    /// Whether it said anything when it last made sense.
    pub(crate) says_something: bool,
}

/// What the files hold; `None` for one that changed while it was read.
pub(crate) fn read_all(decoder: &Decoder, jobs: Vec<Job>) -> Vec<(SourceName, Option<Finding>)> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push((job.name.clone(), job.read(decoder)));
        }
        done
    };
    let bytes: u64 = jobs.iter().map(|job| job.stamp.len()).sum();
    let worth = usize::try_from(bytes / WORTH_A_THREAD).unwrap_or(usize::MAX).min(jobs.len());
    let helpers = thread::available_parallelism().map_or(1, usize::from).min(worth).saturating_sub(1);
    thread::scope(|scope| {
        // A helper that the system does not give is none: this thread does it all, if need be.
        let helper = |_| thread::Builder::new().name("files".into()).spawn_scoped(scope, work).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(helper).collect();
        let mut done = work();
        for helper in helpers {
            match helper.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    })
}

/// Whether an error says that there is nothing.
pub(crate) fn is_absence(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

impl Job {
    fn read(&self, decoder: &Decoder) -> Option<Finding> {
        let shown = self.path.display().to_string();
        let bytes = match self.bytes() {
            Ok(bytes) => bytes?,
            Err(e) if is_absence(&e) => return Some(Finding::Gone),
            Err(e) => return Some(Finding::Broken(None, format!("{shown} {}", unreadable(&e)))),
        };
        let hash = xxh3_128(&bytes);
        if self.known == Some(hash) {
            return Some(Finding::Same(self.stamp));
        }
        let last = (self.stamp, hash);
        Some(match decoder.decode(&self.name, &shown, &bytes) {
            Ok(Some(items)) => Finding::Items(self.stamp, hash, items),
            Ok(None) if self.says_something => {
                let why =
                    "is empty: write `services: []` or remove the file to say that there are none any more";
                Finding::Broken(Some(last), format!("{shown} {why}"))
            }
            Ok(None) => Finding::Items(self.stamp, hash, Vec::new()),
            Err(why) => Finding::Broken(Some(last), why),
        })
    }

    /// `None`: it changed in the meantime.
    fn bytes(&self) -> io::Result<Option<Vec<u8>>> {
        let mut file = File::open(&self.path)?;
        let before = Stamp::of(&file.metadata()?);
        if before.len() > LONGEST as u64 {
            let most = LONGEST / (1024 * 1024);
            let why = format!("has {} bytes: at most {most} MiB are read; split the file", before.len());
            return Err(io::Error::new(ErrorKind::InvalidInput, why));
        }
        let mut bytes = Vec::new();
        file.by_ref().take(LONGEST as u64 + 1).read_to_end(&mut bytes)?;
        Ok((Stamp::of(&file.metadata()?) == before).then_some(bytes))
    }
}
