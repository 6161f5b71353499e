//! The rows of the table, and how each is run.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::fault::{BUSY, ERROR, Fault, PAGE};
use crate::rig::{Late, Rig};
use crate::sites::Kind;
use crate::support::{PATIENCE, eventually};
use crate::trouble::Trouble;
use crate::watch;

/// How much of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// One fault of each class.
    Classes,
    Everything,
}

/// How long everything may take to be right again, unless a row says otherwise: longer than back-offs, Eureka's `settle` and a
/// push of istiod take together on a busy machine.
const SOON: Duration = Duration::from_secs(120);
/// How long one looks on while something is wrong.
const A_WHILE: Duration = Duration::from_secs(2);

/// What happens to whom.
#[derive(Debug, Clone, Copy)]
enum What {
    Registry(Kind, Fault),
    /// With the registries that the other rows have brought, or these if there are none.
    Mesh(Trouble),
}

#[derive(Debug, Clone, Copy)]
struct Case {
    what: What,
    /// Whether it is one of the classes' examples.
    example: bool,
}

const fn example(kind: Kind, fault: Fault) -> Case {
    Case { what: What::Registry(kind, fault), example: true }
}

const fn more(kind: Kind, fault: Fault) -> Case {
    Case { what: What::Registry(kind, fault), example: false }
}

const fn mesh(trouble: Trouble, example: bool) -> Case {
    Case { what: What::Mesh(trouble), example }
}

const CASES: &[Case] = &[
    example(Kind::Consul, Fault::Killed),
    example(Kind::ZooKeeper, Fault::Emptied),
    example(Kind::Eureka, Fault::Hung),
    example(Kind::ZooKeeper, Fault::Partitioned),
    example(Kind::Eureka, Fault::Reset),
    example(Kind::Files, Fault::Truncated),
    example(Kind::Consul, Fault::Thinned),
    example(Kind::Consul, Fault::Slow),
    example(Kind::Eureka, PAGE),
    example(Kind::Consul, ERROR),
    example(Kind::Eureka, BUSY),
    example(Kind::Consul, Fault::Revoked),
    example(Kind::ZooKeeper, Fault::Expired),
    example(Kind::Files, Fault::Flapping),
    example(Kind::Consul, Fault::Restless),
    example(Kind::Files, Fault::Emptied),
    example(Kind::Consuls, Fault::Leaderless),
    more(Kind::ZooKeepers, Fault::Leaderless),
    mesh(Trouble::Killed, true),
    mesh(Trouble::KilledAlone, true),
    mesh(Trouble::IstiodKilled, true),
    mesh(Trouble::IstiodHung, true),
    mesh(Trouble::Reconfigured, true),
    mesh(Trouble::ClockStepped, true),
    mesh(Trouble::DiskFull, true),
    mesh(Trouble::StateCut, true),
    mesh(Trouble::StateFlipped, false),
    mesh(Trouble::KilledInChange, false),
    mesh(Trouble::KilledInStart, false),
    mesh(Trouble::Fleet, true),
    more(Kind::Consul, Fault::EmptiedLong),
    // Not Eureka: an empty one is disbelieved for 13 times `settle`: ten minutes by default, and short here.
    more(Kind::ZooKeeper, Fault::EmptiedLong),
    more(Kind::Files, Fault::Forgotten),
    more(Kind::Eureka, Fault::Forgotten),
    more(Kind::ZooKeeper, Fault::Forgotten),
    more(Kind::Files, Fault::Killed),
    more(Kind::Files, Fault::Halved),
    more(Kind::Files, PAGE),
    more(Kind::Files, Fault::Restless),
    more(Kind::Consul, Fault::Emptied),
    more(Kind::Consul, Fault::Hung),
    more(Kind::Consul, Fault::Partitioned),
    more(Kind::Consul, Fault::Reset),
    more(Kind::Consul, Fault::Truncated),
    more(Kind::Consul, Fault::Halved),
    more(Kind::Consul, PAGE),
    more(Kind::Consul, BUSY),
    more(Kind::Consul, Fault::Flapping),
    more(Kind::Eureka, Fault::Killed),
    more(Kind::Eureka, Fault::Emptied),
    more(Kind::Eureka, Fault::Partitioned),
    more(Kind::Eureka, Fault::Truncated),
    more(Kind::Eureka, Fault::Halved),
    more(Kind::Eureka, Fault::Thinned),
    more(Kind::Eureka, Fault::Slow),
    more(Kind::Eureka, ERROR),
    more(Kind::Eureka, Fault::Flapping),
    more(Kind::Eureka, Fault::Restless),
    more(Kind::ZooKeeper, Fault::Killed),
    more(Kind::ZooKeeper, Fault::Hung),
    more(Kind::ZooKeeper, Fault::Reset),
    more(Kind::ZooKeeper, Fault::Truncated),
    more(Kind::ZooKeeper, Fault::Slow),
    more(Kind::ZooKeeper, PAGE),
    more(Kind::ZooKeeper, Fault::Flapping),
    more(Kind::ZooKeeper, Fault::Restless),
];

impl Case {
    fn name(&self) -> String {
        match self.what {
            What::Registry(kind, fault) => format!("{}/{}", kind.name(), fault.name()),
            What::Mesh(trouble) => format!("all/{}", trouble.name()),
        }
    }

    fn wanted(&self, extent: Extent) -> bool {
        match std::env::var("CHANDLER_FAULTS") {
            Ok(list) => list.split(',').any(|start| self.name().starts_with(start)),
            Err(_) => self.example || extent == Extent::Everything,
        }
    }

