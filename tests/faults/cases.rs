//! The rows of the table: what happens to whom, which of it is done in a short run, and how long it may take.

use std::time::Duration;

use crate::fault::{BUSY, ERROR, Fault, PAGE};
use crate::shared::Loss;
use crate::sites::Kind;
use crate::trouble::Trouble;

/// How much of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// One fault of each class.
    Classes,
    Everything,
}

/// How long everything may take to be right again, unless a row says otherwise: longer than back-offs, Eureka's `settle` and a
/// push of istiod take together on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(240);
/// What happens to whom.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Registry(Kind, Fault),
    /// With the registries that the other rows have brought, or some if there are none.
    Mesh(Trouble),
    /// To one of two registries that know the same hosts.
    Shared(Kind, Loss),
    /// With these two.
    Both(Trouble),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) what: What,
    /// Whether it is one of the classes' examples.
    pub(crate) example: bool,
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

const fn both(trouble: Trouble, example: bool) -> Case {
    Case { what: What::Both(trouble), example }
}

const fn shared(kind: Kind, loss: Loss, example: bool) -> Case {
    Case { what: What::Shared(kind, loss), example }
}

/// Registries that share nothing, and the mesh around them.
pub(crate) const CASES: &[Case] = &[
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
    more(Kind::Consuls, Fault::Headless),
    more(Kind::ZooKeepers, Fault::Headless),
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
    mesh(Trouble::KilledInStartAlone, false),
    mesh(Trouble::KilledInSave, false),
    mesh(Trouble::KilledInDrain, false),
    mesh(Trouble::KilledWithoutOne, false),
    mesh(Trouble::Renamed, false),
    mesh(Trouble::DiskReadOnly, false),
    mesh(Trouble::Fleet, true),
    more(Kind::Consul, Fault::EmptiedLong),
    // Not Eureka: an empty one is disbelieved for 13 times `settle`: ten minutes by default, and short here.
    more(Kind::ZooKeeper, Fault::EmptiedLong),
    more(Kind::Files, Fault::Forgotten),
    more(Kind::Eureka, Fault::Forgotten),
    more(Kind::ZooKeeper, Fault::Forgotten),
    more(Kind::Files, Fault::Killed),
    more(Kind::Files, Fault::Halved),
    more(Kind::Files, Fault::Thinned),
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
    more(Kind::Consul, Fault::Reduced),
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
    more(Kind::ZooKeeper, Fault::Reduced),
    more(Kind::ZooKeeper, Fault::Flapping),
    more(Kind::ZooKeeper, Fault::Restless),
];

/// Two registries that know the same hosts.
pub(crate) const SHARED: &[Case] = &[
    shared(Kind::SharedConsul, Loss::Withdrawn, true),
    shared(Kind::SharedZooKeeper, Loss::Abandoned, true),
    both(Trouble::KilledWithoutOne, true),
    example(Kind::SharedConsul, Fault::Emptied),
    shared(Kind::SharedZooKeeper, Loss::Withdrawn, false),
    shared(Kind::SharedConsul, Loss::Abandoned, false),
    shared(Kind::SharedConsul, Loss::Unconfigured, false),
    shared(Kind::SharedZooKeeper, Loss::Unconfigured, false),
    more(Kind::SharedConsul, Fault::Killed),
    more(Kind::SharedConsul, Fault::Hung),
    more(Kind::SharedConsul, Fault::Partitioned),
    more(Kind::SharedConsul, Fault::Thinned),
    more(Kind::SharedConsul, Fault::Revoked),
    more(Kind::SharedConsul, Fault::Flapping),
    more(Kind::SharedConsul, Fault::Restless),
    more(Kind::SharedZooKeeper, Fault::Killed),
    more(Kind::SharedZooKeeper, Fault::Emptied),
    more(Kind::SharedZooKeeper, Fault::Forgotten),
    more(Kind::SharedZooKeeper, Fault::Expired),
    more(Kind::SharedZooKeeper, Fault::Hung),
    more(Kind::SharedZooKeeper, Fault::Reset),
    more(Kind::SharedZooKeeper, Fault::Flapping),
    both(Trouble::Killed, false),
    both(Trouble::KilledAlone, false),
    both(Trouble::KilledInChange, false),
    both(Trouble::IstiodKilled, false),
    both(Trouble::StateCut, false),
];

impl Case {
    pub(crate) fn name(&self) -> String {
        match self.what {
            What::Registry(kind, fault) => format!("{}/{}", kind.name(), fault.name()),
            What::Mesh(trouble) => format!("all/{}", trouble.name()),
            What::Shared(kind, loss) => format!("{}/{}", kind.name(), loss.name()),
            What::Both(trouble) => format!("both shared/{}", trouble.name()),
        }
    }

    pub(crate) fn wanted(&self, extent: Extent) -> bool {
        match std::env::var("CHANDLER_FAULTS") {
            Ok(list) => list.split(',').any(|start| self.name().starts_with(start)),
            Err(_) => self.example || extent == Extent::Everything,
        }
    }

    /// How long everything may take to be right again.
    pub(crate) fn limit(&self) -> Duration {
        match self.what {
            // What is held goes after `removalHold`, by default a minute, and some reads.
            What::Registry(_, Fault::Forgotten) => SOON * 2,
            _ => SOON,
        }
    }
}

/// The registries that these rows need; those that only the mesh is about do with the cheaper ones.
pub(crate) fn kinds(cases: &[Case]) -> Vec<Kind> {
    let of = |case: &Case| match case.what {
        What::Registry(kind, _) | What::Shared(kind, _) => Some(kind),
        What::Mesh(_) | What::Both(_) => None,
    };
    let mut kinds: Vec<Kind> = cases.iter().filter_map(of).collect();
    if kinds.is_empty() {
        kinds.extend([Kind::Files, Kind::Consul, Kind::ZooKeeper]);
    }
    kinds.sort();
    kinds.dedup();
    kinds
}

/// What the table has for one registry, and what can happen to it again and again.
pub(crate) fn faults_of(kind: Kind) -> Vec<Fault> {
    let of = |case: &Case| match case.what {
        // Those take their time; a Chandler that is killed meanwhile cannot know what rights it had.
        What::Registry(_, Fault::Forgotten | Fault::EmptiedLong | Fault::Reduced) => None,
        What::Registry(of, fault) => (of == kind).then_some(fault),
        _ => None,
    };
    CASES.iter().filter_map(of).collect()
}
