//! One object written or deleted.
//!
//! By server-side apply under our own name: fields of others stay theirs. Of an object that is ours, what a person
//! changed (kubectl edit, a patch) is put right; what another applier claims for itself is theirs, and named. Every
//! change of an object names the one that was seen by its uid: whatever has its name by now is not touched.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::client::{ApiError, Ask, Client, PATIENCE, Refusal};
use super::desk::Job;
use super::metrics::SinkMetrics;
use super::object::{Key, Owner, Wanted};
use super::observed::{Observed, Shown};
use super::watch::path;

/// How objects are written.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    /// To whom.
    pub(super) client: Client,
    /// Under which name.
    pub(super) field_manager: Arc<str>,
    /// Whose objects are ours.
    pub(super) owner: Owner,
    /// Whether a missing namespace is made.
    pub(super) create_namespaces: bool,
    /// What is counted.
    pub(super) metrics: SinkMetrics,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is as wanted.
    Written(Box<Observed>),
    /// The same, and a field was taken back that a person had changed.
    Forced(Box<Observed>),
    /// It is going.
    Deleted,
    /// It is not there any more.
    Gone,
}

/// Why it is not as wanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The server could not be asked, or said no.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Others have fields that we want.
    #[error("{}: they stay as they are", .0.join("; "))]
    Conflict(Vec<String>),
    /// Another object has its name by now, or it went.
    #[error("it was changed or replaced meanwhile")]
    Overtaken,
    /// It has no namespace to be in.
    #[error("namespace {0:?} is not there: create it, or let `createNamespaces` be on")]
    NoNamespace(String),
    /// We do not know how to write it.
    #[error("{0}")]
    Unwritable(String),
}

impl Writer {
    /// Does `job` about the object called `key`; `may_force`: what a person changed is taken back.
    ///
    /// # Errors
    /// Says what stands in the way.
    pub(super) async fn perform(
        &self,
        key: &Key,
        job: Job,
        api_version: &str,
        may_force: bool,
    ) -> Result<Outcome, WriteError> {
        match job {
            Job::Delete(uid) => self.delete(key, &uid, api_version).await,
            Job::Create(wanted) => {
                let made = self.apply(key, &wanted, api_version, None, false).await;
                let made = match made {
                    Err(e) if is_missing_namespace(&e) => {
                        self.make_namespace(&key.namespace).await?;
                        self.apply(key, &wanted, api_version, None, false).await
                    }
                    other => other,
                };
                let observed = made.map_err(|e| self.words(key, e))?;
                self.metrics.wrote("created");
                Ok(Outcome::Written(observed))
            }
            Job::Update(wanted, uid) => self.update(key, &wanted, api_version, &uid, may_force).await,
        }
    }

    async fn update(
        &self,
        key: &Key,
        wanted: &Wanted,
        api_version: &str,
        uid: &str,
        may_force: bool,
    ) -> Result<Outcome, WriteError> {
        match self.apply(key, wanted, api_version, Some(uid), false).await {
            Ok(observed) => {
                self.metrics.wrote("updated");
                Ok(Outcome::Written(observed))
            }
            Err(WriteError::Api(e)) if may_force && e.refusal().is_some_and(is_edit) => {
                let edited = e.refusal().map(conflicts).unwrap_or_default();
                let observed = self.apply(key, wanted, api_version, Some(uid), true).await;
                let observed = observed.map_err(|e| self.words(key, e))?;
                tracing::info!(object = %key, "put right what was changed by hand: {}", edited.join("; "));
                self.metrics.wrote("forced");
                Ok(Outcome::Forced(observed))
            }
            Err(e) => Err(self.words(key, e)),
        }
    }

    async fn apply(
        &self,
        key: &Key,
        wanted: &Wanted,
        api_version: &str,
        uid: Option<&str>,
        force: bool,
    ) -> Result<Box<Observed>, WriteError> {
        let text = wanted.text(key, api_version, uid).map_err(|e| WriteError::Unwritable(e.to_string()))?;
        let path = format!(
            "{}/{}?fieldManager={}&force={force}&timeout={}s",
            path(api_version, key.kind, Some(&key.namespace)),
            key.name,
            self.field_manager,
            PATIENCE.as_secs()
        );
        // Every JSON is YAML.
        let ask = Ask::write(Method::PATCH, path, "application/apply-patch+yaml", text);
        let shown: Shown = self.client.ask(ask).await?;
        Ok(Box::new(Observed::of(shown, &self.owner).settled_by(wanted)))
    }

