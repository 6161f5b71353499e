//! Every task has an owner. Critical ones end the process when they end; a registry's life is started again, and so is
//! whatever else must go on.
//!
//! What is started again waits longer each time, so that a registry that is down is not stormed. What its life lasted counts
//! as waited: one that fails once in a while is back at once, and none begins more often than the pauses allow.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::service::RegistryName;
use crate::runtime::status::Status;

/// The pause after a registry's first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause: a registry that comes back is found within half a minute. A life that lasted as long was a good one:
/// the pauses start anew.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What ends the process when it ends: the pipeline, the listeners.
#[derive(Debug, Default)]
pub struct Critical {
    tasks: JoinSet<Result<(), String>>,
    /// Of those that have not ended: a panic takes everything else along that a task knows.
    names: BTreeMap<Id, &'static str>,
}

/// How a critical task ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which task.
    pub name: &'static str,
    /// Whether it was meant to.
    pub result: Result<(), String>,
}

impl Critical {
    /// Starts `task`; its error is shown to people.
    pub fn spawn<E: std::fmt::Display>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let task = self.tasks.spawn(async move { task.await.map_err(|e| e.to_string()) });
        self.names.insert(task.id(), name);
    }

    /// Waits until all have ended, but no longer than `within`; how many have not.
    pub async fn all_ended(&mut self, within: Duration) -> usize {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _in_time = tokio::time::timeout(within, all).await;
        self.tasks.len()
    }

    /// Waits for the next end; `None` once all have ended.
    pub async fn next(&mut self) -> Option<Ended> {
        let (id, result) = match self.tasks.join_next_with_id().await? {
            Ok((id, result)) => (id, result),
            Err(e) => (e.id(), Err(words(e))),
        };
        Some(Ended { name: self.names.remove(&id).unwrap_or("a critical task"), result })
    }
}

