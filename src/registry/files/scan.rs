//! Which files of a directory are sources, and what tells an unchanged one from a changed one. Reads no contents.
//!
//! A source is a regular file whose name ends in `.yaml`, `.yml` or `.json` and does not begin like an editor's or a
//! tool's own (`.`, `#`, `~`); so swap files, backups and half-written copies are never read, and neither are the
//! `..data` directories of a Kubernetes volume, whose files are seen once, through the links beside them. Links are
//! followed; whatever is reached twice (a loop, a link to a neighbour) is taken once, under its own name first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::registry::files::ground::Ground;

/// A directory that a freshly made file system has and only root may read.
const LOST_AND_FOUND: &str = "lost+found";

/// A source as keys and messages name it: its path below the root, with `/`. For a root that is a file: its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SourceName(Arc<str>);

impl SourceName {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `directory` or lies below it.
    pub(crate) fn is_under(&self, directory: &Self) -> bool {
        match self.0.strip_prefix(&*directory.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || directory.0.is_empty(),
            None => false,
        }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a file system says of a file. Equal stamps of an old file: equal contents. A young file may change again
/// within the file system's resolution of time, so its stamp proves nothing (see [`Stamp::is_younger_than`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Device, inode and time of the last change of the inode, where there are such things.
    inode: (u64, u64, i64, i64),
}

impl Stamp {
    #[cfg(unix)]
    pub(crate) fn of(meta: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let inode = (meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec());
        Self { len: meta.len(), modified: meta.modified().ok(), inode }
    }

    #[cfg(not(unix))]
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self { len: meta.len(), modified: meta.modified().ok(), inode: (0, 0, 0, 0) }
    }

    /// A stamp that equals no other: for contents that may have changed since, unseen.
    pub(crate) fn unproven(self) -> Self {
        Self { modified: None, inode: (0, 0, 0, -1), ..self }
    }

    /// How many bytes the file had.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether the contents changed within `span` before `now`. A time that lies ahead (another machine's clock) is old.
    pub(crate) fn is_younger_than(&self, span: std::time::Duration, now: SystemTime) -> bool {
        self.modified.and_then(|at| now.duration_since(at).ok()).is_some_and(|age| age < span)
    }
}

/// The place that a registry reads.
#[derive(Debug, Clone)]
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// As the user wrote it.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where `source` lies.
    pub(crate) fn locate(&self, source: &SourceName, ground: &Ground) -> PathBuf {
        if ground.is_single() { self.0.clone() } else { self.0.join(source.as_str()) }
    }
}

/// What lies below a root.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Every source.
    pub(crate) files: BTreeMap<SourceName, Stamp>,
    /// What could not be looked at, file or directory: whatever it said stays.
    pub(crate) faults: BTreeMap<SourceName, String>,
    /// Where changes will be noticed.
    pub(crate) ground: Ground,
}

/// Why there is no listing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScanError {
    /// The root is not there.
    #[error("{0} does not exist; create it, or correct `path`")]
    Missing(String),
    /// The root is there but nothing can be said about what it holds.
    #[error("{path} cannot be read: {error}; let the user that chandler runs as read it")]
    Unreadable {
        /// The root.
        path: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Whether a file of this name is a source.
pub(crate) fn is_source_name(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default();
    !is_ignored(name) && ["yaml", "yml", "json"].iter().any(|e| extension.eq_ignore_ascii_case(e))
}

/// Whether a name belongs to an editor or a tool, whatever it is the name of.
pub(crate) fn is_ignored(name: &OsStr) -> bool {
    let first = name.as_encoded_bytes().first();
    first.is_none_or(|b| b".#~".contains(b)) || name == LOST_AND_FOUND
}

/// Looks at everything below `root`.
///
/// # Errors
/// The root itself is missing or unreadable. Anything below it that is unreadable is a fault in the listing.
pub(crate) fn scan(root: &Root) -> Result<Listing, ScanError> {
    let shown = root.path().display().to_string();
    let fail = |error: io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => ScanError::Missing(shown.clone()),
        _ => ScanError::Unreadable { path: shown.clone(), error },
    };
    let meta = fs::metadata(root.path()).map_err(fail)?;
    let real = fs::canonicalize(root.path()).map_err(fail)?;
    if meta.is_dir() {
        let mut walk = Walk::default();
        walk.listing.ground.add_root(root.path());
        walk.directory(real, String::new()).map_err(fail)?;
        return Ok(walk.finish());
    }
    let mut listing = Listing::default();
    let name = root.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    listing.ground.add_single(root.path(), &name);
    listing.ground.add_target(&real);
    let name = SourceName::new(&name);
    if meta.is_file() {
        listing.files.insert(name, Stamp::of(&meta));
    } else {
        listing.faults.insert(name, "is neither a file nor a directory".into());
    }
    Ok(listing)
}

