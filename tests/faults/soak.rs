//! Random faults, several at a time, for as long as one likes. What is done follows from the seed and the number of the round alone,
//! so that a round that went wrong can be done again; only when things happen within it is up to the machine.
//!
//! `CHANDLER_SOAK_SECONDS` (600), `CHANDLER_SOAK_SEED` (1), `CHANDLER_SOAK_ROUND`: the round to begin with (0).

use std::io::Write as _;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::cases::faults_of;
use crate::fault::Fault;
use crate::rig::{Late, Rig};
use crate::sites::Kind;
use crate::table::wrongs;

const KINDS: [Kind; 4] = [Kind::Files, Kind::Consul, Kind::Eureka, Kind::ZooKeeper];
/// How long everything may take to be right after a round: several pauses before the next attempt at a registry.
const SOON: Duration = Duration::from_secs(240);

/// What may happen beside what happens to registries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    None,
    ChandlerKilled,
    IstiodKilled,
    IstiodHung,
    Reconfigured,
    ClockStepped,
    /// Until the round is over.
    DiskFull,
}

const BLOWS: [Blow; 7] = [
    Blow::None,
    Blow::ChandlerKilled,
    Blow::IstiodKilled,
    Blow::IstiodHung,
    Blow::Reconfigured,
    Blow::ClockStepped,
    Blow::DiskFull,
];

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn of_round(seed: u64, round: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ round);
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a small number");
        usize::try_from(self.next() % end).expect("a small number")
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// What is done in one round.
#[derive(Debug)]
struct Round {
    /// Each registry at most once.
    faults: Vec<(Kind, Fault)>,
    blow: Blow,
    /// Who changes in the middle of it all, in this order; those that cannot are passed over. With the change at the end it is
    /// fewer than would be held if they were seen all at once.
    changes: Vec<Kind>,
    /// In milliseconds.
    pauses: [u64; 2],
}

impl Round {
    fn new(seed: u64, number: u64) -> Self {
        let mut dice = Dice::of_round(seed, number);
        let mut kinds = KINDS.to_vec();
        let faults: Vec<_> = (0..=dice.below(3))
            .map(|_| {
                let kind = kinds.remove(dice.below(kinds.len()));
                (kind, dice.one_of(&faults_of(kind)))
            })
            .collect();
        let blow = dice.one_of(&BLOWS);
        let changes = (0..dice.below(4)).map(|_| dice.one_of(&KINDS)).collect();
        let pause = |dice: &mut Dice| u64::try_from(dice.below(3_000)).expect("a small number");
        Self { faults, blow, changes, pauses: [pause(&mut dice), pause(&mut dice)] }
    }

    async fn run(&self, rig: &mut Rig, number: u64) -> Result<Duration, Late> {
        // What takes a server's start comes first and ends last: nobody else is held up by it for longer than is held.
        let (slow, quick): (Vec<_>, Vec<_>) = self.faults.iter().copied().partition(|(kind, fault)| {
            *kind != Kind::Files && matches!(fault, Fault::Killed | Fault::Emptied)
        });
        let mut under_way = Vec::new();
        for (kind, fault) in slow.into_iter().chain(quick) {
            let lost_leader = fault.begin(rig.site(kind)).await;
            under_way.push((kind, fault, lost_leader));
        }
        let stuck = |kind: Kind| self.faults.iter().any(|(of, fault)| *of == kind && !fault.registry_works());
        for kind in self.changes.iter().filter(|kind| !stuck(**kind)) {
            rig.change(*kind).await;
        }
        let pause = Duration::from_millis(self.pauses[0]);
        match self.faults.iter().find(|(_, fault)| matches!(fault, Fault::Flapping | Fault::Restless)) {
            Some((kind, fault)) => fault.flap(rig, *kind, pause).await,
            None => sleep(pause).await,
        }
        self.blow.fall(rig, number).await;
        sleep(Duration::from_millis(self.pauses[1])).await;
        if self.blow == Blow::DiskFull {
            rig.disk.empty();
        }
        for (kind, fault, lost_leader) in under_way.iter().rev() {
            fault.end(rig.site(*kind), *lost_leader).await;
        }
        let healed = Instant::now();
        for (kind, fault, _) in under_way {
            fault.aftermath(rig, kind).await?;
        }
        rig.change_all().await;
        rig.right(SOON).await?;
        Ok(healed.elapsed())
    }
}

