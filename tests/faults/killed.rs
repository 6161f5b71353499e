//! Chandler is killed, in whatever it is doing, and started again.

use std::time::Duration;

use tokio::time::sleep;

use crate::disk;
use crate::rig::{Late, Rig};
use crate::sites::Kind;
use crate::support::PATIENCE;
use crate::trouble::{cut_off, cut_off_one};
use crate::watch;

/// How far it gets with its start, in milliseconds: from nothing to long after it is ready.
pub(crate) const PAUSES: [u64; 9] = [0, 10, 30, 60, 100, 200, 400, 800, 1_600];

/// While nothing happens. Everything changes while it is away.
pub(crate) async fn calmly(rig: &mut Rig, time: Duration) {
    rig.kill_saved().await;
    rig.change_all().await;
    sleep(time).await;
    rig.chandler.start_again().await;
}

/// While a change is on its way.
pub(crate) async fn in_change(rig: &mut Rig) {
    for pause in [0, 30, 100, 300] {
        rig.change_all().await;
        sleep(Duration::from_millis(pause)).await;
        rig.kill_forgetful().await;
        rig.chandler.start_again().await;
    }
}

/// Again and again while it starts.
pub(crate) async fn in_start(rig: &mut Rig) {
    rig.kill_saved().await;
    starts(rig, &PAUSES).await;
    rig.chandler.start_again().await;
}

/// It does not run before, nor afterwards.
async fn starts(rig: &mut Rig, pauses: &[u64]) {
    for pause in pauses {
        rig.chandler.start_again_unready();
        sleep(Duration::from_millis(*pause)).await;
        rig.chandler.kill().await;
    }
}

/// Each time that it saves its state.
pub(crate) async fn in_save(rig: &mut Rig) {
    for _ in 0..3 {
        let before = rig.disk.number();
        rig.change_all().await;
        rig.disk.is_not(before).await;
        rig.kill_forgetful().await;
        rig.chandler.start_again().await;
    }
}

/// After it has been told to end, and perhaps before it has.
pub(crate) async fn in_drain(rig: &mut Rig) {
    for pause in [0, 30, 300] {
        rig.change_all().await;
        rig.chandler.process().signal("TERM").await;
        sleep(Duration::from_millis(pause)).await;
        rig.kill_forgetful().await;
        rig.chandler.start_again().await;
    }
}

/// It starts where no registry can be reached, after it was killed in so many other starts: it says what it said before.
pub(crate) async fn alone(rig: &mut Rig, pauses: &[u64], time: Duration) -> Result<(), Late> {
    disk::saved(rig).await;
    cut_off(rig, true).await;
    rig.chandler.kill().await;
    starts(rig, pauses).await;
    rig.chandler.start_again().await;
    rig.right_for(&[watch::WIRE], PATIENCE).await?;
    sleep(time).await;
    cut_off(rig, false).await;
    Ok(())
}

/// It starts where the first registry cannot be reached: it says of that one what it said before, and of the others what is true
/// now.
pub(crate) async fn without_one(rig: &mut Rig, time: Duration) -> Result<(), Late> {
    let kinds: Vec<Kind> = rig.sites.keys().copied().collect();
    let (missing, others) = kinds.split_first().expect("a registry");
    disk::saved(rig).await;
    cut_off_one(rig, *missing, true).await;
    rig.chandler.kill().await;
    for kind in others {
        rig.change(*kind).await;
    }
    rig.chandler.start_again().await;
    rig.right(PATIENCE).await?;
    sleep(time).await;
    cut_off_one(rig, *missing, false).await;
    Ok(())
}
