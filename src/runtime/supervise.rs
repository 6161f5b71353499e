//! Every task has an owner. Critical ones end the process when they end; a registry's life is started again, and so is
//! whatever else must go on.

use std::future::Future;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::service::RegistryName;
use crate::runtime::status::Status;

/// The pause after a registry's first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause: a registry that comes back is found within half a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A life that lasted this long was a good one: the pauses start anew.
const GOOD_LIFE: Duration = Duration::from_secs(60);

/// What ends the process when it ends: the pipeline, the listeners.
#[derive(Debug, Default)]
pub struct Critical {
    tasks: JoinSet<(&'static str, Result<(), String>)>,
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
        self.tasks.spawn(async move { (name, task.await.map_err(|e| e.to_string())) });
    }

    /// Waits until all have ended, but no longer than `within`; how many have not.
    pub async fn all_ended(&mut self, within: Duration) -> usize {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _in_time = tokio::time::timeout(within, all).await;
        self.tasks.len()
    }

    /// Waits for the next end; `None` once all have ended.
    pub async fn next(&mut self) -> Option<Ended> {
        Some(match self.tasks.join_next().await? {
            Ok((name, result)) => Ended { name, result },
            Err(e) => Ended { name: "a critical task", result: Err(words(e)) },
        })
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
    let mut pauses = pauses();
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
        if born.elapsed() >= GOOD_LIFE {
            pauses = self::pauses();
        }
        let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
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
            let mut pauses = pauses();
            while !stop.is_cancelled() {
                let (born, mut one) = (Instant::now(), JoinSet::new());
                one.spawn(next());
                let why = match one.join_next().await {
                    _ if stop.is_cancelled() => return,
                    Some(Err(e)) => words(e),
                    Some(Ok(())) | None => "it ended by itself".to_owned(),
                };
                if born.elapsed() >= GOOD_LIFE {
                    pauses = self::pauses();
                }
                let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
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

fn pauses() -> impl Iterator<Item = Duration> + Send {
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
        let all: Vec<Duration> = pauses().take(200).collect();
        assert!(all.iter().all(|pause| (FIRST_PAUSE..=LONGEST_PAUSE).contains(pause)), "{all:?}");
        let last: std::collections::BTreeSet<_> = all.iter().rev().take(100).collect();
        assert!(last.len() > 90, "replicas would come back all at once");
        assert!(last.iter().all(|pause| **pause >= LONGEST_PAUSE / 2));
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
        assert!(ended.result.unwrap_err().contains("boom"));
        assert_eq!(critical.next().await, None);
    }
}
