//! The thread that writes. Whoever serves hands it news and goes on at once; while the disk takes its time, or nothing at
//! all, news wait where they arise, in what changed by then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::store::disk::Frames;
use crate::store::disk::clock::Now;
use crate::store::disk::directory::Directory;
use crate::store::disk::metrics::DiskMetrics;

/// It is never written more often than that: what a crash may take.
pub const PAUSE: Duration = Duration::from_secs(5);
/// Of the time one twentieth at most is spent on writing: a large state is written less often.
const SHARE: u32 = 20;

/// What is kept, put together from news: an image.
pub trait Mirror: Send + 'static {
    /// What changes it.
    type News: Send + 'static;

    /// Puts news in.
    fn absorb(&mut self, news: Self::News);

    /// Writes all of it.
    ///
    /// # Errors
    /// Those of `out`.
    fn write(&self, out: &mut Frames<'_>) -> io::Result<()>;
}

/// Hands news to the thread; never waits. Dropping it makes the thread write what it has not, and end.
#[derive(Debug)]
pub struct Outbox<N> {
    out: Sender<N>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    busy: AtomicBool,
    pause_ms: AtomicU64,
}

/// Waits for the thread's end.
#[derive(Debug)]
pub struct Keeper {
    ended: oneshot::Receiver<()>,
}

impl<N> Outbox<N> {
    /// Whether the last news have been dealt with, so that it is time for others.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.shared.busy.load(Ordering::Acquire)
    }

    /// How long to wait before the next news.
    #[must_use]
    pub fn pause(&self) -> Duration {
        Duration::from_millis(self.shared.pause_ms.load(Ordering::Relaxed)).max(PAUSE)
    }

    /// Hands `news` over. Whether anybody takes them: if not, the thread has died, which is a bug.
    pub fn send(&self, news: N) -> bool {
        self.shared.busy.store(true, Ordering::Release);
        self.out.send(news).is_ok()
    }
}

/// The other end of an outbox, for a test that is the thread.
#[cfg(test)]
#[derive(Debug)]
pub struct Hands<N> {
    /// What was handed over.
    pub news: Receiver<N>,
    shared: Arc<Shared>,
}

#[cfg(test)]
impl<N> Hands<N> {
    /// An outbox, and what is handed over by it.
    #[must_use]
    pub fn new() -> (Self, Outbox<N>) {
        let ((out, news), shared) = (mpsc::channel(), Arc::new(Shared::default()));
        (Self { news, shared: Arc::clone(&shared) }, Outbox { out, shared })
    }

    /// The last news are on disk.
    pub fn done(&self) {
        self.shared.busy.store(false, Ordering::Release);
    }
}

impl Keeper {
    /// Starts the thread, which puts news into `mirror` and writes that to `directory`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start<M: Mirror>(
        directory: Directory,
        mirror: M,
        clock: fn() -> Now,
        metrics: DiskMetrics,
    ) -> io::Result<(Self, Outbox<M::News>)> {
        let ((out, news), (ending, ended)) = (mpsc::channel(), oneshot::channel());
        let shared = Arc::new(Shared::default());
        let desk = Desk { directory, mirror, clock, metrics, shared: Arc::clone(&shared), failing: false };
        std::thread::Builder::new().name("chandler-state".into()).spawn(move || {
            desk.work(&news);
            // Whoever waits may have given up.
            let _left = ending.send(());
        })?;
        Ok((Self { ended }, Outbox { out, shared }))
    }

    /// Returns when the thread has written what it had to. Its outbox must be gone by then, and a disk may hang: use a
    /// time-out.
    pub async fn ended(self) {
        // An error says that it has ended as well, in a panic.
        let _ended = self.ended.await;
    }
}

/// What the thread works with.
struct Desk<M: Mirror> {
    directory: Directory,
    mirror: M,
    clock: fn() -> Now,
    metrics: DiskMetrics,
    shared: Arc<Shared>,
    /// The last try failed, and people have heard of it.
    failing: bool,
}

impl<M: Mirror> Desk<M> {
    fn work(mut self, news: &Receiver<M::News>) {
        let mut unsaved = false;
        loop {
            let next = if unsaved {
                news.recv_timeout(PAUSE)
            } else {
                news.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match next {
                Ok(news) => self.mirror.absorb(news),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    if unsaved {
                        self.save();
                    }
                    return;
                }
            }
            unsaved = !self.save();
            self.shared.busy.store(false, Ordering::Release);
        }
    }

    /// Whether it could be saved. People hear of the first failure, and of the first success after it.
    fn save(&mut self) -> bool {
        let (started, now) = (Instant::now(), (self.clock)());
        let stamp = now.stamp(concat!("chandler ", env!("CARGO_PKG_VERSION")));
        let mirror = &self.mirror;
        let written = self.directory.write(&stamp, |out| mirror.write(out));
        let took = started.elapsed();
        let pause = u64::try_from((took * SHARE).as_millis()).unwrap_or(u64::MAX);
        self.shared.pause_ms.store(pause, Ordering::Relaxed);
        let path = self.directory.path().display();
        match written {
            Ok(bytes) => {
                self.metrics.saved(now.wall, bytes);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the state can be saved in {path} again");
                }
                tracing::debug!(bytes, ?took, "state saved");
                true
            }
            Err(why) => {
                self.metrics.failures.inc();
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(
                        "the state cannot be saved: {why}. All is served as before, and it is tried again; a restart would \
                         know what was saved last"
                    );
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