    /// How long everything may take to be right again.
    fn limit(&self) -> Duration {
        match self.what {
            // What is held goes after `removalHold`, by default a minute, and some reads.
            What::Registry(_, Fault::Forgotten) => SOON * 3,
            _ => SOON,
        }
    }

    async fn run(&self, rig: &mut Rig) -> Result<Duration, Late> {
        rig.right(SOON).await?;
        match self.what {
            What::Registry(kind, fault) => fault.happen(rig, kind, A_WHILE).await?,
            What::Mesh(trouble) => trouble.happen(rig, A_WHILE).await?,
        }
        let healed = Instant::now();
        match self.what {
            What::Registry(kind, _) => rig.change(kind).await,
            What::Mesh(_) => rig.change_all().await,
        }
        rig.right(self.limit()).await?;
        Ok(healed.elapsed())
    }
}

/// The registries that these rows need; those that only the mesh is about do with the cheaper ones.
fn kinds(cases: &[Case]) -> Vec<Kind> {
    let of = |case: &Case| match case.what {
        What::Registry(kind, _) => Some(kind),
        What::Mesh(_) => None,
    };
    let mut kinds: Vec<Kind> = cases.iter().filter_map(of).collect();
    if kinds.is_empty() {
        kinds.extend([Kind::Files, Kind::Consul, Kind::ZooKeeper]);
    }
    kinds.sort();
    kinds.dedup();
    kinds
}

/// A row, for people.
struct Row {
    name: String,
    lost: usize,
    failed: usize,
    made: usize,
    right: Option<Duration>,
    /// Everything that is wrong, in words.
    complaints: Vec<String>,
}

impl Row {
    fn text(&self) -> String {
        let (kind, fault) = self.name.split_once('/').expect("a registry and a fault");
        let right = self.right.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        format!(
            "{kind:18} | {fault:38} | {:4} lost | {:4} failed of {:5} | right after {right}",
            self.lost, self.failed, self.made
        )
    }

    /// On standard error and in the report, as it is known.
    fn print(&self) {
        let _unseen = writeln!(std::io::stderr(), "{}", self.text());
        for complaint in &self.complaints {
            let _unseen = writeln!(std::io::stderr(), "    {complaint}");
        }
        crate::support::report(&format!("fault {}", self.text()));
    }
}

/// Runs one fault of each class; with `tests/run --all` everything.
pub(crate) async fn run() {
    let long = std::env::var_os("CHANDLER_TEST_ALL").is_some();
    let extent = if long { Extent::Everything } else { Extent::Classes };
    let cases: Vec<Case> = CASES.iter().filter(|case| case.wanted(extent)).copied().collect();
    let config = std::env::var("CHANDLER_FAULTS_CONFIG").unwrap_or_default();
    let mut rig = Rig::start(&kinds(&cases), &config).await;
    let mut wrong = Vec::new();
    for case in cases {
        let row = run_one(case, &mut rig).await;
        row.print();
        if !row.complaints.is_empty() {
            wrong.push(row.text());
        }
        if row.right.is_none() {
            break;
        }
    }
    assert!(wrong.is_empty(), "these went wrong:\n{}", wrong.join("\n"));
}

/// A row that the guard makes good, without the guard: it shows losses, and requests that fail.
pub(crate) async fn run_unguarded() {
    let off =
        "guard: {registryShrinkLimit: 100%, emptyServiceHold: false, confirmReads: 1, removalHold: 0s}\n";
    let mut rig = Rig::start(&[Kind::Files], off).await;
    let site = rig.site(Kind::Files);
    let all = site.present().len();
    Fault::Emptied.begin(site).await;
    let gone = async || (rig.ledger.lost() == all && rig.calls.failed() > 0).then_some(());
    eventually("everything to be lost, and seen to be", PATIENCE, gone).await;
    Fault::Emptied.end(rig.site(Kind::Files), None).await;
    rig.right(SOON).await.unwrap_or_else(|late| panic!("{}", late.0));
    let lost = rig.ledger.take_wrong().lost;
    assert!(lost.values().any(|who| who.contains(watch::ISTIOD)), "istiod believed it: {lost:?}");
}

async fn run_one(case: Case, rig: &mut Rig) -> Row {
    let made = rig.calls.made();
    let outcome = case.run(rig).await;
    let (lost, failed) = (rig.ledger.lost(), rig.calls.failed());
    let complaints = wrongs(rig, &outcome);
    Row { name: case.name(), lost, failed, made: rig.calls.made() - made, right: outcome.ok(), complaints }
}

/// All that has gone wrong since this was asked last, in words.
pub(crate) fn wrongs(rig: &Rig, outcome: &Result<Duration, Late>) -> Vec<String> {
    let wrong = rig.ledger.take_wrong();
    let mut words = Vec::new();
    words.extend(wrong.lost.iter().map(|(seat, who)| format!("lost: {seat}, seen by {who:?}")));
    words.extend(wrong.ghosts.iter().map(|(seat, who)| format!("came back: {seat}, seen by {who:?}")));
    words.extend(rig.calls.take_failed().into_iter().take(10).map(|why| format!("failed: {why}")));
    words.extend(outcome.as_ref().err().map(|late| format!("never right: {}", late.0)));
    words
}

/// What the table has for one registry, and what can happen to it again and again.
pub(crate) fn faults_of(kind: Kind) -> Vec<Fault> {
    let of = |case: &Case| match case.what {
        What::Registry(of, fault)
            if of == kind && !matches!(fault, Fault::Forgotten | Fault::EmptiedLong) =>
        {
            Some(fault)
        }
        _ => None,
    };
    CASES.iter().filter_map(of).collect()
}
