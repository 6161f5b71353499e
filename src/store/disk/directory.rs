//! The directory that the state lies in: one process at a time, one file, replaced at once.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::proto::state::Stamp;
use crate::store::disk::{Frames, LARGEST};

/// The state.
const STATE: &str = "last-known-good";
/// What is being written and is not the state yet.
const UNFINISHED: &str = "last-known-good.unfinished";
/// Held by the process that the directory belongs to.
const LOCK: &str = "lock";

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error("another chandler keeps its state in {0}: each needs a directory of its own")]
    Taken(PathBuf),
    /// The system does not let us.
    #[error("{what}: {why}")]
    Io {
        /// What was tried, with the path.
        what: String,
        /// What the system said.
        why: io::Error,
    },
}

impl DirectoryError {
    fn io(what: &str, path: &Path) -> impl Fn(io::Error) -> Self {
        let what = format!("cannot {what} {}", path.display());
        move |why| Self::Io { what: what.clone(), why }
    }
}

/// A directory, and the lock on it while we have that.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    lock: Option<File>,
}

impl Directory {
    /// Only names it; [`Directory::claim`] makes it ours.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), lock: None }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory, where it is missing, and takes the lock, which ends with this process however that ends.
    ///
    /// # Errors
    /// Another process has it, or the system does not let us. Where locks are not supported nobody has one.
    pub fn claim(&mut self) -> Result<(), DirectoryError> {
        if self.lock.is_some() {
            return Ok(());
        }
        let mut maker = DirBuilder::new();
        maker
            .recursive(true)
            .mode(0o700)
            .create(&self.path)
            .map_err(DirectoryError::io("make", &self.path))?;
        let path = self.path.join(LOCK);
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open.map_err(DirectoryError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DirectoryError::Taken(self.path.clone())),
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {}
            Err(TryLockError::Error(e)) => return Err(DirectoryError::io("lock", &path)(e)),
        }
        self.lock = Some(file);
        Ok(())
    }

    /// The bytes of the state; `None`: there is none.
    ///
    /// # Errors
    /// It cannot be read, or is too large to be ours.
    pub fn read(&self) -> Result<Option<Vec<u8>>, DirectoryError> {
        let path = self.path.join(STATE);
        let failed = DirectoryError::io("read", &path);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(e) => return Err(failed(e)),
        };
        let size = file.metadata().map_err(&failed)?.len();
        let mut bytes = Vec::with_capacity(usize::try_from(size.min(LARGEST)).unwrap_or_default());
        // One byte more than is allowed, to see that there is more.
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(&failed)?;
        if bytes.len() as u64 > LARGEST {
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large to be ours")));
        }
        Ok(Some(bytes))
    }

    /// Puts the state out of the way, under a name that ends in `why`; what was put there before is lost. Returns the name.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn set_aside(&self, why: &str) -> Result<PathBuf, DirectoryError> {
        let (from, to) = (self.path.join(STATE), self.path.join(format!("{STATE}.{why}")));
        // A directory is replaced by nothing but an empty one.
        let _gone = fs::remove_dir_all(&to);
        fs::rename(&from, &to).map_err(DirectoryError::io("set aside", &from))?;
        Ok(to)
    }

    /// Replaces the state by what `fill` puts; returns its size. What was there stays if anything goes wrong.
    ///
    /// # Errors
    /// The directory is not ours, or the system does not let us.
    pub fn write(
        &mut self,
        stamp: &Stamp,
        fill: impl FnOnce(&mut Frames<'_>) -> io::Result<()>,
    ) -> Result<u64, DirectoryError> {
        self.claim()?;
        let (to, beside) = (self.path.join(STATE), self.path.join(UNFINISHED));
        let written = replace(&to, &beside, stamp, fill);
        if written.is_err() {
            // It may be all that keeps a full disk full.
            let _gone = fs::remove_file(&beside);
            // Somebody may have removed the directory, and with it the lock that another process would see.
            if !self.path.join(LOCK).exists() {
                self.lock = None;
            }
        }
        written.map_err(DirectoryError::io("write", &to))
    }
}

fn replace(
    to: &Path,
    beside: &Path,
    stamp: &Stamp,
    fill: impl FnOnce(&mut Frames<'_>) -> io::Result<()>,
) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    let mut out = BufWriter::with_capacity(256 << 10, file);
    let mut frames = Frames::begin(&mut out, stamp)?;
    fill(&mut frames)?;
    let size = frames.end()?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(beside, to)?;
    // The rename itself has to last as well.
    File::open(to.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(size)
}
