//! What Prometheus users expect to know of every process: memory, processor time, age, open files.
//!
//! Read from `/proc` at each scrape. Where there is no `/proc`, or a line of it cannot be read, that metric is absent.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks a second in `/proc`, whatever the kernel's own tick: fixed in Linux' interface to programs (`USER_HZ`).
const TICKS: f64 = 100.0;

/// This process.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::read) {
            let cpu = ConstCounter::new(stat.cpu_ticks / TICKS);
            put(&mut encoder, "process_cpu_seconds", "Processor time spent, in seconds", &cpu)?;
            if let Some(boot) = fs::read_to_string("/proc/stat").ok().as_deref().and_then(boot_time) {
                let start = ConstGauge::new(boot + stat.start_ticks / TICKS);
                let help = "When the process started, in seconds since 1970";
                put(&mut encoder, "process_start_time_seconds", help, &start)?;
            }
        }
        if let Some(bytes) = fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident) {
            let memory = ConstGauge::new(bytes);
            put(&mut encoder, "process_resident_memory_bytes", "Memory in use, in bytes", &memory)?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            // One of them is the directory that is being read.
            let open = i64::try_from(open.count()).unwrap_or(i64::MAX).saturating_sub(1);
            put(&mut encoder, "process_open_fds", "Open files and sockets", &ConstGauge::new(open))?;
        }
        if let Some(most) = fs::read_to_string("/proc/self/limits").ok().as_deref().and_then(open_files) {
            put(&mut encoder, "process_max_fds", "Open files and sockets allowed", &ConstGauge::new(most))?;
        }
        Ok(())
    }
}

fn put(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
}

impl Stat {
    /// Fields 14, 15 (user and system time) and 22 (start) of `/proc/<pid>/stat`, counted from 1.
    fn read(text: &str) -> Option<Self> {
        // The program's name in field 2 may hold spaces and parentheses; nothing behind it does.
        let (_, rest) = text.rsplit_once(')')?;
        let field = |n: usize| rest.split_whitespace().nth(n - 3)?.parse::<f64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)? })
    }
}

/// When the machine started, in seconds since 1970.
fn boot_time(text: &str) -> Option<f64> {
    text.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()
}

/// The resident set in bytes.
fn resident(text: &str) -> Option<i64> {
    let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// How many files may be open; `None`: without limit.
fn open_files(text: &str) -> Option<i64> {
    text.lines().find_map(|l| l.strip_prefix("Max open files "))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 3 0 12345 1000 200";
        assert_eq!(Stat::read(text), Some(Stat { cpu_ticks: 200.0, start_ticks: 12345.0 }));
        assert_eq!(Stat::read("42 (a"), None);
        assert_eq!(Stat::read("42 (a) S 1"), None);
    }

    #[test]
    fn sizes_and_times_are_in_base_units() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(
            open_files("Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n"),
            Some(1024)
        );
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_000.0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_running_process_has_all_of_them() {
        let text = crate::telemetry::Metrics::new().encode(|_| ()).unwrap();
        for name in [
            "process_cpu_seconds_total ",
            "process_start_time_seconds ",
            "process_resident_memory_bytes ",
            "process_open_fds ",
        ] {
            assert!(text.lines().any(|l| l.starts_with(name)), "{name} in\n{text}");
        }
    }
}
