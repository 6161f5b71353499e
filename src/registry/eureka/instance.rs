//! One instance as an Eureka server lists it, after its quirks have been read away. Data only.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::endpoint::Address;
use crate::model::labels::Labels;

/// What an instance, or an operator, says of it. In the order of their names, which is the order of the hash code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) enum Status {
    /// It answers no calls.
    Down,
    /// An operator took it out.
    OutOfService,
    /// It is not ready yet.
    Starting,
    /// Nobody knows; also every word that Eureka's own clients do not know.
    #[default]
    Unknown,
    /// It serves.
    Up,
}

impl Status {
    /// Every status with Eureka's name for it.
    const TABLE: [(Self, &'static str); 5] = [
        (Self::Down, "DOWN"),
        (Self::OutOfService, "OUT_OF_SERVICE"),
        (Self::Starting, "STARTING"),
        (Self::Unknown, "UNKNOWN"),
        (Self::Up, "UP"),
    ];

    /// As Eureka's own clients read it: any case, and [`Status::Unknown`] for what they do not know.
    pub(super) fn read(text: &str) -> Self {
        let known = Self::TABLE.iter().find(|(_, name)| name.eq_ignore_ascii_case(text.trim()));
        known.map_or(Self::Unknown, |(status, _)| *status)
    }

    /// Eureka's name for it.
    pub(super) fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(status, _)| *status == self).map_or("UNKNOWN", |(_, name)| name)
    }

    /// What holds where an operator has overridden what the instance said: down and starting are believed, the rest
    /// is the operator's to decide. (The rule that the server itself follows; its peers may not have applied it yet.)
    pub(super) fn overridden_by(self, by: Self) -> Self {
        match (self, by) {
            (Self::Up | Self::OutOfService, Self::Unknown) => self,
            (Self::Up | Self::OutOfService, by) => by,
            (own, _) => own,
        }
    }
}

/// How many instances have each status: all that Eureka's hash code says.
///
/// Kept up to date with every change, so that comparing with a server costs the same for ten instances and for a million.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct HashCode(BTreeMap<Status, usize>);

impl HashCode {
    /// One more.
    pub(super) fn add(&mut self, status: Status) {
        *self.0.entry(status).or_default() += 1;
    }

    /// One less.
    pub(super) fn remove(&mut self, status: Status) {
        if let Some(count) = self.0.get_mut(&status) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.0.remove(&status);
            }
        }
    }

    /// Whether a server that says `text` means the same instances. (Statuses with none of them do not count.)
    pub(super) fn is(&self, text: &str) -> bool {
        self.to_string() == text.trim()
    }
}

impl std::fmt::Display for HashCode {
    /// `DOWN_1_UP_34_`; nothing for an empty registry.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(status, count)| write!(f, "{}_{count}_", status.name()))
    }
}

/// Which instance: the application's name in lower case, for Eureka tells no cases apart, and the instance's id as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct InstanceKey {
    /// Application.
    pub(super) app: Arc<str>,
    /// Unique in its application.
    pub(super) id: Arc<str>,
}

/// What a delta says happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Action {
    /// It is there: new, registered again or changed, which Eureka does not tell apart reliably.
    #[default]
    Put,
    /// It is gone.
    Delete,
}

/// The server's stamps on an instance, in milliseconds of the server's own clock; 0: unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lease {
    /// Since when this server knows the instance.
    pub(super) since: u64,
    /// When the server would evict it, were it not heard of again.
    pub(super) until: u64,
    /// When it was evicted or deregistered; 0: it was not.
    pub(super) ended: u64,
}

impl Lease {
    /// Whether it was evicted, as opposed to deregistered: it ended after it had run out.
    pub(super) fn expired(&self) -> bool {
        self.until > 0 && self.ended > self.until
    }

    /// Whether it has run out at `now`, and the server keeps the instance nevertheless.
    pub(super) fn is_stale(&self, now: u64) -> bool {
        self.until > 0 && now > self.until
    }
}

