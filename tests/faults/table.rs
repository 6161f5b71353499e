//! How the rows are run and printed.

use std::io::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use crate::cases::{CASES, Case, Extent, SHARED, SOON, What, kinds};
use crate::fault::Fault;
use crate::rig::{Late, Rig};
use crate::shared;
use crate::sites::Kind;
use crate::support::{PATIENCE, eventually};
use crate::watch;

/// How long one looks on while something is wrong.
const A_WHILE: Duration = Duration::from_secs(2);

impl Case {
    async fn run(&self, rig: &mut Rig) -> Result<Duration, Late> {
        rig.right(SOON).await?;
        match self.what {
            What::Registry(kind, fault) => fault.happen(rig, kind, A_WHILE).await?,
            What::Mesh(trouble) | What::Both(trouble) => trouble.happen(rig, A_WHILE).await?,
            What::Shared(kind, loss) => loss.happen(rig, kind, A_WHILE).await?,
        }
        let healed = Instant::now();
        match self.what {
            What::Registry(kind, _) | What::Shared(kind, _) => rig.change(kind).await,
            What::Mesh(_) | What::Both(_) => rig.change_all().await,
        }
        rig.right(self.limit()).await?;
        Ok(healed.elapsed())
    }
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
    let cases = wanted(CASES);
    run_all(&cases, &kinds(&cases), "").await;
}

/// The same for registries that know the same hosts.
pub(crate) async fn run_shared() {
    run_all(&wanted(SHARED), &[Kind::SharedConsul, Kind::SharedZooKeeper], shared::MERGE).await;
}

fn wanted(of: &[Case]) -> Vec<Case> {
    let long = std::env::var_os("CHANDLER_TEST_ALL").is_some();
    let extent = if long { Extent::Everything } else { Extent::Classes };
    of.iter().filter(|case| case.wanted(extent)).copied().collect()
}

async fn run_all(cases: &[Case], kinds: &[Kind], config: &str) {
    if cases.is_empty() {
        return;
    }
    let further = std::env::var("CHANDLER_FAULTS_CONFIG").unwrap_or_default();
    let mut rig = Rig::start(kinds, &format!("{config}{further}")).await;
    let mut wrong = Vec::new();
    for case in cases {
        let row = run_one(*case, &mut rig).await;
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
