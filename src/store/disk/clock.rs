//! How old a file is. A wall clock may have been stepped since, in either direction, so it is asked last: within one boot of a
//! machine, how long that has been up tells; a file from the future is new.

use std::time::{Duration, SystemTime};

use crate::proto::state::Stamp;

/// The time, by all clocks that there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// The wall clock.
    pub wall: SystemTime,
    /// Which boot of the machine this is, and for how long it has been up; absent: it does not say.
    pub boot: Option<(String, Duration)>,
}

impl Now {
    /// The present.
    #[must_use]
    pub fn read() -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let uptime = std::fs::read_to_string("/proc/uptime").ok();
        let seconds = uptime.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        let uptime = seconds.and_then(|s| Duration::try_from_secs_f64(s).ok());
        let boot = boot.map(|id| id.trim().to_string()).filter(|id| !id.is_empty());
        Self { wall: SystemTime::now(), boot: boot.zip(uptime) }
    }

    /// As it is written down.
    #[must_use]
    pub fn stamp(&self, program: &str) -> Stamp {
        let wall = self.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (boot, uptime) = self.boot.clone().unwrap_or_default();
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        Stamp { wall_millis: millis(wall), boot, uptime_millis: millis(uptime), program: program.into() }
    }

    /// How long ago `stamp` was made.
    #[must_use]
    pub fn since(&self, stamp: &Stamp) -> Duration {
        if let Some((boot, uptime)) = self.boot.as_ref().filter(|(boot, _)| *boot == stamp.boot) {
            let up_then = Duration::from_millis(stamp.uptime_millis);
            debug_assert!(!boot.is_empty(), "an empty one is no boot");
            return uptime.saturating_sub(up_then);
        }
        let wall = self.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        wall.saturating_sub(Duration::from_millis(stamp.wall_millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: u64, boot: Option<(&str, u64)>) -> Now {
        let seconds = Duration::from_secs;
        let boot = boot.map(|(id, up)| (id.to_string(), seconds(up)));
        Now { wall: SystemTime::UNIX_EPOCH + seconds(wall), boot }
    }

    #[test]
    fn within_one_boot_the_wall_clock_is_not_asked() {
        let stamp = at(1_000_000, Some(("b1", 500))).stamp("test");
        for stepped in [0, 999_000, 1_000_042, 99_000_000] {
            assert_eq!(at(stepped, Some(("b1", 542))).since(&stamp), Duration::from_secs(42), "{stepped}");
        }
    }

    #[test]
    fn after_another_boot_it_is_and_a_file_from_the_future_is_new() {
        let stamp = at(1_000_000, Some(("b1", 500))).stamp("test");
        for boot in [Some(("b2", 3)), None] {
            assert_eq!(at(1_000_060, boot).since(&stamp), Duration::from_secs(60));
            assert_eq!(at(5, boot).since(&stamp), Duration::ZERO);
        }
        let unsaid = at(1_000_000, None).stamp("test");
        assert_eq!(at(1_000_001, Some(("b1", 9))).since(&unsaid), Duration::from_secs(1));
    }

    #[test]
    fn this_machine_tells_the_time() {
        let now = Now::read();
        assert!(Now::read().since(&now.stamp("test")) < Duration::from_secs(60));
    }
}