/// Runs lives of one registry until `stop`, one after the other, with growing, jittered pauses between failures.
pub async fn keep_alive<E, F>(
    registry: RegistryName,
    status: &Status,
    stop: CancellationToken,
    mut next_life: impl FnMut() -> F,
) where
    E: std::fmt::Display + Send + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
{
    let mut pauses = Pauses::new();
    while !stop.is_cancelled() {
        let born = Instant::now();
        let mut life = JoinSet::new();
        status.registry(&registry, |r| {
            r.up = true;
            r.problem = None;
        });
        life.spawn(next_life());
        // Dropped with its set when `stop` comes and the life does not listen.
        let why = match life.join_next().await {
            Some(Ok(Ok(()))) if stop.is_cancelled() => return,
            Some(Ok(Ok(()))) => "it ended by itself".to_string(),
            Some(Ok(Err(e))) => e.to_string(),
            Some(Err(e)) => words(e),
            None => return,
        };
        let pause = pauses.after(born.elapsed());
        tracing::warn!(%registry, pause_ms = pause.as_millis(), "registry failed, what is known of it stays: {why}");
        status.registry(&registry, |r| {
            r.up = false;
            r.problem = Some(why);
            r.failures += 1;
        });
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// A task of its own, aborted when the handle is dropped.
#[derive(Debug)]
pub struct Owned {
    set: JoinSet<()>,
}

impl Owned {
    /// Starts `task`.
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        let mut set = JoinSet::new();
        set.spawn(task);
        Self { set }
    }

    /// Starts a task that goes on until `stop`: if it panics or ends before, it is started again after a pause.
    pub fn lasting<F>(
        name: &'static str,
        stop: CancellationToken,
        mut next: impl FnMut() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::spawn(async move {
            let mut pauses = Pauses::new();
            while !stop.is_cancelled() {
                let (born, mut one) = (Instant::now(), JoinSet::new());
                one.spawn(next());
                let why = match one.join_next().await {
                    _ if stop.is_cancelled() => return,
                    Some(Err(e)) => words(e),
                    Some(Ok(())) | None => "it ended by itself".to_owned(),
                };
                let pause = pauses.after(born.elapsed());
                tracing::error!(task = name, pause_ms = pause.as_millis(), "started again: {why}");
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        })
    }

    /// Waits until it has ended.
    pub async fn ended(mut self) {
        while self.set.join_next().await.is_some() {}
    }
}

/// How long to wait between lives.
struct Pauses {
    growing: Box<dyn Iterator<Item = Duration> + Send>,
}

impl Pauses {
    fn new() -> Self {
        Self { growing: Box::new(growing()) }
    }

    /// After a life that lasted `lived`: less by that, but never less than a first pause, lest replicas that lost the same
    /// server at the same moment come back at the same moment.
    fn after(&mut self, lived: Duration) -> Duration {
        if lived >= LONGEST_PAUSE {
            *self = Self::new();
        }
        let least = growing().next().unwrap_or(FIRST_PAUSE);
        let whole = self.growing.next().unwrap_or(LONGEST_PAUSE);
        whole.saturating_sub(lived).max(least)
    }
}

fn growing() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        // Jitter adds up to as much again.
        .with_max_delay(LONGEST_PAUSE / 2)
        .with_jitter()
        .without_max_times()
        .build()
}

fn words(e: JoinError) -> String {
    let Ok(panic) = e.try_into_panic() else { return "it was aborted".into() };
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("it panicked (a bug, please report it): {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn no_pause_is_longer_than_the_longest_and_the_last_ones_still_differ() {
        let mut pauses = Pauses::new();
        let all: Vec<Duration> = (0..200).map(|_| pauses.after(Duration::ZERO)).collect();
        assert!(all.iter().all(|pause| (FIRST_PAUSE..=LONGEST_PAUSE).contains(pause)), "{all:?}");
        let last: std::collections::BTreeSet<_> = all.iter().rev().take(100).collect();
        assert!(last.len() > 90, "replicas would come back all at once");
        assert!(last.iter().all(|pause| **pause >= LONGEST_PAUSE / 2));
    }

    #[test]
    fn what_a_life_lasted_counts_as_waited() {
        let first = FIRST_PAUSE..=2 * FIRST_PAUSE;
        // Once in a while: it is back at once, however often that has happened.
        let mut pauses = Pauses::new();
        for lived in [50, 30, 3_600].map(Duration::from_secs).into_iter().cycle().take(50) {
            let pause = pauses.after(lived);
            assert!(first.contains(&pause), "{pause:?} after {lived:?}");
        }
        // More often: no life begins sooner after the one before than without any life in between.
        let mut pauses = Pauses::new();
        for n in 0..50 {
            let (lived, pause) = (Duration::from_secs(10), pauses.after(Duration::from_secs(10)));
            let between = lived + pause;
            assert!(n < 10 || between >= LONGEST_PAUSE / 2, "{between:?}");
            assert!(between <= LONGEST_PAUSE.max(lived + 2 * FIRST_PAUSE), "{between:?}");
        }
        // What failed many times and was well then begins anew.
        let mut pauses = Pauses::new();
        let worn = (0..50).map(|_| pauses.after(Duration::ZERO)).last().unwrap();
        assert!(worn >= LONGEST_PAUSE / 2, "{worn:?}");
        assert!(first.contains(&pauses.after(LONGEST_PAUSE)));
        assert!(pauses.after(Duration::ZERO) <= 4 * FIRST_PAUSE, "the second of the growing ones");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_or_an_error_is_one_failed_life() {
        let status = Status::default();
        let name = RegistryName::new("r");
        let stop = CancellationToken::new();
        let lives = Arc::new(AtomicU32::new(0));
        let (count, inner) = (Arc::clone(&lives), stop.clone());
        keep_alive(name.clone(), &status, stop, move || {
            let (n, stop) = (count.fetch_add(1, Ordering::Relaxed), inner.clone());
            async move {
                match n {
                    0 => Err("no route".to_string()),
                    1 => panic!("boom"),
                    _ => {
                        stop.cancel();
                        Ok(())
                    }
                }
            }
        })
        .await;
        assert_eq!(lives.load(Ordering::Relaxed), 3);
        assert_eq!(status.registries()[&name].failures, 2);
        assert_eq!(status.registries()[&name].problem, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lasting_task_is_started_again_after_a_panic_and_an_end_and_not_after_its_stop() {
        let (stop, lives) = (CancellationToken::new(), Arc::new(AtomicU32::new(0)));
        let (count, inner) = (Arc::clone(&lives), stop.clone());
        let task = Owned::lasting("keeper", stop, move || {
            let (n, stop) = (count.fetch_add(1, Ordering::Relaxed), inner.clone());
            async move {
                match n {
                    0 => panic!("boom"),
                    1 => {}
                    _ => stop.cancel(),
                }
            }
        });
        task.ended().await;
        assert_eq!(lives.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_when_told_to_is_named_and_left_behind() {
        let mut critical = Critical::default();
        critical.spawn("the pipeline", std::future::pending::<Result<(), String>>());
        critical.spawn("a listener", async { Ok::<(), String>(()) });
        assert_eq!(critical.all_ended(Duration::from_secs(5)).await, 1);
    }

    #[tokio::test]
    async fn a_panic_of_a_critical_task_is_an_end_with_words() {
        let mut critical = Critical::default();
        critical.spawn("pipeline", async { if true { panic!("boom") } else { Ok::<(), String>(()) } });
        let ended = critical.next().await.unwrap();
        assert_eq!(ended.name, "pipeline");
        assert!(ended.result.unwrap_err().contains("boom"));
        assert_eq!(critical.next().await, None);
    }
}