/// What an instance says of itself, as far as the mesh needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// `ipAddr`, where it makes sense.
    pub(super) ip: Option<Address>,
    /// `hostName`, where it makes sense. At least one of the two does.
    pub(super) host: Option<Address>,
    /// The port for HTTP, if it is enabled.
    pub(super) plain: Option<u16>,
    /// The port for HTTPS, if it is enabled. At least one of the two is.
    pub(super) secure: Option<u16>,
    /// Its metadata, without what only Java needs.
    pub(super) metadata: Labels,
    /// The availability zone that its cloud says it is in.
    pub(super) cloud_zone: Option<Arc<str>>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instance {
    /// Which.
    pub(super) key: InstanceKey,
    /// The application as the server spells it.
    pub(super) app: Arc<str>,
    /// As the server counts it in its hash code.
    pub(super) status: Status,
    /// An operator's; [`Status::Unknown`]: none.
    pub(super) overridden: Status,
    /// The names under which clients ask for its plain port, as spelt.
    pub(super) vips: Box<[Arc<str>]>,
    /// The names under which clients ask for its secure port, as spelt.
    pub(super) secure_vips: Box<[Arc<str>]>,
    /// What it says, or why that makes no sense. It counts in the hash code either way.
    pub(super) facts: Result<Facts, Arc<str>>,
    /// What the server itself would evict by now and keeps; only a full read tells.
    pub(super) stale: bool,
}

impl Instance {
    /// What holds, an operator's word considered. Calls go to what is up.
    pub(super) fn effective_status(&self) -> Status {
        self.status.overridden_by(self.overridden)
    }
}

/// One entry of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The instance as it is now, or (deleted) was last.
    pub(super) instance: Instance,
    /// What happened, where the answer is a delta; a full answer repeats whatever was last said there.
    pub(super) action: Action,
    /// The server's stamps.
    pub(super) lease: Lease,
}

/// One answer of a server: to a full read, all that it knows; to a delta, what changed lately.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Applications {
    /// The hash code over all that the server knows, as it says it; absent: it says none.
    pub(super) hash: Option<Box<str>>,
    /// In the server's order, which is the order in which changes happened.
    pub(super) entries: Vec<Entry>,
    /// What is no instance at all, or one without any name; each with its application.
    pub(super) nameless: Vec<Arc<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_code_is_sorted_by_the_names_of_statuses_and_empty_for_nothing() {
        let mut hash = HashCode::default();
        assert_eq!(hash.to_string(), "");
        for status in [Status::Up, Status::Starting, Status::Up, Status::OutOfService, Status::Down] {
            hash.add(status);
        }
        assert_eq!(hash.to_string(), "DOWN_1_OUT_OF_SERVICE_1_STARTING_1_UP_2_");
        hash.remove(Status::Down);
        hash.remove(Status::Up);
        hash.remove(Status::Unknown);
        assert_eq!(hash.to_string(), "OUT_OF_SERVICE_1_STARTING_1_UP_1_");
    }

    #[test]
    fn a_status_is_read_as_eurekas_own_clients_read_it() {
        for (status, name) in Status::TABLE {
            assert_eq!(Status::read(name), status);
            assert_eq!(status.name(), name);
        }
        assert_eq!(Status::read("up"), Status::Up);
        assert_eq!(Status::read("HIBERNATING"), Status::Unknown);
    }

    #[test]
    fn an_operator_takes_out_what_is_up_and_cannot_raise_what_is_down() {
        use Status::{Down, OutOfService, Starting, Unknown, Up};
        for (own, by, holds) in [
            (Up, Unknown, Up),
            (Up, OutOfService, OutOfService),
            (OutOfService, Up, Up),
            (Down, Up, Down),
            (Starting, Up, Starting),
            (Unknown, Up, Unknown),
        ] {
            assert_eq!(own.overridden_by(by), holds, "{own:?} overridden by {by:?}");
        }
    }
}
