//! When to read the configuration again: on SIGHUP, and when its file says something else than before.

use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How often the file is compared. Reading one small file works everywhere: with editors, ConfigMap volumes and network
/// file systems alike, where watches differ or lie.
const COMPARE_EVERY: Duration = Duration::from_secs(2);

/// Waits for reasons to reload.
#[derive(Debug)]
pub(super) struct Reload {
    hangup: Signal,
    file: Option<std::path::PathBuf>,
    seen: Option<Vec<u8>>,
}

/// Why the configuration is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Somebody asked.
    Hangup,
    /// The file changed.
    Changed,
}

impl Reload {
    /// Watches `file` (none: the embedded quickstart) from its present content on.
    ///
    /// # Errors
    /// The process cannot take signals.
    pub(super) async fn new(file: Option<&Path>) -> std::io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        let mut reload = Self { hangup, file: file.map(Path::to_path_buf), seen: None };
        reload.seen = reload.read().await;
        Ok(reload)
    }

    /// Returns at the next reason.
    pub(super) async fn next(&mut self) -> Reason {
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => {
                    self.seen = self.read().await;
                    return Reason::Hangup;
                }
                () = tokio::time::sleep(COMPARE_EVERY), if self.file.is_some() => {
                    let now = self.read().await;
                    // A file that cannot be read for a moment is being replaced.
                    if now.is_some() && now != self.seen {
                        self.seen = now;
                        return Reason::Changed;
                    }
                }
            }
        }
    }

    async fn read(&self) -> Option<Vec<u8>> {
        tokio::fs::read(self.file.as_ref()?).await.ok()
    }
}
