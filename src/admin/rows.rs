//! The rows of the API as they travel: written here, read by `chandler status`. Times are RFC 3339 in UTC.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::pipeline::report::RegistryReport;
use crate::resource::collection::Collection;
use crate::resource::encoded::Version;
use crate::resource::snapshot::Snapshot;
use crate::runtime::status::{ClientStatus, RegistryStatus, SinkStatus, WatchStatus};

/// One registry: what the pipeline has of it and how its adapter is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryRow {
    /// Its name in the configuration.
    pub name: String,
    /// Whether its adapter runs without complaint.
    pub up: bool,
    /// Whether it has been read completely.
    pub complete: bool,
    /// How old what is served of it is, in seconds, where that was restored from disk and not all of it has been read since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_seconds: Option<u64>,
    /// Scopes of which no complete read has arrived yet.
    #[serde(default)]
    pub unread_scopes: Vec<String>,
    /// Whether the mesh is served without it, because it is optional and was not read in time.
    #[serde(default)]
    pub given_up: bool,
    /// Services of it that are taken.
    pub services: usize,
    /// Services of it that are left out on purpose.
    #[serde(default)]
    pub left_out: usize,
    /// Endpoints of those that are taken.
    pub endpoints: usize,
    /// Whole objects that it holds.
    #[serde(default)]
    pub objects: usize,
    /// Items and resources that were refused.
    pub refused: usize,
    /// Endpoints kept although the registry does not show them any more.
    pub held_endpoints: usize,
    /// Services and objects that are not taken because there are more than `limits` allows; counted up to 10,000.
    #[serde(default)]
    pub over_limit: usize,
    /// Whether a person froze it or services of it.
    #[serde(default)]
    pub frozen: bool,
    /// When it last said anything, or last found that nothing had changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// Lives of its adapter that ended by themselves.
    #[serde(default)]
    pub failures: u64,
    /// What is wrong, while something is; a read that is not believed too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl RegistryRow {
    /// Joins both views of one registry.
    #[must_use]
    pub fn new(report: RegistryReport, status: RegistryStatus) -> Self {
        Self {
            name: report.name,
            up: status.up,
            complete: report.complete,
            restored_seconds: report.restored_seconds,
            unread_scopes: report.unread_scopes,
            given_up: report.given_up,
            services: report.services,
            left_out: report.left_out,
            endpoints: report.endpoints,
            objects: report.objects,
            refused: report.refused,
            held_endpoints: report.held_endpoints,
            over_limit: report.over_limit,
            frozen: report.frozen,
            last_success: status.last_success.map(rfc3339),
            failures: status.failures,
            problem: status
                .problem
                .or(report.removed)
                .or((report.over_limit > 0).then(|| {
                    format!("{} services are more than `limits` allows and wait outside", report.over_limit)
                }))
                .or(report.doubt.map(|why| format!("the last read is not believed: {why}"))),
        }
    }
}

/// One sink: how it is, and what of it is not as wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkRow {
    /// Its name in the configuration.
    pub name: String,
    /// Whether the other side is reached and everything in it is known.
    pub up: bool,
    /// What is wrong with all of it, while something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether this process is the one that writes.
    pub writer: bool,
    /// Who writes, as far as is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// What tells our objects from those of others.
    #[serde(default)]
    pub instance: String,
    /// The registries that go there.
    #[serde(default)]
    pub registries: Vec<String>,
    /// Objects that are wanted there.
    pub wanted: usize,
    /// Objects that differ from what is wanted, failed ones included.
    pub pending: usize,
    /// Objects that cannot be as wanted.
    pub failing: usize,
    /// The first of them, each with its reason.
    #[serde(default)]
    pub failures: Vec<SinkFailure>,
    /// When everything was last as wanted, or an object was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
}

/// An object that cannot be as wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkFailure {
    /// Which.
    pub object: String,
    /// Why.
    pub reason: String,
}

impl SinkRow {
    /// The row of the sink called `name`.
    #[must_use]
    pub fn new(name: String, status: SinkStatus) -> Self {
        let failure = |(object, reason)| SinkFailure { object, reason };
        Self {
            name,
            up: status.up,
            problem: status.problem,
            writer: status.writer,
            holder: status.holder,
            instance: status.instance,
            registries: status.registries,
            wanted: status.wanted,
            pending: status.pending,
            failing: status.failing,
            failures: status.failures.into_iter().map(failure).collect(),
            last_success: status.last_success.map(rfc3339),
        }
    }
}

/// One open stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientRow {
    /// Unique in the process.
    pub id: u64,
    /// What it calls itself.
    pub node: String,
    /// Where it dials from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The names of its verified certificate; none without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<String>,
    /// How it speaks.
    pub wire: String,
    /// Since when.
    pub connected: String,
    /// What it watches, by the name that it asked under.
    pub watches: Vec<WatchRow>,
}

