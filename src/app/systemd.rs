//! What a service manager is told. Without one (no `NOTIFY_SOCKET`) nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::pipeline::report::Questions;
use crate::runtime::supervise::Owned;

/// Every socket is open, and the configuration in force is the one on disk.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Clients are being sent away.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Tells the manager's watchdog, if it has one, that the pipeline still answers; a process whose pipeline is stuck, or whose
/// threads are all blocked, is restarted.
pub(super) fn watchdog(questions: Questions, stop: CancellationToken) -> Owned {
    Owned::spawn(async move {
        let Some(patience) = sd_notify::watchdog_enabled() else { return };
        // Half of the time, as sd_watchdog_enabled(3) recommends.
        let mut beat = tokio::time::interval((patience / 2).max(Duration::from_millis(100)));
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sign_of_life(&mut beat, &questions) => tell(&[NotifyState::Watchdog]),
            }
        }
    })
}

/// Returns at the next beat at which the pipeline answers.
async fn sign_of_life(beat: &mut tokio::time::Interval, questions: &Questions) {
    loop {
        beat.tick().await;
        if questions.ping().await.is_some() {
            return;
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
