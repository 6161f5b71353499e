//! What can go wrong with Chandler, with istiod, and around them, while every registry is as it should be; and with all of them
//! at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::disk::{self, Unwritable};
use crate::inside::partition;
use crate::killed;
use crate::rig::{Late, Rig};
use crate::sites::Kind;
use crate::support::{Age, Istiod, PATIENCE, Way, eventually};
use crate::watch;

/// Something that goes wrong with the mesh's side of things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Chandler is killed and started again.
    Killed,
    /// Chandler is killed while a change is on its way.
    KilledInChange,
    /// Chandler is killed again and again while it starts, each time a little later.
    KilledInStart,
    /// Chandler is killed each time that it saves its state.
    KilledInSave,
    /// Chandler is told to end, and is killed before it has.
    KilledInDrain,
    /// Chandler is killed and started again while no registry can be reached.
    KilledAlone,
    /// Both: killed again and again while it starts, and no registry can be reached.
    KilledInStartAlone,
    /// Chandler is killed and started again while one registry cannot be reached, and the others have changed.
    KilledWithoutOne,
    /// istiod is killed and started again.
    IstiodKilled,
    /// istiod stops for a while, and the world changes meanwhile.
    IstiodHung,
    /// Five istiods and 1,000 other streams; Chandler is killed and started again under them, its configuration replaced, an
    /// istiod killed and another one stopped for a while.
    Fleet,
    /// The configuration is replaced several times while every registry is slow, cut or silent.
    Reconfigured,
    /// Every registry is renamed while none can be reached.
    Renamed,
    /// The disk of the state is full, also at a start.
    DiskFull,
    /// The disk of the state can only be read, also at a start.
    DiskReadOnly,
    /// The state is cut short, and Chandler starts with it where no registry can be reached.
    StateCut,
    /// A bit of the state is another, and Chandler starts with it where no registry can be reached.
    StateFlipped,
    /// The wall clock is a year ahead, then a year behind.
    ClockStepped,
}

/// Streams that are there beside the istiods.
const STREAMS: usize = 1_000;
/// On one connection: fewer than Chandler grants.
const PER_CONNECTION: usize = 10;
/// A year, in seconds.
const YEAR: i64 = 365 * 24 * 3_600;

impl Trouble {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Killed => "chandler killed and restarted",
            Self::KilledInChange => "chandler killed in mid-change",
            Self::KilledInStart => "chandler killed in start-up",
            Self::KilledInSave => "chandler killed as it saves",
            Self::KilledInDrain => "chandler killed as it drains",
            Self::KilledAlone => "chandler killed, registries down",
            Self::KilledInStartAlone => "chandler killed in start, all down",
            Self::KilledWithoutOne => "chandler killed, one registry down",
            Self::IstiodKilled => "istiod restarted",
            Self::IstiodHung => "istiod hung and resumed",
            Self::Fleet => "5 istiods, 1,000 streams, killed",
            Self::Reconfigured => "configuration replaced in trouble",
            Self::Renamed => "registries renamed while down",
            Self::DiskFull => "disk full",
            Self::DiskReadOnly => "disk read-only",
            Self::StateCut => "state cut short, registries down",
            Self::StateFlipped => "state bit flipped, registries down",
            Self::ClockStepped => "clock stepped",
        }
    }

    /// Brings it about, looks on for `time` where something is to be looked at, and ends it.
    pub(crate) async fn happen(self, rig: &mut Rig, time: Duration) -> Result<(), Late> {
        match self {
            Self::Killed => killed::calmly(rig, time).await,
            Self::KilledInChange => killed::in_change(rig).await,
            Self::KilledInStart => killed::in_start(rig).await,
            Self::KilledInSave => killed::in_save(rig).await,
            Self::KilledInDrain => killed::in_drain(rig).await,
            Self::KilledAlone => killed::alone(rig, &[], time).await?,
            Self::KilledInStartAlone => killed::alone(rig, &killed::PAUSES, time).await?,
            Self::KilledWithoutOne => killed::without_one(rig, time).await?,
            Self::Renamed => renamed(rig, time).await?,
            Self::DiskFull => disk::unwritable(rig, Unwritable::Full).await?,
            Self::DiskReadOnly => disk::unwritable(rig, Unwritable::ReadOnly).await?,
            Self::StateCut => disk::damaged(rig, disk::cut).await?,
            Self::StateFlipped => disk::damaged(rig, disk::flipped).await?,
            Self::IstiodKilled => {
                rig.istiod.process().kill().await;
                rig.change_all().await;
                sleep(time).await;
                rig.istiod.restart().await;
            }
            Self::IstiodHung => {
                rig.istiod.process().signal("STOP").await;
                rig.change_all().await;
                sleep(time).await;
                rig.istiod.process().signal("CONT").await;
            }
            Self::Fleet => fleet(rig).await?,
            Self::Reconfigured => reconfigured(rig, time).await,
            Self::ClockStepped => {
                for step in [YEAR, -YEAR] {
                    rig.clock.step(step);
                    rig.change_all().await;
                    rig.clock_shows().await;
                    sleep(time / 2).await;
                }
                rig.clock.step(0);
            }
        }
        Ok(())
    }
}

