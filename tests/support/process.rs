//! One server process: its log, its readiness, its end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How long anything here may take before the test is given up. Generous: the machine may be busy; nothing waits for it
/// unless something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The same for a server's start, and all else that ends with the process that is waited for: on a machine with twenty others
/// at work a Java server takes more than a minute to answer first.
pub const STARTING: Duration = Duration::from_secs(300);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Looks until `check` has an answer.
///
/// # Panics
/// With `what` was waited for, when `limit` has passed.
pub async fn eventually<T>(what: &str, limit: Duration, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if let Some(found) = check().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
    }
}

/// How long nothing has happened, as a busy machine feels it. A server that is starved answers seldom and does nothing in
/// between: such a pause counts for little, or it would look like rest.
#[derive(Debug, Default)]
pub struct Quiet {
    since: Option<Instant>,
    so_far: Duration,
}

impl Quiet {
    /// Takes in one more look, which has found that nothing has changed, or that something has.
    pub fn after(&mut self, nothing_new: bool) -> Duration {
        let now = Instant::now();
        let step = self.since.replace(now).map_or(Duration::ZERO, |before| now - before);
        self.so_far = if nothing_new { self.so_far + step.min(10 * LOOK) } else { Duration::ZERO };
        self.so_far
    }
}

/// A process that the test started. Dropping it kills it; if the test is failing then, the end of its log is shown.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    pid: u32,
    log: PathBuf,
    /// Working directory; also holds the log. Gone with the process unless `CHANDLER_TEST_KEEP` is set.
    dir: Option<TempDir>,
}

impl Process {
    /// Starts `command` with standard error, and output unless the command already leads it elsewhere, in a log.
    pub fn start(name: &str, mut command: Command) -> Self {
        let dir = scratch(name);
        let log = dir.path().join("log");
        let file = File::create(&log).expect("a log file");
        command.stdout(file.try_clone().expect("a second handle of the log")).stderr(file);
        Self::spawn(name, command, log, dir)
    }

    /// Starts `command` with its output in a file of its own, and its input a pipe of ours.
    pub fn start_with_output(name: &str, mut command: Command) -> (Self, PathBuf) {
        let dir = scratch(name);
        let (log, output) = (dir.path().join("log"), dir.path().join("output"));
        command.stdin(Stdio::piped());
        command.stdout(File::create(&output).expect("an output file"));
        command.stderr(File::create(&log).expect("a log file"));
        (Self::spawn(name, command, log, dir), output)
    }

    fn spawn(name: &str, mut command: Command, log: PathBuf, dir: TempDir) -> Self {
        if command.as_std().get_current_dir().is_none() {
            command.current_dir(dir.path());
        }
        let child = command
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let pid = child.id().expect("a process just started has an id");
        Self { name: name.to_owned(), child, pid, log, dir: Some(dir) }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it works, and where its log is.
    pub fn dir(&self) -> &Path {
        self.log.parent().expect("the log lies in a folder")
    }

    pub fn input(&mut self) -> &mut tokio::process::ChildStdin {
        self.child.stdin.as_mut().expect("started with a pipe for its input")
    }

    /// Everything that it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub fn log_contains(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// Waits until `text` is in its log.
    pub async fn wait_for_log(&mut self, text: &str) {
        let log = self.log.clone();
        self.ready(&format!("{text:?} in its log"), async || {
            std::fs::read(&log).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
        })
        .await;
    }

    /// Waits until `check` holds, and no longer than the process lives.
    pub async fn ready(&mut self, what: &str, mut check: impl AsyncFnMut() -> bool) {
        let waited_for = format!("{what} of {}", self.name);
        let child = &mut self.child;
        let name = &self.name;
        eventually(&waited_for, STARTING, async || {
            if let Some(status) = child.try_wait().expect("its state") {
                panic!("{name} ended ({status}) before {what}");
            }
            check().await.then_some(())
        })
        .await;
    }

    /// Whether it has ended, and how.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("its state")
    }

    /// Waits for its end, without asking for it.
    pub async fn wait(&mut self) -> ExitStatus {
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => status.expect("its state"),
            Err(_) => panic!("{} did not end within {PATIENCE:?}", self.name),
        }
    }

    /// Sends one signal, by name (`TERM`, `HUP`, `STOP`, `CONT`).
    pub async fn signal(&self, signal: &str) {
        let arguments = ["-c", "kill -\"$0\" \"$1\"", signal, &self.pid.to_string()];
        let status = Command::new("sh").args(arguments).status().await.expect("a shell");
        assert!(status.success(), "{} could not be sent SIG{signal}", self.name);
    }

    /// SIGTERM; how it ended. A process that does not heed it is a failure.
    pub async fn terminate(&mut self) -> ExitStatus {
        if self.exited().is_none() {
            self.signal("TERM").await;
        }
        self.wait().await
    }

    /// SIGKILL, unless it has ended already.
    pub async fn kill(&mut self) {
        if self.exited().is_none() {
            self.child.kill().await.expect("a process of ours can be killed");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("---- the end of {}'s log ----\n{}\n----", self.name, last.join("\n"));
        }
        if std::env::var_os("CHANDLER_TEST_KEEP").is_some()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("{}: kept {}", self.name, dir.keep().display());
        }
    }
}

/// A folder of its own for each process.
pub fn scratch(name: &str) -> TempDir {
    tempfile::Builder::new().prefix(&format!("chandler-test-{name}-")).tempdir().expect("a temporary folder")
}
