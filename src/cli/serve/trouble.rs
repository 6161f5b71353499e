//! What becomes of the program when its core fails. Nothing that arrives from outside can bring that about, and a release build
//! knows no way to. So each test runs itself again, as the program from its arguments to its exit code, and that one lets its
//! pipeline be told on standard input to panic or to hang.

use std::any::type_name_of_val;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::pipeline::report::Questions;

/// Set in the program that a test has started: its configuration.
const INSIDE: &str = "CHANDLER_TEST_PROGRAM";
/// How long anything may take before a test is given up. Nothing waits for it unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is said once the pipeline hangs.
const HANGING: &str = "the pipeline hangs from now on";

static HANGS: AtomicBool = AtomicBool::new(false);

fn panic() {
    panic!("as it was told to");
}

fn hang() {
    eprintln!("{HANGING}");
    while HANGS.load(Ordering::Acquire) {
        thread::park_timeout(Duration::from_millis(10));
    }
}

/// In the program that a test has started: does to the pipeline what standard input says, line by line.
pub(super) fn await_orders(pipeline: Questions) {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    thread::spawn(move || {
        for order in std::io::stdin().lines().map_while(Result::ok) {
            HANGS.store(order == "hang", Ordering::Release);
            let _gone = match &*order {
                "panic" => pipeline.fail(panic),
                "hang" => pipeline.fail(hang),
                _ => true,
            };
        }
    });
}

/// The program itself, if this process is to be that; the test goes on if it is not.
fn be_the_program() {
    let Some(config) = std::env::var_os(INSIDE) else { return };
    let arguments = [OsString::from("chandler"), "serve".into(), "--config".into(), config];
    let code = crate::cli::run(arguments);
    let code = (0..=2).find(|n| code == ExitCode::from(*n));
    std::process::exit(code.map_or(99, i32::from))
}

/// The program with a service manager, as a test has started it. Ends with its test.
struct Program {
    child: Child,
    /// Lines of standard error and output.
    said: Receiver<String>,
    manager: UnixDatagram,
    telemetry: String,
    _dir: TempDir,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

impl Program {
    /// Runs `test` again as the program, until every socket is open.
    fn start<T>(test: &T) -> Self {
        let name = type_name_of_val(test).split_once("::").unwrap().1;
        let dir = tempfile::tempdir().unwrap();
        let (config, socket) = (dir.path().join("chandler.yaml"), dir.path().join("notify"));
        let any = "'127.0.0.1:0'";
        let text = format!(
            "server: {{listeners: [{{address: {any}}}]}}\ntelemetry: {{listen: {any}}}\nadmin: {{listen: {any}}}\n\
             registries: [{{name: own, files: {{path: services}}}}]\nstate: off\n"
        );
        std::fs::write(&config, text).unwrap();
        std::fs::create_dir(dir.path().join("services")).unwrap();
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, config)
            .env("NOTIFY_SOCKET", socket)
            .env("WATCHDOG_USEC", "400000")
            // Whatever the machine has: one thread is to hang, and others to go on.
            .env("TOKIO_WORKER_THREADS", "4")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, said) = channel();
        let outputs: [Box<dyn Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let say = say.clone();
            thread::spawn(move || {
                BufReader::new(output).lines().map_while(Result::ok).for_each(|line| {
                    let _nobody = say.send(line);
                });
            });
        }
        let mut program = Self { child, said, manager, telemetry: String::new(), _dir: dir };
        program.told("READY=1");
        let line = program.says("/metrics");
        let address = line.rsplit_once("http://").unwrap().1.strip_suffix("/metrics").unwrap();
        program.telemetry = address.to_owned();
        program
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn order(&mut self, order: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    /// Waits for a line with `words`.
    fn says(&self, words: &str) -> String {
        let (deadline, mut passed) = (Instant::now() + PATIENCE, Vec::new());
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.said.recv_timeout(left) else {
                panic!("never said {words:?}: {passed:#?}");
            };
            if line.contains(words) {
                return line;
            }
            passed.push(line);
        }
    }

    /// Waits until the service manager is told `wanted`.
    fn told(&self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.hears().is_some_and(|told| told.lines().any(|line| line == wanted)) {
            let said = || self.said.try_iter().collect::<Vec<_>>();
            assert!(Instant::now() < deadline, "never told {wanted}: {:#?}", said());
        }
    }

    /// The next word to the service manager; `None`: none came in time.
    fn hears(&self) -> Option<String> {
        let mut bytes = [0; 4096];
        let length = self.manager.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }

    /// Asks until the answer begins with `status`.
    fn answers(&self, path: &str, status: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(path).unwrap_or_default();
            if answer.starts_with(status) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} never answered {status}, at last {answer:?}");
        }
    }

    fn get(&self, path: &str) -> std::io::Result<String> {
        let mut connection = TcpStream::connect(&self.telemetry)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        write!(connection, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Waits for its end and returns its exit code.
    fn ends(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

#[test]
fn a_pipeline_that_panics_drains_and_ends_with_1() {
    be_the_program();
    let mut program = Program::start(&a_pipeline_that_panics_drains_and_ends_with_1);
    program.answers("/healthz", "HTTP/1.1 200");
    program.order("panic");
    program.told("STOPPING=1");
    program.says("a panic (a bug, please report it): as it was told to");
    program.says("stopping: new streams are refused, clients leave one by one");
    let last = program.says("Error: ");
    assert_eq!(last, "Error: the pipeline ended: it panicked (a bug, please report it): as it was told to");
    assert_eq!(program.ends(), Some(1));
}

#[test]
fn a_pipeline_that_hangs_is_seen_by_health_and_watchdog_and_can_be_ended() {
    be_the_program();
    let mut program = Program::start(&a_pipeline_that_hangs_is_seen_by_health_and_watchdog_and_can_be_ended);
    program.answers("/healthz", "HTTP/1.1 200");
    program.told("WATCHDOG=1");

    program.order("hang");
    program.says(HANGING);
    let answer = program.answers("/healthz", "HTTP/1.1 503");
    assert!(answer.ends_with("the pipeline does not answer\n"), "{answer}");
    // What is served is served: clients may come.
    program.answers("/readyz", "HTTP/1.1 200");
    // What was under way has long arrived; then there is silence, for longer than the patience of the manager.
    program.manager.set_nonblocking(true).unwrap();
    while program.hears().is_some() {}
    program.manager.set_nonblocking(false).unwrap();
    program.manager.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    assert_eq!(program.hears(), None, "a sign of life of a pipeline that has none");
    program.manager.set_read_timeout(Some(PATIENCE)).unwrap();

    program.order("go on");
    program.told("WATCHDOG=1");
    program.answers("/healthz", "HTTP/1.1 200");

    program.order("hang");
    program.says(HANGING);
    // Settings wait for it: the first in its channel, the second with whoever hands them over. Its end does not.
    program.signal(Signal::HUP);
    program.told("RELOADING=1");
    program.told("READY=1");
    program.signal(Signal::HUP);
    program.told("RELOADING=1");
    program.signal(Signal::TERM);
    program.told("STOPPING=1");
    program.says("a task did not end within 5s when it was told to (a bug, please report it)");
    assert_eq!(program.ends(), Some(1));
}