/// A registry that is called otherwise is another one, whose like is served until it has been read; and back.
async fn renamed(rig: &mut Rig, time: Duration) -> Result<(), Late> {
    cut_off(rig, true).await;
    rig.configure_names("-renamed").await;
    sleep(time).await;
    cut_off(rig, false).await;
    rig.only_names("-renamed").await;
    rig.change_all().await;
    rig.right(PATIENCE).await?;
    rig.configure_names("").await;
    rig.only_names("").await;
    Ok(())
}

/// Whether no registry can be reached.
pub(crate) async fn cut_off(rig: &mut Rig, yes: bool) {
    let kinds: Vec<Kind> = rig.sites.keys().copied().collect();
    for kind in kinds {
        cut_off_one(rig, kind, yes).await;
    }
}

/// Whether this one cannot be.
pub(crate) async fn cut_off_one(rig: &mut Rig, kind: Kind, yes: bool) {
    let site = rig.site(kind);
    if kind == Kind::Files {
        let (files, away) = (site.files().dir(), site.files().elsewhere());
        let (from, to) = if yes { (files, away) } else { (away, files) };
        std::fs::rename(from, to).expect("a rename");
    }
    for proxy in site.proxies() {
        partition(proxy.address().port(), yes).await;
    }
}

/// Four more istiods and a thousand streams: each of them has to have everything again.
async fn fleet(rig: &mut Rig) -> Result<(), Late> {
    let mut istiods = Vec::new();
    let mut crowd = JoinSet::new();
    for who in ["second istiod", "third istiod", "fourth istiod", "fifth istiod"] {
        let istiod = Istiod::build(Age::V1_18, rig.chandler.grpc).for_plain_envoy().start().await;
        crowd.spawn(watch::istiod(istiod.grpc_addr(), Arc::clone(&rig.ledger), who));
        istiods.push(istiod);
    }
    let who: Vec<&'static str> = watch::ALL
        .into_iter()
        .chain(["second istiod", "third istiod", "fourth istiod", "fifth istiod"])
        .collect();
    // Each is a watcher of its own: one may be told later than another.
    let names: Vec<&'static str> =
        (0..STREAMS).map(|n| &*Box::leak(format!("stream {n}").into_boxed_str())).collect();
    let who: Vec<&'static str> = who.into_iter().chain(names.iter().copied()).collect();
    let whole = Arc::new(AtomicUsize::new(0));
    for some in names.chunks(PER_CONNECTION) {
        crowd.spawn(watch::crowd(
            rig.chandler.grpc,
            some.to_vec(),
            Arc::clone(&whole),
            Arc::clone(&rig.ledger),
        ));
    }
    let all_told = async |what: &str| {
        eventually(what, PATIENCE * 2, async || (whole.load(Ordering::Relaxed) >= STREAMS).then_some(()))
            .await;
    };
    all_told("a thousand streams to be told everything").await;
    rig.right_for(&who, PATIENCE * 2).await?;
    rig.kill_saved().await;
    whole.store(0, Ordering::Relaxed);
    rig.chandler.start_again().await;
    all_told("a thousand streams to be told everything again").await;
    rig.change_all().await;
    rig.right_for(&who, PATIENCE * 2).await?;
    let [killed, stopped, ..] = istiods.as_mut_slice() else { panic!("there are four") };
    killed.process().kill().await;
    stopped.process().signal("STOP").await;
    rig.configure(1).await;
    rig.change_all().await;
    killed.restart().await;
    stopped.process().signal("CONT").await;
    rig.configure(0).await;
    rig.right_for(&who, PATIENCE * 2).await?;
    drop(crowd);
    for one in who.into_iter().filter(|one| !watch::ALL.contains(one)) {
        rig.ledger.blind(one);
    }
    Ok(())
}

/// Settings that change what is done but not what is to be seen, while nothing works as it should.
async fn reconfigured(rig: &mut Rig, time: Duration) {
    let ways = [Way::Slow(1), Way::EndAfter(150), Way::Silence, Way::Reset];
    let since = Instant::now();
    for (round, way) in ways.iter().cycle().enumerate() {
        rig.sites.values().for_each(|site| site.turn(way));
        rig.configure(round).await;
        sleep(Duration::from_millis(200)).await;
        if since.elapsed() > time && round >= ways.len() {
            break;
        }
    }
    rig.configure(0).await;
    rig.sites.values().for_each(|site| site.turn(&Way::Pass));
}