impl Blow {
    async fn fall(self, rig: &mut Rig, number: u64) {
        match self {
            Self::None => {}
            Self::ChandlerKilled => {
                rig.kill_forgetful().await;
                rig.chandler.start_again().await;
            }
            Self::IstiodKilled => {
                rig.istiod.process().kill().await;
                // It does not start before Chandler has answered; that it does is waited for with everything else.
                rig.istiod.restart_unready().await;
            }
            Self::IstiodHung => {
                rig.istiod.process().signal("STOP").await;
                sleep(Duration::from_millis(500)).await;
                rig.istiod.process().signal("CONT").await;
            }
            Self::DiskFull => rig.disk.fill(),
            Self::Reconfigured => rig.configure(usize::try_from(number).expect("few rounds")).await,
            Self::ClockStepped => {
                let days = i64::try_from(number % 7).expect("a small number") - 3;
                rig.clock.step(days * 24 * 3_600);
            }
        }
    }
}

/// Says which round it was if anything panics in it.
struct Told {
    seed: u64,
    number: u64,
    shown: String,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { seed, number, shown } = self;
            let _unseen = writeln!(
                std::io::stderr(),
                "soak | seed {seed} round {number} failed: {shown}\n`tests/soak 1 {seed} {number}` does that round again"
            );
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Rounds until the time is over. The first that goes wrong ends it.
pub(crate) async fn run() {
    let (seed, first) = (setting("CHANDLER_SOAK_SEED", 1), setting("CHANDLER_SOAK_ROUND", 0));
    let time = Duration::from_secs(setting("CHANDLER_SOAK_SECONDS", 600));
    let mut rig = Rig::start(&KINDS, "").await;
    let since = Instant::now();
    let mut number = first;
    while since.elapsed() < time {
        let round = Round::new(seed, number);
        let _told = Told { seed, number, shown: format!("{round:?}") };
        let outcome = round.run(&mut rig, number).await;
        let complaints = wrongs(&rig, &outcome);
        let right = outcome.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        let calls = rig.calls.made();
        let line = format!(
            "soak | seed {seed} round {number} | {:?} and {:?} | right after {right} | {calls} calls so far",
            round.faults, round.blow
        );
        let _unseen = writeln!(std::io::stderr(), "{line}");
        assert!(complaints.is_empty(), "{line}\n{round:?}\n{}", complaints.join("\n"));
        number += 1;
    }
    crate::support::report(&format!(
        "fault soak | seed {seed}, rounds {first} to {} in {:.0} s | nothing lost | 0 of {} requests failed",
        number - 1,
        since.elapsed().as_secs_f64(),
        rig.calls.made()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_follows_from_the_seed_and_its_number() {
        let shown = |seed, number| format!("{:?}", Round::new(seed, number));
        assert_eq!(shown(7, 3), shown(7, 3));
        assert_ne!(shown(7, 3), shown(8, 3));
        assert_ne!(shown(7, 3), shown(7, 4));
        let all: Vec<Round> = (0..200).map(|number| Round::new(1, number)).collect();
        for blow in BLOWS {
            assert!(all.iter().any(|round| round.blow == blow), "{blow:?} never falls");
        }
        for kind in KINDS {
            for fault in faults_of(kind) {
                assert!(
                    all.iter().any(|round| round.faults.contains(&(kind, fault))),
                    "{kind:?} {fault:?} never happens"
                );
            }
        }
    }
}
