//! What a process of ours or of others uses.

use std::time::Duration;

use tokio::time::sleep;

/// Of `/proc`, in which CPU is counted; the same on every Linux.
const TICKS: f64 = 100.0;

/// A running process.
#[derive(Clone, Copy)]
pub(crate) struct Usage(pub(crate) u32);

impl Usage {
    fn read(self, name: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{name}", self.0)).expect("it runs")
    }

    /// Seconds that it has run, in threads that have ended, too.
    pub(crate) fn cpu(self) -> f64 {
        let stat = self.read("stat");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        [11, 12].iter().map(|i| fields[*i].parse::<f64>().unwrap()).sum::<f64>() / TICKS
    }

    /// Bytes that are resident (`VmRSS`), or were at most (`VmHWM`).
    pub(crate) fn memory(self, row: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|l| l.strip_prefix(row)).expect("a row");
        let number = line.trim_start_matches(':').trim().trim_end_matches(" kB");
        number.parse::<u64>().unwrap() << 10
    }

    /// Waits until it uses at most this share of a core, three times in a row: what came before is over then.
    pub(crate) async fn settle(self, share: f64) {
        const LOOK: Duration = Duration::from_millis(500);
        let (mut before, mut calm) = (self.cpu(), 0);
        while calm < 3 {
            sleep(LOOK).await;
            let now = self.cpu();
            calm = if now - before <= share * LOOK.as_secs_f64() { calm + 1 } else { 0 };
            before = now;
        }
    }
}