    async fn delete(&self, key: &Key, uid: &str, api_version: &str) -> Result<Outcome, WriteError> {
        let path = format!(
            "{}/{}?timeout={}s",
            path(api_version, key.kind, Some(&key.namespace)),
            key.name,
            PATIENCE.as_secs()
        );
        let only = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}});
        match self.client.ask::<Value>(Ask::json(Method::DELETE, path, &only)).await {
            Ok(_) => {
                self.metrics.wrote("deleted");
                Ok(Outcome::Deleted)
            }
            Err(e) if e.code() == 404 => Ok(Outcome::Gone),
            Err(e) => Err(self.words(key, e.into())),
        }
    }

    async fn make_namespace(&self, name: &str) -> Result<(), WriteError> {
        if !self.create_namespaces {
            return Err(WriteError::NoNamespace(name.to_owned()));
        }
        let labels = json!({"app.kubernetes.io/managed-by": "chandler"});
        let body =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
        let path = format!("/api/v1/namespaces?fieldManager={}", self.field_manager);
        match self.client.ask::<Value>(Ask::json(Method::POST, path, &body)).await {
            Ok(_) => {
                tracing::info!(namespace = name, "made a namespace that was missing");
                Ok(())
            }
            // Somebody was faster.
            Err(e) if e.code() == 409 => Ok(()),
            Err(e) if e.code() == 403 => Err(WriteError::Unwritable(format!(
                "namespace {name:?} is not there, and we may not make it ({e}): create it"
            ))),
            Err(e) => Err(e.into()),
        }
    }

    fn words(&self, key: &Key, error: WriteError) -> WriteError {
        let WriteError::Api(api) = error else { return error };
        match api.refusal() {
            Some(r) if is_missing_namespace_refusal(r) => WriteError::NoNamespace(key.namespace.to_string()),
            Some(r) if r.code == 409 && !r.causes.is_empty() => WriteError::Conflict(conflicts(r)),
            Some(r) if r.code == 409 => WriteError::Overtaken,
            _ => WriteError::Api(api),
        }
    }
}

fn is_missing_namespace(error: &WriteError) -> bool {
    matches!(error, WriteError::Api(e) if e.refusal().is_some_and(is_missing_namespace_refusal))
}

fn is_missing_namespace_refusal(r: &Refusal) -> bool {
    r.code == 404 && r.kind == "namespaces"
}

/// Each field with who has it, in the server's words.
fn conflicts(refusal: &Refusal) -> Vec<String> {
    refusal.causes.iter().map(|(field, message)| format!("{field}: {message}")).collect()
}

/// Whether every field was changed by hand, as against claimed by another applier: of the former the server says under
/// which version and when.
fn is_edit(refusal: &Refusal) -> bool {
    let edited = |message: &String| message.contains(" using ");
    refusal.code == 409 && !refusal.causes.is_empty() && refusal.causes.iter().all(|(_, m)| edited(m))
}

/// How long to leave the server alone after a failure that is about it.
#[must_use]
pub(super) fn pause_after(error: &ApiError, failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_millis(250);
    const LONGEST: Duration = Duration::from_secs(15);
    let grown = (FIRST * 2_u32.saturating_pow(failures.min(10))).min(LONGEST);
    error.refusal().and_then(|r| r.retry_after).unwrap_or(grown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conflict(messages: &[&str]) -> Refusal {
        let causes = messages.iter().map(|m| (".spec.resolution".to_owned(), (*m).to_owned())).collect();
        Refusal { code: 409, reason: "Conflict".into(), causes, ..Refusal::default() }
    }

    #[test]
    fn what_a_person_edited_is_told_from_what_another_applier_claims() {
        let edit = "conflict with \"kubectl-edit\" using networking.istio.io/v1 at 2026-11-21T00:00:00Z";
        assert!(is_edit(&conflict(&[edit])));
        assert!(!is_edit(&conflict(&[edit, "conflict with \"argocd-controller\""])));
        assert!(!is_edit(&conflict(&[])));
    }

    #[test]
    fn the_server_says_how_long_it_wants_to_be_left_alone() {
        let told = Refusal { code: 429, retry_after: Some(Duration::from_secs(7)), ..Refusal::default() };
        assert_eq!(pause_after(&ApiError::Refused(Box::new(told)), 9), Duration::from_secs(7));
        let late = ApiError::Late(PATIENCE);
        assert!(pause_after(&late, 0) < pause_after(&late, 3));
        assert_eq!(pause_after(&late, 99), Duration::from_secs(15));
    }
}
