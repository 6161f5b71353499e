//! The Lease in the API server: read, taken, renewed, given back ([`super::lease`] decides).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::{ApiError, Ask, Client};
use super::lease::{Candidate, Lease, Spec, Step, retry_every, writable_for};

/// Where we stand.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// We have the Lease, and may begin to write up to here.
    pub(super) writable_until: Option<Instant>,
    /// Who has it, as far as is known.
    pub(super) holder: Option<String>,
    /// What is wrong with it, while something is.
    pub(super) problem: Option<String>,
}

impl Place {
    /// Whether a request that takes as long as it may is over before anybody else may write.
    #[must_use]
    pub(super) fn may_write(&self, now: Instant) -> bool {
        self.writable_until.is_some_and(|until| now < until)
    }
}

/// Which Lease.
#[derive(Debug, Clone)]
pub(super) struct Where {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name: one for each installation.
    pub(super) name: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Value,
    spec: &'a Spec,
}

impl Where {
    fn path(&self) -> String {
        format!("{}/{}", self.all(), self.name)
    }

    fn all(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }

    fn body(&self, spec: &Spec, version: Option<&str>) -> Value {
        let mut metadata = json!({"name": self.name, "namespace": self.namespace});
        if let (Some(version), Some(map)) = (version, metadata.as_object_mut()) {
            map.insert("resourceVersion".into(), version.into());
        }
        let written = Written { api_version: "coordination.k8s.io/v1", kind: "Lease", metadata, spec };
        serde_json::to_value(written).unwrap_or_default()
    }

    /// The Lease as it is; `None`: there is none.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) async fn read(&self, client: &Client) -> Result<Option<Lease>, ApiError> {
        match client.ask(Ask::get(self.path())).await {
            Ok(lease) => Ok(Some(lease)),
            Err(e) if e.code() == 404 => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn create(&self, client: &Client, spec: &Spec) -> Result<Lease, ApiError> {
        client.ask(Ask::json(Method::POST, self.all(), &self.body(spec, None))).await
    }

    async fn update(&self, client: &Client, spec: &Spec, version: &str) -> Result<Lease, ApiError> {
        client.ask(Ask::json(Method::PUT, self.path(), &self.body(spec, Some(version)))).await
    }

    /// Removes the Lease, unless it has changed since it was read as `lease`.
    ///
    /// # Errors
    /// It is still there.
    pub(super) async fn remove(&self, client: &Client, lease: &Lease) -> Result<(), ApiError> {
        let unchanged = json!({"resourceVersion": lease.metadata.resource_version});
        let only = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": unchanged});
        match client.ask::<Value>(Ask::json(Method::DELETE, self.path(), &only)).await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == 404 => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// Competes for the Lease until `stop`, and gives it back then.
pub(super) async fn run(
    client: Client,
    at: Where,
    me: String,
    duration: Duration,
    place: watch::Sender<Place>,
    stop: CancellationToken,
) {
    let mut election =
        Election { candidate: Candidate::new(me.clone(), duration), client, at, me, held: None };
    while !stop.is_cancelled() {
        // One's own Lease is written over what one wrote, without reading it again.
        let round = election.round(duration);
        let result = tokio::select! {
            result = round => result,
            () = stop.cancelled() => break,
        };
        place.send_modify(|p| election.tell(result, p));
        tokio::select! {
            () = tokio::time::sleep(jittered(retry_every(duration))) => {}
            () = stop.cancelled() => {}
        }
    }
    election.give_back().await;
}

struct Election {
    client: Client,
    at: Where,
    me: String,
    candidate: Candidate,
    /// The Lease as we wrote it last.
    held: Option<Lease>,
}

impl Election {
    /// Looks and acts once. Until when may be written after it; `None`: somebody else has it.
    async fn round(&mut self, duration: Duration) -> Result<Option<Instant>, ApiError> {
        let lease = match self.held.take() {
            Some(held) => Some(held),
            None => self.at.read(&self.client).await?,
        };
        let began = Instant::now();
        let written = match self.candidate.step(lease, began) {
            Step::Create(spec) => self.at.create(&self.client, &spec).await,
            Step::Update(spec, version) => self.at.update(&self.client, &spec, &version).await,
            Step::Wait => return Ok(None),
        };
        match written {
            Ok(lease) => {
                self.candidate.step(Some(lease.clone()), began);
                self.held = Some(lease);
                Ok(Some(began + writable_for(duration)))
            }
            // Somebody else was faster: look again at the next turn.
            Err(e) if e.code() == 409 => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn tell(&self, result: Result<Option<Instant>, ApiError>, place: &mut Place) {
        let had = place.writable_until.is_some();
        place.holder = self.candidate.holder().map(str::to_owned);
        match result {
            Ok(until) => {
                match (had, until.is_some()) {
                    (false, true) => {
                        tracing::info!(lease = %self.at.name, "writing from now on: the lease is ours")
                    }
                    (true, false) => {
                        tracing::warn!(lease = %self.at.name, "not writing any more: the lease is somebody else's")
                    }
                    _ => {}
                }
                place.writable_until = until;
                place.problem = None;
            }
            // What was granted holds until it ends by itself.
            Err(e) => {
                let words = format!("the lease {}/{}: {e}", self.at.namespace, self.at.name);
                if place.problem.is_none() {
                    tracing::warn!("{words}");
                }
                place.problem = Some(words);
                place.writable_until = place.writable_until.filter(|until| Instant::now() < *until);
            }
        }
    }

    /// Lets others have it without waiting.
    async fn give_back(self) {
        let lease = match self.held {
            Some(held) => Some(held),
            None => self.at.read(&self.client).await.ok().flatten(),
        };
        let Some(lease) = lease else { return };
        if lease.spec.holder_identity.as_deref() != Some(&self.me) {
            return;
        }
        let free = self.candidate.released(&lease.spec);
        match self.at.update(&self.client, &free, &lease.metadata.resource_version).await {
            Ok(_) => tracing::info!(lease = %self.at.name, "the lease is given back"),
            Err(e) => tracing::warn!(lease = %self.at.name, "the lease runs out by itself: {e}"),
        }
    }
}

/// Nearly `pause`, and not the same for all.
#[must_use]
pub(super) fn jittered(pause: Duration) -> Duration {
    let share = u32::try_from(random() % 400).unwrap_or(0);
    pause * (800 + share) / 1000
}

/// A number that no other process has.
#[must_use]
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