/// A walk in progress. What is reached directly is visited before what is reached through links, so that the names
/// of sources do not depend on which link was met first.
#[derive(Default)]
struct Walk {
    listing: Listing,
    /// Real paths of the directories and files that have been visited.
    seen: BTreeSet<PathBuf>,
    /// Directories still to be visited: real path, name.
    plain: VecDeque<(PathBuf, String)>,
    /// Links still to be followed: where they lie, name.
    links: BTreeMap<String, PathBuf>,
}

impl Walk {
    fn finish(mut self) -> Listing {
        loop {
            if let Some((real, name)) = self.plain.pop_front() {
                let visited = self.directory(real, name.clone());
                self.record(&name, visited);
            } else if let Some((name, path)) = self.links.pop_first() {
                let visited = self.link(&path, &name);
                self.record(&name, visited);
            } else {
                return self.listing;
            }
        }
    }

    /// What went away between being seen and being looked at was never there.
    fn record(&mut self, name: &str, visited: io::Result<()>) {
        match visited {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                self.listing.faults.insert(SourceName::new(name), unreadable(&e));
            }
            _ => {}
        }
    }

    fn directory(&mut self, real: PathBuf, name: String) -> io::Result<()> {
        if !self.seen.insert(real.clone()) {
            return Ok(());
        }
        let entries = fs::read_dir(&real)?.collect::<io::Result<Vec<_>>>()?;
        for entry in entries {
            let visited = self.entry(&entry.file_name(), &entry, &real, &name);
            let below = join(&name, &entry.file_name().to_string_lossy());
            self.record(&below, visited);
        }
        self.listing.ground.add_directory(real, name);
        Ok(())
    }

    fn entry(&mut self, own: &OsString, entry: &fs::DirEntry, real: &Path, name: &str) -> io::Result<()> {
        if is_ignored(own) {
            return Ok(());
        }
        let kind = entry.file_type()?;
        let wanted = kind.is_dir() || kind.is_symlink() || is_source_name(own);
        let Some(own) = own.to_str() else {
            let why = "has a name that is not UTF-8; rename it";
            return if wanted { Err(io::Error::new(ErrorKind::InvalidInput, why)) } else { Ok(()) };
        };
        let below = join(name, own);
        if kind.is_dir() {
            self.plain.push_back((real.join(own), below));
        } else if kind.is_symlink() {
            self.links.insert(below, real.join(own));
        } else if kind.is_file() && wanted && self.seen.insert(real.join(own)) {
            self.listing.files.insert(SourceName::new(&below), Stamp::of(&entry.metadata()?));
        }
        Ok(())
    }

    fn link(&mut self, path: &Path, name: &str) -> io::Result<()> {
        let source = path.file_name().is_some_and(is_source_name);
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            // Its target may only be away for a while (a volume that is not mounted yet).
            Err(e) if source && path.is_symlink() => {
                let why =
                    format!("is a link to something that cannot be read ({e}); mend or remove the link");
                self.listing.faults.insert(SourceName::new(name), why);
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let real = fs::canonicalize(path)?;
        if meta.is_dir() {
            self.listing.ground.add_link(path);
            return self.directory(real, name.to_owned());
        }
        if source && meta.is_file() && self.seen.insert(real.clone()) {
            self.listing.files.insert(SourceName::new(name), Stamp::of(&meta));
            self.listing.ground.add_target(&real);
        }
        Ok(())
    }
}

/// What is wrong with something that the system does not let us look at.
pub(crate) fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidInput => error.to_string(),
        _ => format!("cannot be read: {error}; let the user that chandler runs as read it"),
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
