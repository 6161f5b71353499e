//! Asks what layouts must know that is not in the tree: the metadata report first, then an instance.
//!
//! Each question is a task of its own that nobody waits for, bounded in time and in what it may bring; so many run at a
//! time. What was never asked goes first, so that instances which never answer delay nobody else. A question that failed is
//! asked again, with growing pauses, as long as a layout has it; another instance each time.
//!
//! | module | what |
//! | --- | --- |
//! | `answer` | what providers answer, in each form (pure) |
//! | `hessian` | hessian2 (pure) |
//! | `dubbo` | a call over Dubbo's protocol |
//! | `triple` | a call over Triple, which is gRPC |

mod answer;
mod dubbo;
mod hessian;
mod triple;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::model::endpoint::Address;
use crate::registry::zookeeper::layout::dubbo::metadata::Metadata;
use crate::registry::zookeeper::layout::question::{Finding, Key, Manner, Question, Target};
use crate::registry::zookeeper::session::Peek;

/// Questions that are asked at a time.
const AT_A_TIME: usize = 32;
/// Of these, how many may have failed before: the others go first.
const AGAIN_AT_A_TIME: usize = 8;
/// What a question may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// What an answer may have, in bytes: some eight thousand services. ZooKeeper holds no more than 1 MiB of the same.
const MAX_ANSWER: usize = 4 << 20;
/// The pause after the first failure; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// All open questions.
#[derive(Debug, Default)]
pub(crate) struct Asker {
    open: BTreeMap<Key, Open>,
    running: JoinSet<Finding>,
}

#[derive(Debug)]
struct Open {
    question: Question,
    /// How often it failed.
    failures: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// To be asked then.
    Due(Instant),
    /// Being asked.
    Running(AbortHandle),
}

/// The pause after so many failures.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST_PAUSE)
}

impl Asker {
    /// These are all that layouts want to know now. The others are asked no more.
    pub(crate) fn set(&mut self, questions: Vec<Question>) {
        let mut before = std::mem::take(&mut self.open);
        for question in questions {
            let key = question.key.clone();
            let open = match before.remove(&key) {
                Some(open) => Open { question, ..open },
                None => Open { question, failures: 0, state: State::Due(Instant::now()) },
            };
            self.open.insert(key, open);
        }
        for gone in before.into_values() {
            if let State::Running(task) = gone.state {
                task.abort();
            }
        }
    }

    /// Whether something that layouts miss was never answered in any way.
    pub(crate) fn is_curious(&self) -> bool {
        self.open.values().any(|open| open.question.is_missed && open.failures == 0)
    }

    /// Asks on, and returns what came of a question. Safe to drop: what is being asked goes on.
    pub(crate) async fn next(&mut self, peek: &Peek) -> Finding {
        loop {
            self.start(peek);
            let due = self.next_due();
            let finding = tokio::select! {
                Some(done) = self.running.join_next() => done.ok().or_else(|| self.bury()),
                () = until(due) => None,
            };
            if let Some(finding) = finding.and_then(|finding| self.take(finding)) {
                return finding;
            }
        }
    }

    /// A task ended without a word: its question is asked again as if it had failed.
    fn bury(&mut self) -> Option<Finding> {
        for open in self.open.values_mut() {
            if let State::Running(task) = &open.state
                && task.is_finished()
            {
                open.failures = open.failures.saturating_add(1);
                open.state = State::Due(Instant::now() + pause(open.failures));
            }
        }
        None
    }

    /// Starts what may be started, what never failed first.
    fn start(&mut self, peek: &Peek) {
        let now = Instant::now();
        let (mut running, mut again) = (0, 0);
        let mut due: Vec<(bool, bool, Instant, &mut Open)> = Vec::new();
        for open in self.open.values_mut() {
            match open.state {
                State::Running(_) => {
                    running += 1;
                    again += usize::from(open.failures > 0);
                }
                State::Due(at) if at <= now => {
                    due.push((open.failures > 0, !open.question.is_missed, at, open));
                }
                State::Due(_) => {}
            }
        }
        due.sort_by_key(|(failed, idle, at, _)| (*failed, *idle, *at));
        for (failed, .., open) in due {
            if running >= AT_A_TIME || (failed && again >= AGAIN_AT_A_TIME) {
                return;
            }
            running += 1;
            again += usize::from(failed);
            let task = answer(open.question.clone(), open.failures, peek);
            open.state = State::Running(self.running.spawn(task));
        }
    }

    /// When the next question is due; `None`: the end of another has to be waited for.
    fn next_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let due = self.open.values().filter_map(|open| match open.state {
            State::Due(at) if at > now => Some(at),
            State::Due(_) | State::Running(_) => None,
        });
        due.min()
    }

    /// Notes what came of a question; `None`: nobody wants to know any more.
    fn take(&mut self, finding: Finding) -> Option<Finding> {
        let open = self.open.get_mut(&finding.key)?;
        if finding.outcome.is_ok() {
            self.open.remove(&finding.key);
        } else {
            open.failures = open.failures.saturating_add(1);
            open.state = State::Due(Instant::now() + pause(open.failures));
        }
        Some(finding)
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Asks once, as the `nth` time.
fn answer(question: Question, nth: u32, peek: &Peek) -> impl Future<Output = Finding> + Send + use<> {
    let report = peek(&question.report);
    async move {
        let outcome = match timeout(TIMEOUT, report).await {
            Ok(Ok(Some(data))) => {
                Metadata::from_json(&data).map_err(|why| format!("{}: {why}", question.report))
            }
            Ok(Ok(None)) => Err(format!("no {}", question.report)),
            Ok(Err(why)) => Err(format!("{}: {why}", question.report)),
            Err(_) => Err(format!("{}: no answer in time", question.report)),
        };
        let outcome = match outcome {
            Err(no_report) => ask_one(&question, nth, no_report).await,
            Ok(metadata) => Ok(metadata),
        };
        Finding { key: question.key, outcome: outcome.map(Arc::new).map_err(Into::into) }
    }
}

/// Asks one of the instances, another each time.
async fn ask_one(question: &Question, nth: u32, no_report: String) -> Result<Metadata, String> {
    let count = question.targets.len().max(1);
    let nth = usize::try_from(nth).unwrap_or_default() % count;
    let Some(target) = question.targets.get(nth) else {
        return Err(format!("{no_report}, and nobody to ask"));
    };
    let authority = match &target.address {
        Address::Ip(ip) => std::net::SocketAddr::new(*ip, target.port).to_string(),
        other => format!("{other}:{}", target.port),
    };
    let asked = timeout(TIMEOUT, call(target, &authority, &question.key)).await;
    let asked = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())));
    asked.map_err(|why| format!("{no_report}, and {authority}: {why}"))
}

async fn call(target: &Target, authority: &str, key: &Key) -> Result<Metadata, String> {
    let Key { application, revision } = key;
    match target.manner {
        Manner::Grpc => triple::call(authority, revision).await,
        Manner::Triple => triple::call_wrapped(authority, application, &target.version, revision).await,
        Manner::Dubbo => {
            let stream = TcpStream::connect(authority).await.map_err(|e| format!("no connection: {e}"))?;
            dubbo::call(stream, &dubbo::request(application, &target.version, revision)).await
        }
    }
}

/// What these bytes say as an answer over Dubbo's protocol, and in hessian2.
#[cfg(any(test, fuzzing))]
pub(super) fn read(bytes: &[u8]) -> [Result<Metadata, String>; 2] {
    [dubbo::read(bytes), answer::from_hessian(&mut hessian::Reader::new(bytes))]
}

#[cfg(test)]
mod tests;
