//! A wall clock that can be stepped, for Chandler alone: a few lines of C that the loader puts before the system's, so that the
//! program needs no hook for it.

use std::time::SystemTime;

use tempfile::TempDir;
use tokio::process::Command;

use crate::support::scratch;

const SOURCE: &str = include_str!("clock.c");

/// Steps the clock of whoever is started with [`Clock::environment`].
#[derive(Debug)]
pub(crate) struct Clock {
    files: TempDir,
}

impl Clock {
    /// With the compiler that linked this test. It shows the right time.
    pub(crate) async fn make() -> Self {
        let clock = Self { files: scratch("faults-clock") };
        let path = |name: &str| clock.files.path().join(name);
        std::fs::write(path("clock.c"), SOURCE).expect("a file");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(path("clock.so")).arg(path("clock.c"));
        let output = command.output().await.expect("cc, which every build of ours needs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        clock.step(0);
        clock
    }

    pub(crate) fn environment(&self) -> [(&'static str, String); 2] {
        let path = |name: &str| self.files.path().join(name).display().to_string();
        [("LD_PRELOAD", path("clock.so")), ("CHANDLER_TEST_CLOCK", path("step"))]
    }

    /// What it shows, in seconds since 1970.
    pub(crate) fn now(&self) -> f64 {
        let text = std::fs::read_to_string(self.files.path().join("step")).expect("the step");
        let step: f64 = text.parse().expect("a number");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        now.as_secs_f64() + step
    }

    /// It is wrong by so many seconds from now on.
    pub(crate) fn step(&self, seconds: i64) {
        crate::files::replace(&self.files.path().join("step"), seconds.to_string().as_bytes());
    }
}
