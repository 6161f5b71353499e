//! Requests to an API server: credentials and TLS are kube's, the rest is ours, so that every refusal keeps what the
//! server said and every request has an end.
//!
//! Refuses to retry: who asks knows whether the question still stands.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Config;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::metrics::SinkMetrics;
use crate::sink::KubernetesSettings;

/// How long an answer may take; a hung etcd keeps a list for longer than anybody waits. The server is told of it for
/// what changes something, so that it gives up when we do.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A page of a list is more work.
pub(super) const LIST_PATIENCE: Duration = Duration::from_secs(30);
/// An object is 1.5 MiB at most; a page of a list holds some hundreds.
const MAX_ANSWER: usize = 64 << 20;

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Where the server is, or who we are, cannot be found out.
    #[error("{0}")]
    Access(String),
    /// There is no answer.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// There was none in time.
    #[error("the API server does not answer within {0:?}")]
    Late(Duration),
    /// It says no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// It says something else than its API does.
    #[error("the API server answers with something that cannot be read: {0}")]
    Garbled(String),
    /// A part of this sink ended that never does.
    #[error("{0} ended by itself (a bug, please report it)")]
    Ended(&'static str),
}

/// What the API server says when it says no.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The status of HTTP.
    pub code: u16,
    /// One word of the API's: `Conflict`, `Expired`.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// The kind of what it is about: `namespaces`.
    pub kind: String,
    /// Field by field: where, and why.
    pub causes: Vec<(String, String)>,
    /// How long it wants to be left alone.
    pub retry_after: Option<Duration>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the API server answers {}: {}", self.code, self.message)
    }
}

/// The API's own object for a refusal.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
    reason: String,
    message: String,
    details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    kind: String,
    causes: Vec<Cause>,
    retry_after_seconds: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Cause {
    field: String,
    message: String,
}

impl From<Status> for Refusal {
    fn from(s: Status) -> Self {
        let causes = s.details.causes.into_iter().map(|c| (c.field, c.message)).collect();
        let seconds = s.details.retry_after_seconds;
        Self {
            code: s.code,
            reason: s.reason,
            message: s.message,
            kind: s.details.kind,
            causes,
            retry_after: (seconds > 0).then(|| Duration::from_secs(seconds)),
        }
    }
}

impl ApiError {
    /// What the server said, if it said no.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The status of HTTP; 0 without an answer.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.refusal().map_or(0, |r| r.code)
    }

    /// Whether it is about the server and not about what was asked: everything else would end the same way.
    #[must_use]
    pub fn is_general(&self) -> bool {
        match self {
            Self::Refused(r) => matches!(r.code, 401 | 429) || r.code >= 500,
            Self::Access(_) | Self::Unreachable(_) | Self::Late(_) => true,
            Self::Garbled(_) | Self::Ended(_) => false,
        }
    }
}

/// An API server, and who we are to it. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    inner: kube::Client,
    metrics: SinkMetrics,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// A request; its path with query.
#[derive(Debug)]
pub(super) struct Ask {
    method: Method,
    path: String,
    content_type: &'static str,
    body: Vec<u8>,
    patience: Duration,
}

impl Ask {
    /// What is there.
    #[must_use]
    pub(super) fn get(path: String) -> Self {
        Self { method: Method::GET, path, content_type: "", body: Vec::new(), patience: PATIENCE }
    }

    /// Something new or changed; `method` decides how.
    #[must_use]
    pub(super) fn write(method: Method, path: String, content_type: &'static str, body: Vec<u8>) -> Self {
        Self { method, path, content_type, body, patience: PATIENCE }
    }

    /// JSON.
    #[must_use]
    pub(super) fn json(method: Method, path: String, body: &Value) -> Self {
        Self::write(method, path, "application/json", body.to_string().into_bytes())
    }

