//! How many writes are under way at once, seen from a server that answers none of them before it is told to.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chandler::runtime::supervise::Owned;
use futures_util::stream;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::cluster::{Server, chandler, service};
use crate::support::PATIENCE;

const LIMIT: usize = 3;
const SERVICES: usize = 20;
/// One that waits for longer may have been given up by the other side, which waits for 5 s.
const FRESH: Duration = Duration::from_secs(4);

#[derive(Debug, Default)]
struct Counts {
    /// When those that wait for their answer came.
    under_way: Vec<(u64, Instant)>,
    came: u64,
    answered: usize,
    /// Of those that were surely under way.
    most: usize,
}

#[derive(Debug, Clone)]
struct Gate {
    counts: Arc<watch::Sender<Counts>>,
    answers: Arc<Semaphore>,
}

/// One write; it is not under way any more when this is dropped.
struct UnderWay(Gate, u64);

impl UnderWay {
    fn begin(gate: Gate) -> Self {
        let mut number = 0;
        gate.counts.send_modify(|counts| {
            counts.came += 1;
            number = counts.came;
            counts.under_way.push((number, Instant::now()));
            let fresh = counts.under_way.iter().filter(|(_, since)| since.elapsed() < FRESH).count();
            counts.most = counts.most.max(fresh);
        });
        Self(gate, number)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.counts.send_modify(|counts| counts.under_way.retain(|(number, _)| *number != self.1));
    }
}

/// A server that knows of nothing, and grants the lease.
struct Holding {
    gate: Gate,
    dir: TempDir,
    _server: Owned,
}

impl Server for Holding {
    fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }
}

impl Holding {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, dir) = (listener.local_addr().unwrap(), tempfile::tempdir().unwrap());
        let text = format!(
            "clusters: [{{name: a, cluster: {{server: 'http://{address}'}}}}]\nusers: [{{name: a, user: {{token: x}}}}]\n\
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\ncurrent-context: a\n"
        );
        std::fs::write(dir.path().join("kubeconfig"), text).unwrap();
        let gate = Gate { counts: Arc::new(watch::Sender::default()), answers: Arc::new(Semaphore::new(0)) };
        let router = axum::Router::new().fallback(answer).with_state(gate.clone());
        let _server = Owned::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { gate, dir, _server }
    }

    async fn until(&self, what: &str, check: impl FnMut(&Counts) -> bool) {
        let mut counts = self.gate.counts.subscribe();
        let waited = tokio::time::timeout(PATIENCE, counts.wait_for(check)).await;
        assert!(waited.is_ok(), "waited in vain for {what}: {:?}", self.gate.counts.borrow());
    }
}

async fn answer(State(gate): State<Gate>, method: Method, uri: Uri, body: Bytes) -> Response {
    let mut object: Value = serde_json::from_slice(&body).unwrap_or_default();
    match method.as_str() {
        "GET" if uri.query().is_some_and(|q| q.contains("watch=")) => {
            Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>()).into_response()
        }
        "GET" if uri.path().contains("/leases/") => StatusCode::NOT_FOUND.into_response(),
        "GET" => axum::Json(json!({"metadata": {"resourceVersion": "1"}, "items": []})).into_response(),
        "PATCH" => {
            let under_way = UnderWay::begin(gate.clone());
            gate.answers.acquire().await.unwrap().forget();
            drop(under_way);
            gate.counts.send_modify(|counts| counts.answered += 1);
            object["metadata"]["uid"] = json!(uri.path());
            object["metadata"]["resourceVersion"] = json!("2");
            axum::Json(object).into_response()
        }
        // The lease.
        _ => {
            object["metadata"]["resourceVersion"] = json!("2");
            axum::Json(object).into_response()
        }
    }
}

#[tokio::test]
async fn as_many_writes_as_allowed_are_under_way_and_never_more() {
    let server = Holding::start().await;
    let chandler = chandler(&server, "inline", &format!(", parallelism: {LIMIT}"));
    let add = |builder: crate::support::ChandlerBuilder, n: usize| {
        builder.service_file(&format!("s{n}.yaml"), &service(&format!("s{n}"), &["10.0.0.1"]))
    };
    let _chandler = (0..SERVICES).fold(chandler, add).start().await;
    for answered in 0..SERVICES {
        let expected = LIMIT.min(SERVICES - answered);
        let what = format!("{expected} writes under way after {answered} answers");
        server.until(&what, |c| c.answered == answered && c.under_way.len() == expected).await;
        server.gate.answers.add_permits(1);
    }
    server.until("every answer", |c| c.answered == SERVICES && c.under_way.is_empty()).await;
    assert_eq!(server.gate.counts.borrow().most, LIMIT);
}
