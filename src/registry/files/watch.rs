//! One life of a registry of files: read everything, then what changes.
//!
//! The first complete reading is a `Reset`; after that only what changed is said. As long as a file makes no sense that
//! never did, it is not known what the registry holds: there is no `Reset`, the rest is said piece by piece so that it
//! is known at least, and the `Reset` follows once the file is mended or gone.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::model::change::{Batch, Change, Trust};
use crate::model::service::RegistryName;
use crate::pipeline::intake::Changes;
use crate::registry::again::Again;
use crate::registry::files::agenda::{Agenda, Look, Sign, Sweep};
use crate::registry::files::ground::Place;
use crate::registry::files::notice::{Inbox, Watches};
use crate::registry::files::round::{Outcome, Reader, Shared};
use crate::registry::{BoxFuture, Registry, RegistryError};
use crate::runtime::status::Status;

/// A net under the watches: what they lost is found after this long at most.
const RESCAN: Duration = Duration::from_secs(30);
/// Where nothing can be watched; a walk costs one look at each name, no reading.
const POLL: Duration = Duration::from_secs(2);
/// How many broken files a problem names; the others stand in the report of the registry.
const NAMED: usize = 3;

/// One life.
#[derive(Debug)]
pub(crate) struct FilesRegistry {
    pub(crate) shared: Arc<Shared>,
    pub(crate) name: RegistryName,
    pub(crate) status: Arc<Status>,
    /// How this life gets to know of changes.
    pub(crate) notices: fn(Arc<Inbox>) -> Watches,
}

impl Registry for FilesRegistry {
    fn run(
        self: Box<Self>,
        changes: Changes,
        stop: CancellationToken,
    ) -> BoxFuture<Result<(), RegistryError>> {
        Box::pin(async move {
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                ended = self.live(changes) => ended,
            }
        })
    }
}

impl FilesRegistry {
    async fn live(&self, changes: Changes) -> Result<(), RegistryError> {
        let inbox = Arc::new(Inbox::default());
        let (shared, notices, bell) = (Arc::clone(&self.shared), self.notices, Arc::clone(&inbox));
        let mut reader = off_runtime(move || Reader::new(shared, notices(bell))).await?;
        let mut agenda = Agenda::default();
        agenda.sweep(Sweep::Careful);
        let mut again = Again::new(changes.clone());
        let mut voice =
            Voice { life: self, changes, complete: false, first: true, once_more: false, problem: None };
        let mut rescan = Instant::now() + RESCAN;
        loop {
            if let Some(look) = agenda.take(Instant::now()) {
                let swept = look.sweep != Sweep::No;
                let outcome;
                (reader, outcome) = round(reader, look).await?;
                let now = Instant::now();
                agenda.doubt(outcome.doubted, now);
                outcome.young.into_iter().for_each(|name| agenda.wait(name, now));
                if swept {
                    rescan = now + if reader.trouble().is_some() { POLL } else { RESCAN };
                }
                voice.say(outcome.changes, outcome.root_fault, reader.trouble()).await?;
                continue;
            }
            let wake = agenda.due().map_or(rescan, |due| due.min(rescan));
            tokio::select! {
                () = inbox.ring() => take_in(&inbox, &mut reader, &mut agenda),
                () = sleep_until(wake) => {}
                () = again.wait() => {
                    again.was_read();
                    voice.once_more = true;
                    agenda.sweep(Sweep::Careful);
                }
            }
            if Instant::now() >= rescan {
                agenda.sweep(Sweep::Careful);
            }
        }
    }
}

/// Moves what was noticed to the agenda.
fn take_in(inbox: &Inbox, reader: &mut Reader, agenda: &mut Agenda) {
    let gathered = inbox.take();
    if gathered.lost {
        agenda.sweep(Sweep::Careful);
    }
    let now = Instant::now();
    for (path, sign) in gathered.signs {
        let place = reader.ground().place(&path);
        let may_move = sign >= Sign::Renamed && place == Place::Entry;
        if may_move || place == Place::Structure {
            reader.distrust(path);
        }
        agenda.note(place, sign, now);
    }
}

