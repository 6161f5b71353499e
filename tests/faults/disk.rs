//! What can go wrong with the disk that the last known good state is kept on.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use chandler::model::catalog::Known;
use chandler::model::endpoint::Address;
use chandler::pipeline::image::codec;

use crate::inside::{read_only, small_disk};
use crate::ledger::Seat;
use crate::rig::{Late, Rig};
use crate::support::{PATIENCE, eventually, scratch};
use crate::trouble::cut_off;
use crate::watch;
use tempfile::TempDir;

/// Enough for the state of this table many times over.
const KIB: u32 = 512;

/// A small disk of its own, for the state of Chandler.
#[derive(Debug)]
pub(crate) struct Disk {
    mounted: TempDir,
}

impl Disk {
    pub(crate) async fn make() -> Self {
        let mounted = scratch("faults-state");
        small_disk(mounted.path(), KIB).await;
        Self { mounted }
    }

    pub(crate) fn config(&self) -> String {
        format!("state: {{dir: '{}'}}\n", self.dir().display())
    }

    fn dir(&self) -> PathBuf {
        self.mounted.path().join("state")
    }

    fn state(&self) -> PathBuf {
        self.dir().join("last-known-good")
    }

    fn junk(&self) -> PathBuf {
        self.mounted.path().join("junk")
    }

    /// Until not a byte is free.
    pub(crate) fn fill(&self) {
        let mut size = usize::try_from(KIB).expect("a small number") * 1024;
        let mut junk = Vec::new();
        while size > 0 {
            junk.resize(junk.len() + size, 0);
            // What has been written of it before the disk was full stays.
            if fs::write(self.junk(), &junk).is_err() {
                junk.truncate(
                    fs::metadata(self.junk())
                        .map_or(0, |data| usize::try_from(data.len()).expect("a length")),
                );
                size /= 2;
            }
        }
    }

    pub(crate) fn empty(&self) {
        fs::remove_file(self.junk()).expect("the junk");
    }

    /// What the state that is there says of each registry; nothing while there is none, or none that is whole.
    fn saved(&self) -> Option<BTreeSet<(String, Seat)>> {
        let bytes = fs::read(self.state()).ok()?;
        let contents = chandler::store::disk::read(&bytes);
        if contents.fault.is_some() {
            return None;
        }
        let (image, _) = codec::decode(contents.frames);
        let mut seats = BTreeSet::new();
        for (registry, image) in &image.registries {
            for item in image.items.values() {
                let Some(Known::Service(service, admitted)) = &item.known else { continue };
                for (host, endpoint) in
                    admitted.hosts.iter().flat_map(|host| service.endpoints.iter().map(move |e| (host, e)))
                {
                    if let Address::Ip(IpAddr::V4(at)) = endpoint.address {
                        seats.insert((registry.to_string(), Seat { host: host.to_string(), at }));
                    }
                }
            }
        }
        Some(seats)
    }

    /// The number of the state's file: each that is written has another.
    pub(crate) fn number(&self) -> Option<u64> {
        fs::metadata(self.state()).map(|data| data.ino()).ok()
    }

    /// Waits until another state than that of this number is being written, or has been.
    pub(crate) async fn is_not(&self, before: Option<u64>) {
        let unfinished = self.dir().join("last-known-good.unfinished");
        let limit = tokio::time::Instant::now() + PATIENCE;
        // Oftener than `eventually` looks: it takes no longer than a few milliseconds.
        while self.number() == before && !unfinished.exists() {
            assert!(
                tokio::time::Instant::now() < limit,
                "waited {PATIENCE:?} in vain for the state to be saved"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A number of Chandler's metrics; 0 where there is none.
async fn metric(rig: &Rig, name: &str) -> f64 {
    let metrics = rig.chandler.telemetry("/metrics").await.body;
    let line = metrics.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or_default()
}

/// Waits until the state on disk has exactly those who are registered.
pub(crate) async fn saved(rig: &Rig) {
    let registered = rig.registered().into_iter();
    let named = registered.flat_map(|(kind, seats)| seats.into_iter().map(move |seat| (kind.id(), seat)));
    let wanted: BTreeSet<(String, Seat)> = named.collect();
    eventually("the state to be saved", PATIENCE, async || {
        (rig.disk.saved().as_ref() == Some(&wanted)).then_some(())
    })
    .await;
}

/// Why nothing can be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwritable {
    Full,
    ReadOnly,
}

impl Unwritable {
    async fn begin(self, disk: &Disk) {
        match self {
            Self::Full => disk.fill(),
            Self::ReadOnly => read_only(disk.mounted.path(), true).await,
        }
    }

    async fn end(self, disk: &Disk) {
        match self {
            Self::Full => disk.empty(),
            Self::ReadOnly => read_only(disk.mounted.path(), false).await,
        }
    }
}

/// Chandler serves and takes changes while nothing can be saved, and starts like that; then it saves again.
pub(crate) async fn unwritable(rig: &mut Rig, how: Unwritable) -> Result<(), Late> {
    how.begin(&rig.disk).await;
    let before = metric(rig, "chandler_state_write_failures_total").await;
    rig.change_all().await;
    rig.right(PATIENCE).await?;
    eventually("nothing to be saved", PATIENCE, async || {
        (metric(rig, "chandler_state_write_failures_total").await > before).then_some(())
    })
    .await;
    rig.kill_forgetful().await;
    rig.chandler.start_again().await;
    rig.right(PATIENCE).await?;
    how.end(&rig.disk).await;
    let before = metric(rig, "chandler_state_writes_total").await;
    eventually("the state to be saved again", PATIENCE, async || {
        (metric(rig, "chandler_state_writes_total").await > before).then_some(())
    })
    .await;
    Ok(())
}

/// What may become of the bytes of the state.
type Damage = fn(&[u8], round: usize) -> Vec<u8>;

/// Cut: to nothing, to its head, in its middle, before its last byte.
pub(crate) fn cut(state: &[u8], round: usize) -> Vec<u8> {
    let lengths = [0, 5, 40, state.len() / 4, state.len() / 2, state.len() * 3 / 4, state.len() - 1];
    state[..lengths[round % lengths.len()]].to_vec()
}

/// One bit in another place each time, from the first byte to the last.
pub(crate) fn flipped(state: &[u8], round: usize) -> Vec<u8> {
    let mut state = state.to_vec();
    let at = (state.len() - 1) * round / (ROUNDS - 1);
    state[at] ^= 1 << (round % 8);
    state
}

/// How often Chandler is started with a damaged state.
const ROUNDS: usize = 7;

/// No registry can be reached, and the state is damaged: Chandler must say nothing, or all of what it said, never a part.
pub(crate) async fn damaged(rig: &mut Rig, damage: Damage) -> Result<(), Late> {
    saved(rig).await;
    cut_off(rig, true).await;
    rig.chandler.kill().await;
    let whole = fs::read(rig.disk.state()).expect("the state that was saved");
    for round in 0..ROUNDS {
        fs::write(rig.disk.state(), damage(&whole, round)).expect("room for it");
        rig.chandler.start_again().await;
        rig.chandler.process().wait_for_log("set aside").await;
        // That nothing wrong is said can only be seen by looking on for a while.
        tokio::time::sleep(Duration::from_millis(500)).await;
        rig.chandler.kill().await;
    }
    // As it was, it serves everything, and still without any registry.
    fs::write(rig.disk.state(), &whole).expect("room for it");
    rig.chandler.start_again().await;
    rig.right_for(&[watch::WIRE], PATIENCE).await?;
    cut_off(rig, false).await;
    Ok(())
}
