//! Without a running sink: what would be written and removed, and the removal of everything that is ours.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::client::{ApiError, Client};
use super::desk::{Desk, Job};
use super::elect::Where;
use super::metrics::SinksMetrics;
use super::object::Kind;
use super::watch::{self, Scope};
use super::write::{WriteError, Writer};
use super::{lease_of, missing, owner};
use crate::resource::snapshot::Snapshot;
use crate::sink::{KubernetesSettings, Takes};

/// What is to be done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// It is not there.
    Create,
    /// It differs.
    Update,
    /// It is not wanted.
    Delete,
}

/// What would be done, in the order in which it would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The objects that would be touched.
    pub steps: Vec<(Action, String)>,
    /// Objects that would stay as they are.
    pub unchanged: usize,
    /// What cannot be written, and why.
    pub refused: Vec<(String, String)>,
    /// Kinds that the server does not know, and what to do about it.
    pub unknown: Vec<String>,
}

/// Why a command about a sink did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The server says no, or nothing.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Somebody would write it back.
    #[error(
        "{0} holds the lease and would write everything back: stop it first, or take the sink out of its configuration"
    )]
    Held(String),
    /// Objects that could not be removed.
    #[error("{} objects are still there; the first is {}", .0.len(), .0.first().map_or("", String::as_str))]
    Left(Vec<String>),
}

struct Desked {
    desk: Desk,
    client: Client,
    api_versions: Vec<(Kind, String)>,
    unknown: Vec<String>,
    at: Where,
}

async fn look(settings: &KubernetesSettings) -> Result<Desked, ApiError> {
    let (client, home) = Client::new(settings, SinksMetrics::default().of(&settings.name)).await?;
    let owner = owner(settings, &home);
    let at = lease_of(settings, home, &owner);
    let mut desk = Desk::new(owner.clone(), settings.inline_endpoints, &settings.namespaces);
    let (mut api_versions, mut unknown) = (Vec::new(), Vec::new());
    for kind in Kind::ALL {
        let scope = Scope { kind, owner: owner.clone(), namespaces: settings.namespaces.clone() };
        match watch::list(&client, &scope).await {
            Ok(list) => {
                api_versions.push((kind, list.api_version));
                desk.listed(kind, list.objects);
            }
            Err(e) if e.code() == 404 => {
                unknown.push(missing(kind));
                desk.listed(kind, Vec::new());
            }
            Err(e) => return Err(e),
        }
    }
    Ok(Desked { desk, client, api_versions, unknown, at })
}

/// What a sink with these settings would do now, given `snapshot`. Writes nothing.
///
/// # Errors
/// The API server cannot be read.
pub async fn plan(
    settings: &KubernetesSettings,
    takes: &Takes,
    snapshot: std::sync::Arc<Snapshot>,
) -> Result<Plan, ApiError> {
    let mut looked = look(settings).await?;
    looked.desk.want(snapshot, takes);
    while looked.desk.catch_up() {}
    let step = |(key, job): (&super::object::Key, Job)| {
        let action = match job {
            Job::Create(_) => Action::Create,
            Job::Update(..) => Action::Update,
            Job::Delete(_) => Action::Delete,
        };
        (action, key.to_string())
    };
    let steps: Vec<(Action, String)> = looked.desk.plan().map(step).collect();
    let refused = looked.desk.refused();
    let written = steps.iter().filter(|(action, _)| *action != Action::Delete).count();
    let unchanged = looked.desk.wanted().saturating_sub(written);
    Ok(Plan { steps, unchanged, refused, unknown: looked.unknown })
}

/// The objects that [`prune`] would remove, entries before their endpoints.
///
/// # Errors
/// The API server cannot be read.
pub async fn ours(settings: &KubernetesSettings) -> Result<Vec<String>, ApiError> {
    let looked = look(settings).await?;
    Ok(looked.desk.all_of_ours().map(|(key, _)| key.to_string()).collect())
}

/// Removes every object of this installation, whatever registry it comes from, and its Lease if that is allowed. Returns how
/// many objects went.
///
/// # Errors
/// A running chandler holds the lease, the server cannot be read, or some could not be removed.
pub async fn prune(settings: &KubernetesSettings) -> Result<usize, OfflineError> {
    let looked = look(settings).await?;
    if let Some(holder) = holder(&looked).await? {
        return Err(OfflineError::Held(holder));
    }
    let writer = Writer {
        client: looked.client.clone(),
        field_manager: settings.field_manager.as_str().into(),
        owner: looked.desk.owner().clone(),
        create_namespaces: false,
        metrics: SinksMetrics::default().of(&settings.name),
    };
    let (mut gone, mut left) = (0, Vec::new());
    // Entries first: none of them may select endpoints that are going.
    for kind in [Kind::ServiceEntry, Kind::WorkloadEntry] {
        let Some((_, api_version)) = looked.api_versions.iter().find(|(k, _)| *k == kind) else { continue };
        let of_kind = looked.desk.all_of_ours().filter(|(key, _)| key.kind == kind);
        let remove = |(key, uid): (super::object::Key, std::sync::Arc<str>)| {
            let writer = &writer;
            async move {
                let result = writer.perform(&key, Job::Delete(uid), api_version, false).await;
                result.map_err(|e: WriteError| format!("{key}: {e}"))
            }
        };
        let all: Vec<_> = of_kind.map(|(key, o)| (key.clone(), std::sync::Arc::clone(&o.uid))).collect();
        let mut removals = stream::iter(all).map(remove).buffer_unordered(settings.parallelism.max(1));
        while let Some(result) = removals.next().await {
            match result {
                Ok(_) => gone += 1,
                Err(e) => left.push(e),
            }
        }
    }
    if !left.is_empty() {
        return Err(OfflineError::Left(left));
    }
    // The service account of a running sink may not remove it, and nothing is wrong with one that stays.
    if let Err(e) = remove_lease(&looked).await {
        tracing::warn!(lease = %looked.at.name, namespace = %looked.at.namespace, "the lease stays: {e}");
    }
    Ok(gone)
}

async fn remove_lease(looked: &Desked) -> Result<(), ApiError> {
    match looked.at.read(&looked.client).await? {
        Some(lease) => looked.at.remove(&looked.client, &lease).await,
        None => Ok(()),
    }
}

/// Who holds the lease, if it is renewed while we look.
async fn holder(looked: &Desked) -> Result<Option<String>, ApiError> {
    let Some(first) = looked.at.read(&looked.client).await? else { return Ok(None) };
    let holder = first.spec.holder_identity.clone().filter(|h| !h.is_empty());
    let Some(holder) = holder else { return Ok(None) };
    let said = Duration::from_secs(first.spec.lease_duration_seconds.unwrap_or(15));
    let wait = said.min(Duration::from_secs(60)) + Duration::from_secs(1);
    let deadline = tokio::time::Instant::now() + wait;
    while tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(500)).await;
        match looked.at.read(&looked.client).await? {
            Some(now) if now.spec == first.spec => {}
            // Renewed, taken over, or given back.
            Some(now) => return Ok(now.spec.holder_identity.filter(|h| !h.is_empty())),
            None => return Ok(None),
        }
    }
    tracing::info!(%holder, "the lease is not renewed any more");
    Ok(None)
}
