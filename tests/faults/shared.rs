//! Two registries that know the same hosts, Consul first and ZooKeeper second: what is to be seen of them, as [`MERGE`] says; and
//! what only they can show, one of them falling back to the other.
//!
//! | service | mode | Consul | ZooKeeper |
//! | --- | --- | --- | --- |
//! | `web` | union | 1, 2, 3 | 3, 4, 5 |
//! | `moving` | union | some | others |
//! | `api` | failover | 1, 2 | 11, 12 |
//! | `solo` | precedence | 1 | 11 |

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::json;

use crate::fault::Fault;
use crate::ledger::Seat;
use crate::rig::{Late, Rig};
use crate::sites::{Kind, MOVING, service_of};
use crate::support::{Ask, PATIENCE};

/// How long the mesh may take to follow; failure alone waits for it.
const FOLLOWED: Duration = PATIENCE.saturating_mul(2);

/// Both registries' domain.
pub(crate) const DOMAIN: &str = "shared";

/// The rules of the table above. Precedence is what holds without a rule.
pub(crate) const MERGE: &str = "merge:
- {hosts: ['web.shared', 'moving.shared'], mode: union}
- {hosts: ['api.shared'], mode: failover, registries: [consul-shared, zookeeper-shared]}
";

/// Who is registered where at the start; the numbers of the first and of the second registry.
pub(crate) const SEATS: [(&str, RangeInclusive<u8>, RangeInclusive<u8>); 4] =
    [("web", 1..=3, 3..=5), ("api", 1..=2, 11..=12), ("solo", 1..=1, 11..=11), (MOVING, 1..=2, 101..=102)];

/// The services that one of them may lose without anybody being the poorer.
const SPARE: [&str; 2] = ["web", "api"];

/// Whether all who know a service of this name are served at once.
fn is_union(service: &str) -> bool {
    service == "web" || service == MOVING
}

/// What is to be seen of what is registered: in a union everybody; else those of the first registry that has any. Registries
/// that share nothing are seen whole.
pub(crate) fn visible(registered: &BTreeMap<Kind, BTreeSet<Seat>>) -> BTreeSet<Seat> {
    let mut seen: BTreeSet<Seat> = BTreeSet::new();
    for seats in registered.values() {
        let taken: BTreeSet<String> = seen.iter().map(|seat| seat.host.clone()).collect();
        let served = seats.iter().filter(|seat| is_union(service_of(seat)) || !taken.contains(&seat.host));
        seen.extend(served.cloned());
    }
    seen
}

/// How one of two registries that share hosts loses what the other still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Everybody deregisters in order, and comes back later.
    Withdrawn,
    /// It is restarted empty; some do not return, and what is held of them is let go by hand. They come back later.
    Abandoned,
    /// It is taken out of the configuration, and put back.
    Unconfigured,
}

impl Loss {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Withdrawn => "everybody deregisters, and returns",
            Self::Abandoned => "restarted empty, rest let go by hand",
            Self::Unconfigured => "taken out of the configuration",
        }
    }

    /// Brings it about, waits until everyone sees what the other registry has in its place, and undoes it.
    pub(crate) async fn happen(self, rig: &mut Rig, kind: Kind, time: Duration) -> Result<(), Late> {
        let registered = rig.registered();
        let away: Vec<Seat> =
            registered[&kind].iter().filter(|seat| SPARE.contains(&service_of(seat))).cloned().collect();
        match self {
            Self::Withdrawn => withdraw(rig, kind, &away).await,
            Self::Abandoned => abandon(rig, kind, &away, time).await?,
            Self::Unconfigured => {
                let mut left = registered.clone();
                left.remove(&kind);
                rig.ledger.will_be(&visible(&left));
                rig.configure_without(Some(kind)).await;
            }
        }
        rig.right(FOLLOWED).await?;
        tokio::time::sleep(time).await;
        rig.ledger.will_be(&visible(&registered));
        match self {
            Self::Unconfigured => rig.configure_without(None).await,
            _ => {
                for seat in &away {
                    rig.site(kind).add(seat).await;
                }
            }
        }
        rig.right(FOLLOWED).await.map(drop)
    }
}

/// They deregister one by one.
async fn withdraw(rig: &mut Rig, kind: Kind, away: &[Seat]) {
    rig.ledger.will_be(&visible_without(rig, kind, away));
    for seat in away {
        rig.site(kind).remove(seat).await;
    }
}

/// Its server forgets everybody; all but these register again.
async fn abandon(rig: &mut Rig, kind: Kind, away: &[Seat], time: Duration) -> Result<(), Late> {
    Fault::Emptied.begin(rig.site(kind)).await;
    rig.disbelieved(kind).await?;
    // That nothing is lost can only be seen by looking on for a while.
    tokio::time::sleep(time).await;
    rig.site(kind).forget(away);
    rig.site(kind).register_again().await;
    // Whoever came back is not held any more; nobody may be let go with those who stayed away.
    rig.holds(kind, away.len()).await?;
    rig.ledger.will_be(&visible(&rig.registered()));
    let release = Ask::new("POST", "/api/v1/held/release").json(&json!({"registry": kind.id()}));
    let answer = rig.chandler.place().ask(rig.chandler.admin, release).await;
    answer.expect("chandler answers").ok();
    Ok(())
}

fn visible_without(rig: &Rig, kind: Kind, away: &[Seat]) -> BTreeSet<Seat> {
    let mut registered = rig.registered();
    if let Some(seats) = registered.get_mut(&kind) {
        seats.retain(|seat| !away.contains(seat));
    }
    visible(&registered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(kind: Kind, of: &[(&str, u8)]) -> BTreeSet<Seat> {
        of.iter().map(|(service, number)| kind.seat(service, *number)).collect()
    }

    #[test]
    fn a_union_shows_all_once_and_else_the_first_that_has_any() {
        let (first, second) = (Kind::SharedConsul, Kind::SharedZooKeeper);
        let both = [
            (first, seats(first, &[("web", 1), ("web", 3), ("api", 1)])),
            (second, seats(second, &[("web", 3), ("web", 4), ("api", 11), ("solo", 11)])),
        ];
        let want = seats(first, &[("web", 1), ("web", 3), ("web", 4), ("api", 1), ("solo", 11)]);
        assert_eq!(visible(&both.clone().into()), want);
        let [_, alone] = both;
        assert_eq!(visible(&[alone.clone()].into()), alone.1);
    }
}