    /// No longer, or longer, than usual.
    #[must_use]
    pub(super) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl Client {
    /// Reads who we are; dials nobody yet. Returns the namespace that we are at home in as well.
    ///
    /// # Errors
    /// There is no kubeconfig and no service account, or they cannot be used.
    pub(super) async fn new(
        settings: &KubernetesSettings,
        metrics: SinkMetrics,
    ) -> Result<(Self, String), ApiError> {
        let mut config = match &settings.kubeconfig {
            Some(path) => from_file(path, settings.context.clone()).await?,
            None => Config::incluster().map_err(|e| {
                ApiError::Access(format!(
                    "no service account here ({e}): outside of a cluster name a `kubeconfig`"
                ))
            })?,
        };
        // We know when a question still stands.
        config.default_retry = false;
        config.connect_timeout = Some(PATIENCE);
        let home = config.default_namespace.clone();
        let inner = kube::Client::try_from(config).map_err(|e| ApiError::Access(e.to_string()))?;
        Ok((Self { inner, metrics }, home))
    }

    /// One that nobody answers.
    #[cfg(test)]
    pub(super) fn nowhere(metrics: SinkMetrics) -> Self {
        let config = Config::new(http::Uri::from_static("http://127.0.0.1:1"));
        Self { inner: kube::Client::try_from(config).expect("a client"), metrics }
    }

    /// The answer to `ask`.
    ///
    /// # Errors
    /// None came in time, or it is a refusal.
    pub(super) async fn ask<T: DeserializeOwned>(&self, ask: Ask) -> Result<T, ApiError> {
        let patience = ask.patience;
        let answer = within(patience, async {
            let response = self.send(ask).await?;
            let limited = http_body_util::Limited::new(response.into_body(), MAX_ANSWER);
            let body = limited.collect().await.map_err(|e| ApiError::Unreachable(e.to_string()))?;
            Ok(body.to_bytes())
        });
        serde_json::from_slice(&answer.await?).map_err(|e| ApiError::Garbled(e.to_string()))
    }

    /// The answer to `ask` as it comes, without an end of its own.
    ///
    /// # Errors
    /// Its head did not come in time, or is a refusal.
    pub(super) async fn stream(&self, ask: Ask) -> Result<Body, ApiError> {
        within(ask.patience, self.send(ask)).await.map(Response::into_body)
    }

    async fn send(&self, ask: Ask) -> Result<Response<Body>, ApiError> {
        let method = ask.method.clone();
        let mut request =
            Request::builder().method(ask.method).uri(ask.path).header(ACCEPT, "application/json");
        if !ask.content_type.is_empty() {
            request = request.header(CONTENT_TYPE, ask.content_type);
        }
        let request = request
            .body(Body::from(ask.body))
            .map_err(|e| ApiError::Access(format!("no legal request: {e}")))?;
        let answer = self.inner.send(request).await;
        self.metrics.request(&method, answer.as_ref().map_or(0, |r| r.status().as_u16()));
        let response = answer.map_err(|e| broken(&e))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }
}

async fn within<T>(
    patience: Duration,
    answer: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::time::timeout(patience, answer).await.unwrap_or(Err(ApiError::Late(patience)))
}

/// Reads a kubeconfig. Its text is not in any message: it holds credentials.
async fn from_file(path: &Path, context: Option<String>) -> Result<Config, ApiError> {
    let unusable = |why: &dyn std::fmt::Display| ApiError::Access(format!("{}: {why}", path.display()));
    let text = tokio::fs::read_to_string(path).await.map_err(|e| unusable(&e))?;
    let mut kubeconfig =
        Kubeconfig::from_yaml(&text).map_err(|_| unusable(&"it is no kubeconfig; its text is not shown"))?;
    beside(&mut kubeconfig, path);
    let options = KubeConfigOptions { context, ..Default::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|e| unusable(&e))
}

/// Makes the paths in a kubeconfig relative to it, as kubectl does.
fn beside(kubeconfig: &mut Kubeconfig, path: &Path) {
    let dir = path.parent().unwrap_or(Path::new(""));
    let join = |field: &mut Option<String>| {
        if let Some(file) = field {
            *file = dir.join(&*file).display().to_string();
        }
    };
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|c| c.cluster.as_mut()) {
        join(&mut cluster.certificate_authority);
    }
    for user in kubeconfig.auth_infos.iter_mut().filter_map(|u| u.auth_info.as_mut()) {
        join(&mut user.client_certificate);
        join(&mut user.client_key);
        join(&mut user.token_file);
    }
}

fn broken(error: &kube::Error) -> ApiError {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(deeper) = source {
        let text = deeper.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        source = deeper.source();
    }
    match error {
        kube::Error::Auth(_) => ApiError::Access(words),
        _ => ApiError::Unreachable(words),
    }
}

async fn refused(response: Response<Body>) -> ApiError {
    let status = response.status();
    let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
    let limited = http_body_util::Limited::new(response.into_body(), 1 << 20);
    let body = limited.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    ApiError::Refused(Box::new(refusal(status, after, &body)))
}

fn refusal(status: StatusCode, after: Option<u64>, body: &Bytes) -> Refusal {
    let parsed: Status = serde_json::from_slice(body).unwrap_or_default();
    let mut refusal = Refusal::from(parsed);
    refusal.code = status.as_u16();
    if refusal.message.is_empty() {
        let text = String::from_utf8_lossy(body);
        let line = text.lines().next().filter(|l| !l.trim().is_empty());
        refusal.message = line.unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason")).to_owned();
    }
    refusal.retry_after = after.map(Duration::from_secs).or(refusal.retry_after);
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_what_the_server_said() {
        let body = Bytes::from_static(
            br#"{"kind":"Status","code":409,"reason":"Conflict","message":"Apply failed","details":{"causes":[
            {"reason":"FieldManagerConflict","message":"conflict with \"x\"","field":".spec.hosts"}],"retryAfterSeconds":3}}"#,
        );
        let r = refusal(StatusCode::CONFLICT, None, &body);
        assert_eq!((r.code, r.reason.as_str()), (409, "Conflict"));
        assert_eq!(r.causes, [(".spec.hosts".to_owned(), "conflict with \"x\"".to_owned())]);
        assert_eq!(r.retry_after, Some(Duration::from_secs(3)));
        let r = refusal(
            StatusCode::TOO_MANY_REQUESTS,
            Some(7),
            &Bytes::from_static(b"storage is (re)initializing\n"),
        );
        assert_eq!(
            (r.message.as_str(), r.retry_after),
            ("storage is (re)initializing", Some(Duration::from_secs(7)))
        );
    }

    #[test]
    fn paths_in_a_kubeconfig_are_relative_to_it() {
        let text = "clusters: [{name: a, cluster: {server: 'https://h', certificate-authority: ca.crt}}]\n\
                    users: [{name: a, user: {tokenFile: /abs/token}}]\n";
        let mut config = Kubeconfig::from_yaml(text).unwrap();
        beside(&mut config, Path::new("/etc/x/config"));
        let cluster = config.clusters[0].cluster.as_ref().unwrap();
        assert_eq!(cluster.certificate_authority.as_deref(), Some("/etc/x/ca.crt"));
        assert_eq!(
            config.auth_infos[0].auth_info.as_ref().unwrap().token_file.as_deref(),
            Some("/abs/token")
        );
    }
}
