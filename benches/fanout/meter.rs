//! What a process spends: CPU with the kernel's share, time, resident memory.

use std::time::Duration;

use tokio::time::Instant;

/// What a phase took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    /// Resident bytes at the highest, over those at the start; socket buffers are the kernel's and not in it.
    pub(crate) memory: u64,
}

/// Whom to look at, as `/proc` names it: a process id, or `self`.
#[derive(Debug, Clone)]
pub(crate) struct Process(pub(crate) String);

impl Process {
    pub(crate) fn myself() -> Self {
        Self("self".into())
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0)
    }

    /// What its threads have run so far. `stat` would say it in steps of 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(self.file("task")).unwrap();
        let of = |task: std::io::Result<std::fs::DirEntry>| {
            let text = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        Duration::from_nanos(tasks.map(of).sum())
    }

    fn bytes(&self, row: &str) -> u64 {
        let status = std::fs::read_to_string(self.file("status")).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix(row)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    pub(crate) fn resident(&self) -> u64 {
        self.bytes("VmRSS:")
    }

    /// The most that was ever resident, or since [`Meter::start`].
    pub(crate) fn peak(&self) -> u64 {
        self.bytes("VmHWM:")
    }

    /// Waits until it has done next to nothing for half a second: what came before is not charged to what follows.
    pub(crate) async fn settle(&self) {
        self.settle_below(Duration::from_millis(10)).await;
    }

    /// Waits until it has spent less than `most` in half a second.
    pub(crate) async fn settle_below(&self, most: Duration) {
        loop {
            let before = self.cpu();
            tokio::time::sleep(Duration::from_millis(500)).await;
            if self.cpu() - before < most {
                return;
            }
        }
    }
}

/// A phase of a process that has begun.
pub(crate) struct Meter {
    process: Process,
    cpu: Duration,
    memory: u64,
    since: Instant,
}

impl Meter {
    pub(crate) fn start(process: &Process) -> Self {
        std::fs::write(process.file("clear_refs"), "5").unwrap(); // the highest is from now on
        let (cpu, memory) = (process.cpu(), process.resident());
        Self { process: process.clone(), cpu, memory, since: Instant::now() }
    }

    pub(crate) fn stop(self) -> Cost {
        let memory = self.process.peak().saturating_sub(self.memory);
        Cost { cpu: self.process.cpu() - self.cpu, wall: self.since.elapsed(), memory }
    }
}
