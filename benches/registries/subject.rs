//! The program under measurement, with a client that has everything.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::meter::Process;
use crate::support::Chandler;
use crate::watcher::Watcher;

/// From calm: what waits is the quiet time alone.
const CALM: Duration = Duration::from_millis(1200);
/// `push.endpointQuiet` by default: what a change waits on purpose.
pub(crate) const QUIET: Duration = Duration::from_millis(100);

pub(crate) struct Subject {
    pub(crate) chandler: Chandler,
    pub(crate) process: Process,
    pub(crate) watcher: Watcher,
}

/// What a complete read took.
pub(crate) struct First {
    pub(crate) wall: Duration,
    cpu: Duration,
    peak: u64,
    pub(crate) services: usize,
}

/// What changes took, all sorted.
pub(crate) struct Changes {
    /// From the registry's acknowledgement to the client's, the quiet time included.
    took: Vec<Duration>,
    /// CPU of a change, in microseconds; what would have been spent anyway is taken off, and may have been more.
    pub(crate) cpu: f64,
}

impl Subject {
    /// Starts the program, and returns once a client has been given all of `services`.
    pub(crate) async fn start(registries: &str, services: usize) -> (Self, First) {
        let started = Instant::now();
        let mut chandler = Chandler::build().registries(registries).start().await;
        let mut watcher = Watcher::start(chandler.grpc);
        let process = Process(chandler.process().pid().to_string());
        let (at, count) = watcher.next().await;
        let (wall, cpu, peak) = (at - started, process.cpu(), process.peak());
        assert!(count >= services, "{count} of {services} services");
        let first = First { wall, cpu, peak, services: count };
        (Self { chandler, process, watcher }, first)
    }

    /// Changes something `turns` times; `change` returns what the client will see once the registry has said yes.
    /// Everything that happens within `window` of a change is charged to it, as much without one taken off.
    pub(crate) async fn changes(
        &mut self,
        turns: u32,
        window: Duration,
        mut change: impl AsyncFnMut(u32) -> String,
    ) -> Changes {
        let (mut took, mut spent, mut idle) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 1..=turns {
            sleep(CALM).await;
            let before = self.process.cpu();
            sleep(window).await;
            idle.push(self.process.cpu() - before);
            let (before, until) = (self.process.cpu(), Instant::now() + window);
            let text = change(turn).await;
            let acknowledged = Instant::now();
            took.push(self.watcher.sees(&text).await.saturating_duration_since(acknowledged));
            tokio::time::sleep_until(until).await;
            spent.push(self.process.cpu() - before);
        }
        if std::env::var_os("CHANDLER_BENCH_EACH").is_some() {
            eprintln!("  one by one: took {took:.0?}; CPU {spent:.1?}; idle {idle:.1?}");
        }
        for all in [&mut took, &mut spent, &mut idle] {
            all.sort();
        }
        let middle = |all: &[Duration]| all[all.len() / 2].as_secs_f64() * 1e6;
        Changes { took, cpu: middle(&spent) - middle(&idle) }
    }

    /// Resident now.
    pub(crate) fn resident_mib(&self) -> u64 {
        self.process.resident() >> 20
    }
}

impl First {
    pub(crate) fn print(&self, resident: u64) {
        println!(
            "  {} services: first complete answer {:.2} s after the start, {:.2} CPU s, peak {} MiB, resident {resident} MiB",
            self.services,
            self.wall.as_secs_f64(),
            self.cpu.as_secs_f64(),
            self.peak >> 20
        );
    }
}

impl Changes {
    /// The share of changes in percent that took at most this.
    pub(crate) fn within(&self, percent: usize) -> Duration {
        self.took[(self.took.len() * percent).div_ceil(100).max(1) - 1]
    }

    pub(crate) fn print(&self, what: &str) {
        println!(
            "  {what}: {:.0} us of CPU; registry's acknowledgement to client's p50 {:.1?} p90 {:.1?} p99 {:.1?} of {}",
            self.cpu,
            self.within(50),
            self.within(90),
            self.within(99),
            self.took.len()
        );
    }
}