async fn round(mut reader: Reader, look: Look) -> Result<(Reader, Outcome), RegistryError> {
    let (reader, outcome) = off_runtime(move || {
        let outcome = reader.round(&look);
        (reader, outcome)
    })
    .await?;
    Ok((reader, outcome.map_err(|e| RegistryError::Failed(e.to_string()))?))
}

/// Runs what blocks where it may.
async fn off_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RegistryError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| RegistryError::Failed(format!("reading the files ended unexpectedly: {e}")))
}

/// What a life has said so far, and how it goes on.
struct Voice<'a> {
    life: &'a FilesRegistry,
    changes: Changes,
    /// The `Reset` was sent.
    complete: bool,
    /// Nothing was said yet.
    first: bool,
    /// What is held waits for a complete read: all is said, not only what changed.
    once_more: bool,
    /// What was last said to be wrong.
    problem: Option<String>,
}

impl Voice<'_> {
    async fn say(
        &mut self,
        changes: Vec<Change>,
        root_fault: Option<String>,
        trouble: Option<&str>,
    ) -> Result<(), RegistryError> {
        let batch = self.batch(changes, root_fault.as_deref());
        if !batch.0.is_empty() {
            self.changes.send(batch).await?;
        }
        self.first = false;
        self.report(root_fault, trouble);
        Ok(())
    }

    fn batch(&mut self, mut changes: Vec<Change>, root_fault: Option<&str>) -> Batch {
        let memory = self.life.shared.memory();
        let reset = |trust| {
            let scope = self.life.shared.decoder.scope.clone();
            Change::Reset { scope, items: memory.all(), trust }
        };
        if !self.complete && !memory.is_incomplete() {
            self.complete = true;
            return Batch(vec![reset(Trust::Complete)]);
        }
        if self.complete && std::mem::take(&mut self.once_more) {
            // Where there should be files and is nothing at all, nothing is proven, however often one looks.
            let trust = root_fault.map_or(Trust::Complete, |why| Trust::Doubtful(why.into()));
            changes.push(reset(trust));
            return Batch(changes);
        }
        // What an earlier life found and could not say any more is part of the whole.
        let whole = self.first.then(|| memory.all().into_iter().map(Change::Upsert).collect());
        Batch(whole.unwrap_or(changes))
    }

    fn report(&mut self, root_fault: Option<String>, trouble: Option<&str>) {
        let problem = self.problem(root_fault, trouble);
        if problem != self.problem {
            let registry = &self.life.name;
            match &problem {
                Some(problem) => tracing::warn!(%registry, "{problem}"),
                None => tracing::info!(%registry, "every file makes sense again"),
            }
        }
        self.life.status.registry(&self.life.name, |s| {
            s.problem.clone_from(&problem);
            s.last_success = Some(SystemTime::now());
        });
        self.problem = problem;
    }

    fn problem(&self, root_fault: Option<String>, trouble: Option<&str>) -> Option<String> {
        let memory = self.life.shared.memory();
        let mut all: Vec<String> = root_fault.into_iter().collect();
        all.extend(memory.faults().take(NAMED).map(|(_, why)| why.to_owned()));
        let more = memory.faults().count().saturating_sub(NAMED);
        if more > 0 {
            all.push(format!("{more} more files make no sense"));
        }
        if !self.complete {
            all.push("nothing is known of it yet, so what this registry holds is not complete".into());
        }
        all.extend(
            trouble.map(|t| format!("{t}; meanwhile the files are looked at every {} s", POLL.as_secs())),
        );
        (!all.is_empty()).then(|| all.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::sync::mpsc;

    use super::*;
    use crate::pipeline::intake::{Delivery, Generation};
    use crate::registry::files::decode::Decoder;
    use crate::registry::files::scan::Root;

    /// A life in an empty directory, whose notices are these; what it says, and how it is.
    fn life(
        notices: fn(Arc<Inbox>) -> Watches,
    ) -> (tempfile::TempDir, Arc<Status>, mpsc::Receiver<Delivery>, CancellationToken) {
        let dir = tempfile::tempdir().unwrap();
        let decoder = Decoder { scope: crate::registry::files::scope(), namespace: "chandler".into() };
        let shared = Arc::new(Shared::new(Root::new(dir.path().into()), decoder));
        let (status, name) = (Arc::new(Status::default()), RegistryName::new("onboard"));
        let life = FilesRegistry { shared, name: name.clone(), status: Arc::clone(&status), notices };
        let (out, said) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let run = Box::new(life).run(Changes::new(name, Generation(0), out), stop.clone());
        #[allow(clippy::disallowed_methods)] // the test owns it
        tokio::spawn(run);
        (dir, status, said, stop)
    }

    async fn finds(notices: fn(Arc<Inbox>) -> Watches, within: Duration) -> Option<String> {
        let (dir, status, mut said, stop) = life(notices);
        assert!(matches!(said.recv().await.unwrap().batch.0[..], [Change::Reset { .. }]));
        fs::write(dir.path().join("a.yaml"), "services: [{name: one}]").unwrap();
        let began = Instant::now();
        assert!(matches!(said.recv().await.unwrap().batch.0[..], [Change::Upsert(_)]));
        assert!(began.elapsed() <= within, "{:?}", began.elapsed());
        stop.cancel();
        status.registries().into_values().next().and_then(|s| s.problem)
    }

    #[tokio::test(start_paused = true)]
    async fn while_anything_is_held_all_is_said_again_and_of_a_root_that_is_gone_it_is_doubted() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), "services: [{name: one}]").unwrap();
        let decoder = Decoder { scope: crate::registry::files::scope(), namespace: "chandler".into() };
        let shared = Arc::new(Shared::new(Root::new(dir.path().into()), decoder));
        let (status, name) = (Arc::new(Status::default()), RegistryName::new("onboard"));
        let notices = |_| Watches::none(None);
        let life = FilesRegistry { shared, name: name.clone(), status, notices };
        let (out, mut said) = mpsc::channel(4);
        let (ask, asked) = tokio::sync::watch::channel(crate::pipeline::intake::ReadAgain::new());
        let (stop, changes) = (CancellationToken::new(), Changes::new(name.clone(), Generation(0), out));
        let run = Box::new(life).run(changes.heeding(asked), stop.clone());
        #[allow(clippy::disallowed_methods)] // the test owns it
        tokio::spawn(run);
        let complete = |delivery: Delivery| matches!(&delivery.batch.0[..], [.., Change::Reset { trust: Trust::Complete, items, .. }] if items.len() == 1);
        assert!(complete(said.recv().await.unwrap()));
        ask.send(std::iter::once((name, Duration::from_secs(5))).collect()).unwrap();
        assert!(complete(said.recv().await.unwrap()));
        fs::remove_dir_all(dir.path()).unwrap();
        let doubted = |d: &Delivery| {
            d.batch.0.iter().any(|c| matches!(c, Change::Reset { trust: Trust::Doubtful(_), .. }))
        };
        while !doubted(&said.recv().await.unwrap()) {}
        stop.cancel();
    }

    /// The clock stands still while files are read and jumps when only time is waited for.
    #[tokio::test(start_paused = true)]
    async fn what_the_watch_loses_the_rescan_finds() {
        assert_eq!(finds(|_| Watches::none(None), RESCAN + Duration::from_secs(1)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_can_be_watched_the_files_are_polled_and_the_problem_says_why() {
        let problem = finds(|_| Watches::none(Some("no watches left")), POLL + Duration::from_secs(1)).await;
        assert_eq!(problem.unwrap(), "no watches left; meanwhile the files are looked at every 2 s");
    }
}
