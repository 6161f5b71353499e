//! The last known good state: read before the pipeline runs, saved while it does.

use std::time::Duration;

use crate::app::Error;
use crate::config::state::Kept;
use crate::pipeline::Pipeline;
use crate::pipeline::engine::Restored;
use crate::pipeline::image::{Image, codec};
use crate::store::disk::clock::Now;
use crate::store::disk::directory::{Directory, DirectoryError};
use crate::store::disk::keeper::Keeper;
use crate::store::disk::metrics::DiskMetrics;
use crate::store::disk::{self, Fault};

/// How long a slow disk may hold up the end: the state of five seconds ago is there anyway.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Faults of one file that people are told; after a damage they are alike.
const TOLD: usize = 5;

/// The state while the program runs.
#[derive(Debug)]
pub(super) struct State {
    keeper: Keeper,
}

impl State {
    /// Lets `pipeline` go on with what is on disk, and has it saved from now on. A disk that fails holds up nothing.
    ///
    /// # Errors
    /// Another process keeps its state there.
    pub(super) fn open(
        kept: &Kept,
        metrics: DiskMetrics,
        clock: fn() -> Now,
        pipeline: &mut Pipeline,
    ) -> Result<Self, Error> {
        let mut directory = Directory::new(&kept.dir);
        match directory.claim() {
            Err(taken @ DirectoryError::Taken(_)) => {
                return Err(Error::Bind { what: "state.dir", why: taken.to_string() });
            }
            Err(why) => tracing::warn!("{why}: nothing can be saved until that is mended; it is tried again"),
            Ok(()) => {}
        }
        let found = find(&directory, clock);
        let (keeper, outbox) = Keeper::start(directory, Image::default(), clock, metrics)?;
        pipeline.save_to(outbox);
        match found {
            Some((image, age)) => tell(&pipeline.restore(image, age, kept.max_age), kept.max_age),
            None => {
                tracing::info!(dir = %kept.dir.display(), "no saved state: every registry is read before it is served")
            }
        }
        Ok(Self { keeper })
    }

    /// Waits until the last state is on disk; the pipeline has ended by now.
    pub(super) async fn close(self) {
        if tokio::time::timeout(LAST_WORDS, self.keeper.ended()).await.is_err() {
            tracing::warn!(waited = ?LAST_WORDS, "the disk does not take the last state: a restart would know an earlier one");
        }
    }
}

/// What is on disk, as far as it can be read, and how old that is. What is damaged is set aside.
fn find(directory: &Directory, clock: fn() -> Now) -> Option<(Image, Duration)> {
    let bytes = match directory.read() {
        Ok(bytes) => bytes?,
        Err(why) => {
            set_aside(directory, "unreadable", &[why.to_string()]);
            return None;
        }
    };
    let contents = disk::read(&bytes);
    let (image, faults) = codec::decode(contents.frames.iter().copied());
    let name = match contents.fault {
        Some(Fault::Format(n)) => format!("format-{n}"),
        _ => "damaged".into(),
    };
    let mut words: Vec<String> = contents.fault.iter().map(ToString::to_string).collect();
    if !contents.frames.is_empty() {
        words.extend(faults.iter().map(ToString::to_string));
    }
    if !words.is_empty() {
        set_aside(directory, &name, &words);
    }
    // Without a stamp nobody knows how old it is: as old as can be, so that only what never grows old is used.
    let age = contents.stamp.map_or(Duration::MAX, |stamp| clock().since(&stamp));
    (!contents.frames.is_empty()).then_some((image, age))
}

fn set_aside(directory: &Directory, name: &str, words: &[String]) {
    let told: Vec<&str> = words.iter().take(TOLD).map(String::as_str).collect();
    let more = words.len().saturating_sub(TOLD);
    let and = if more > 0 { format!("; and {more} more") } else { String::new() };
    let what = format!("{}{and}", told.join("; "));
    match directory.set_aside(name) {
        Ok(to) => tracing::error!(
            "the saved state is not whole and was set aside as {}; what is whole of it is used: {what}",
            to.display()
        ),
        Err(why) => {
            tracing::error!("the saved state is not whole; what is whole of it is used: {what}; and {why}")
        }
    }
}

fn tell(restored: &Restored, max_age: Duration) {
    let Restored { registries, services, age, changed, too_old } = restored;
    let seconds = |age: &Duration| Duration::from_secs(age.as_secs());
    if *registries > 0 {
        tracing::info!(
            registries,
            services,
            "restored {registries} registries, {services} services, {} s old: served until they have been read",
            age.as_secs()
        );
    }
    for registry in changed {
        tracing::info!(%registry, "its settings have changed since it was saved: what was saved is served until it has been read");
    }
    for (registry, age) in too_old {
        let age = seconds(age);
        tracing::warn!(%registry, ?age, ?max_age, "what was saved of it is too old (`state.maxAge`) and is not served");
    }
}

#[cfg(test)]
mod tests;