impl ClientRow {
    /// A client, measured against what is served.
    #[must_use]
    pub fn new(client: ClientStatus, served: &Snapshot) -> Self {
        let watch = |(asked, w): (String, WatchStatus)| WatchRow::new(asked, w, served);
        Self {
            id: client.id,
            node: client.node,
            peer: client.peer.map(|p| p.to_string()),
            identities: client.identities,
            wire: client.wire.into(),
            connected: rfc3339(client.connected),
            watches: client.watches.into_iter().map(watch).collect(),
        }
    }
}

/// One collection that a client watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchRow {
    /// The name under which it was asked for.
    pub asked: String,
    /// Which collection that is; absent for a name that nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// How far the client has got.
    pub state: SyncState,
    /// The version last sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// The version last acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<String>,
    /// What the client objected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nack: Option<String>,
}

impl WatchRow {
    fn new(asked: String, watch: WatchStatus, served: &Snapshot) -> Self {
        let collection = watch.collection.as_deref().and_then(Collection::of_name);
        let current = collection.and_then(|c| served.get(c)).map(|content| content.version());
        Self {
            state: SyncState::of(&watch, current),
            asked,
            collection: watch.collection,
            sent: watch.sent.map(|v| v.to_string()),
            acknowledged: watch.acknowledged.map(|v| v.to_string()),
            acknowledged_at: watch.acknowledged_at.map(rfc3339),
            nack: watch.nack,
        }
    }
}

/// How far a client has got with a collection, in the words of `istioctl proxy-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncState {
    /// It has acknowledged what is served now.
    #[serde(rename = "SYNCED")]
    Synced,
    /// Something newer is on its way, or its acknowledgement is.
    #[serde(rename = "STALE")]
    Stale,
    /// Nothing was sent: the collection is not complete yet.
    #[serde(rename = "NOT SENT")]
    NotSent,
    /// It objected to what was sent last.
    #[serde(rename = "NACK")]
    Nack,
}

impl SyncState {
    /// Compares what a client has with `current`, what is served now; `None`: nothing is, or nobody knows the name.
    #[must_use]
    pub fn of(watch: &WatchStatus, current: Option<Version>) -> Self {
        match (watch.sent, watch.acknowledged) {
            _ if watch.nack.is_some() => Self::Nack,
            (None, None) => Self::NotSent,
            (sent, acknowledged) if acknowledged == current.or(sent) => Self::Synced,
            _ => Self::Stale,
        }
    }

    /// As people read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "SYNCED",
            Self::Stale => "STALE",
            Self::NotSent => "NOT SENT",
            Self::Nack => "NACK",
        }
    }
}

/// `2026-01-01T00:00:00.250Z`: to the millisecond, which is as much as anybody reads.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let mut time = prost_types::Timestamp::from(time);
    time.nanos -= time.nanos % 1_000_000;
    time.to_string()
}

/// Reads what [`rfc3339`] wrote.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    SystemTime::try_from(text.parse::<prost_types::Timestamp>().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_client_is_synced_only_with_what_is_served_now() {
        let (old, new) = (Version(1), Version(2));
        let watch = |sent, acknowledged, nack: Option<&str>| WatchStatus {
            sent,
            acknowledged,
            nack: nack.map(Into::into),
            ..WatchStatus::default()
        };
        for (watch, current, state) in [
            (watch(None, None, None), None, SyncState::NotSent),
            (watch(None, None, None), Some(new), SyncState::NotSent),
            (watch(Some(new), None, None), Some(new), SyncState::Stale),
            (watch(Some(new), Some(old), None), Some(new), SyncState::Stale),
            (watch(Some(old), Some(old), None), Some(new), SyncState::Stale),
            (watch(Some(new), Some(new), None), Some(new), SyncState::Synced),
            // A client that came back with what is served already need not be sent it.
            (watch(None, Some(new), None), Some(new), SyncState::Synced),
            (watch(Some(new), Some(old), Some("no")), Some(new), SyncState::Nack),
            // A name that nobody knows was answered empty.
            (watch(Some(old), Some(old), None), None, SyncState::Synced),
            (watch(Some(old), None, None), None, SyncState::Stale),
        ] {
            assert_eq!(SyncState::of(&watch, current), state, "{watch:?} {current:?}");
        }
    }

    #[test]
    fn times_are_readable_and_read_back() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_250);
        assert_eq!(rfc3339(time), "2026-01-01T00:00:00.250Z");
        assert_eq!(parse_rfc3339(&rfc3339(time)), Some(time));
        assert_eq!(parse_rfc3339("yesterday"), None);
    }
}
