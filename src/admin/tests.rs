//! The routers through their front door, the listener through a socket.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::*;
use crate::model::labels::Labels;
use crate::model::service::RegistryName;
use crate::pipeline::report::{AreaReport, ContestReport, Query, RegistryReport};
use crate::resource::collection::Collection;
use crate::resource::encoded::{Encoded, ResourceId, ResourceName, TopologyHash};
use crate::resource::snapshot::{Changes, CollectionSnapshot, Snapshot};
use crate::security::door::{Door, DoorMetrics, Speaks};
use crate::store::Store;

fn report(name: &str, complete: bool) -> RegistryReport {
    RegistryReport {
        name: name.into(),
        complete,
        unread_scopes: if complete { Vec::new() } else { vec!["dc1".into()] },
        doubt: None,
        removed: None,
        services: 3,
        endpoints: 7,
        objects: 1,
        refused: 2,
        ..RegistryReport::default()
    }
}

/// A pipeline that has `reports` to say; it ends when the set is dropped.
fn pipeline(reports: Vec<RegistryReport>) -> (Questions, JoinSet<()>) {
    let (out, mut asked) = mpsc::channel(1);
    let (pings, mut pinged) = mpsc::channel::<tokio::sync::oneshot::Sender<()>>(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Some(answer) = pinged.recv().await {
            let _gone = answer.send(()).is_err();
        }
    });
    tasks.spawn(async move {
        while let Some(query) = asked.recv().await {
            let _gone = match query {
                Query::Registries(answer) => answer.send(reports.clone()).is_err(),
                Query::Services(_, answer) => answer.send(Vec::new()).is_err(),
                Query::Hosts(_, answer) => answer.send(vec![ContestReport::default()]).is_err(),
                Query::Held(answer) => answer.send(Vec::new()).is_err(),
                Query::Frozen(answer) => answer.send(Vec::new()).is_err(),
                Query::Release(area, answer) => answer.send(area.service().map_or(1, str::len)).is_err(),
                Query::Freeze(area, frozen, answer) => {
                    let registry = area.registry().map(ToString::to_string);
                    let service = area.service().map(str::to_owned);
                    let all = if frozen { vec![AreaReport { registry, service }] } else { Vec::new() };
                    answer.send(all).is_err()
                }
                Query::Fail(_) => true,
            };
        }
    });
    (Questions::new(out, pings), tasks)
}

fn snapshot() -> Arc<Snapshot> {
    let id = ResourceId { collection: Collection::ServiceEntry, name: ResourceName::new("ns", "web") };
    let (none, body) = (Labels::EMPTY, bytes::Bytes::from_static(b"\x0a\x03web"));
    let web = Arc::new(Encoded::new(id.clone(), none.clone(), none, body, TopologyHash::default()));
    let changes: Changes = [(id.name, Some(web))].into_iter().collect();
    let content = Arc::new(CollectionSnapshot::default().apply(&changes));
    Arc::new(Snapshot::default().with(Collection::ServiceEntry, content))
}

fn state(questions: Questions) -> AdminState {
    let store = Store::default();
    store.publish(snapshot());
    AdminState {
        questions,
        store: store.reader(),
        status: Arc::default(),
        config: Arc::new(|| json!({"registries": []})),
        metrics: Arc::new(Metrics::new()),
        ready: Readiness::default(),
        shutdown: Shutdown::new(Duration::from_secs(1)),
    }
}

async fn ask(router: Router, method: &str, uri: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(uri).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn api(state: &AdminState, uri: &str) -> (StatusCode, Value) {
    let (status, body) = ask(admin_router(state.clone()), "GET", uri).await;
    (status, serde_json::from_str(&body).unwrap())
}

async fn telemetry(state: &AdminState, uri: &str) -> (StatusCode, String) {
    ask(telemetry_router(state.clone()), "GET", uri).await
}

#[tokio::test(start_paused = true)]
async fn healthy_means_that_the_pipeline_answers() {
    let (questions, mut tasks) = pipeline(Vec::new());
    let s = state(questions);
    assert_eq!(telemetry(&s, "/healthz").await.0, StatusCode::OK);
    tasks.shutdown().await;
    assert_eq!(telemetry(&s, "/healthz").await.0, StatusCode::SERVICE_UNAVAILABLE);

    // Nobody takes the question out of the channel: a stuck pipeline.
    let ((out, _stuck), (pings, _unanswered)) = (mpsc::channel(1), mpsc::channel(1));
    let s = state(Questions::new(out, pings));
    assert_eq!(telemetry(&s, "/healthz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(telemetry(&s, "/syncz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(telemetry(&s, "/metrics").await.0, StatusCode::OK);
    assert_eq!(api(&s, "/api/v1/registries").await.0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn ready_means_open_sockets_and_no_drain_whatever_is_unread() {
    let (questions, _tasks) = pipeline(vec![report("prod", false)]);
    let s = state(questions);
    assert_eq!(telemetry(&s, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    s.ready.set();
    assert_eq!(telemetry(&s, "/readyz").await.0, StatusCode::OK);
    s.shutdown.begin_drain();
    assert_eq!(telemetry(&s, "/readyz").await, (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into()));
}

#[tokio::test]
async fn a_registry_that_is_given_up_on_is_named_and_waited_for_no_more() {
    let given_up = RegistryReport { given_up: true, ..report("prod", false) };
    let (questions, _tasks) = pipeline(vec![given_up]);
    let s = state(questions);
    let answer = (StatusCode::OK, "prod: given up until it is read: dc1\n".to_owned());
    assert_eq!(telemetry(&s, "/syncz").await, answer);
    let (_, metrics) = telemetry(&s, "/metrics").await;
    assert!(metrics.contains("chandler_registry_given_up{registry=\"prod\"} 1"), "{metrics}");
    let (_, rows) = api(&s, "/api/v1/registries").await;
    assert!(rows.to_string().contains("\"givenUp\":true"), "{rows}");
}

#[tokio::test]
async fn synced_means_that_every_registry_is_read() {
    let (questions, _tasks) = pipeline(vec![report("files", true), report("prod", false)]);
    let (status, text) = telemetry(&state(questions), "/syncz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(text, "files: read\nprod: not read yet: dc1\n");
    let (questions, _tasks) = pipeline(vec![report("files", true)]);
    assert_eq!(telemetry(&state(questions), "/syncz").await, (StatusCode::OK, "files: read\n".into()));
}

#[tokio::test]
async fn metrics_show_registries_clients_and_collections() {
    let (questions, _tasks) = pipeline(vec![report("prod", true)]);
    let s = state(questions);
    s.status.registry(&RegistryName::new("prod"), |r| {
        r.up = true;
        r.last_success = Some(std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(1500));
        r.failures = 2;
    });
    s.status.add_client(None, Vec::new(), "xds");
    let (_, text) = telemetry(&s, "/metrics").await;
    for line in [
        "chandler_registry_up{registry=\"prod\"} 1",
        "chandler_registry_last_success_timestamp_seconds{registry=\"prod\"} 1.5",
        "chandler_registry_failures_total{registry=\"prod\"} 2",
        "chandler_registry_complete{registry=\"prod\"} 1",
        "chandler_registry_services{registry=\"prod\"} 3",
        "chandler_registry_endpoints{registry=\"prod\"} 7",
        "chandler_held_endpoints{registry=\"prod\"} 0",
        "chandler_rejected_resources{registry=\"prod\"} 2",
        "chandler_clients{wire=\"xds\"} 1",
        "chandler_resources{collection=\"serviceentries\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn what_is_not_possible_is_said_in_json() {
    let (questions, _tasks) = pipeline(Vec::new());
    let s = state(questions);
    for (method, uri, status) in [
        ("POST", "/api/v1/config", StatusCode::METHOD_NOT_ALLOWED),
        ("DELETE", "/nowhere", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/nowhere", StatusCode::NOT_FOUND),
        ("GET", "/api/v1/services?registri=x", StatusCode::BAD_REQUEST),
        ("GET", "/api/v1/services?registry=x", StatusCode::NOT_FOUND),
        ("GET", "/api/v1/resources?collection=nonsense", StatusCode::BAD_REQUEST),
        ("GET", "/api/v1/resources?name=ns/web", StatusCode::BAD_REQUEST),
        ("GET", "/api/v1/resources?collection=se&name=ns/other", StatusCode::NOT_FOUND),
        ("GET", "/api/v1/resources?collection=dr&name=ns/web", StatusCode::NOT_FOUND),
    ] {
        let (got, body) = ask(admin_router(s.clone()), method, uri).await;
        assert_eq!(got, status, "{method} {uri}");
        let body: Value = serde_json::from_str(&body).unwrap();
        assert!(body["error"].as_str().is_some_and(|e| !e.is_empty()), "{method} {uri}");
    }
}

#[tokio::test]
async fn a_request_with_a_body_is_refused() {
    let (questions, _tasks) = pipeline(Vec::new());
    let request = Request::get("/api/v1/config").body(Body::from("x")).unwrap();
    let response = admin_router(state(questions)).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

async fn post(s: &AdminState, uri: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, Value) {
    let request = headers.iter().fold(Request::post(uri), |r, (name, value)| r.header(*name, *value));
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = admin_router(s.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

#[tokio::test]
async fn what_is_held_is_let_go_and_frozen_by_hand() {
    let (questions, _tasks) = pipeline(vec![report("prod", true)]);
    let s = state(questions);
    let (release, freeze) = ("/api/v1/held/release", "/api/v1/freeze");
    assert_eq!(post(&s, release, &[JSON], "{}").await, (StatusCode::OK, json!({"released": 1})));
    let one = r#"{"registry": "prod", "service": "web"}"#;
    assert_eq!(post(&s, release, &[JSON], one).await.1, json!({"released": 3}));
    let on = r#"{"registry": "prod", "frozen": true}"#;
    assert_eq!(post(&s, freeze, &[JSON], on).await.1, json!([{"registry": "prod"}]));
    assert_eq!(post(&s, freeze, &[JSON], r#"{"frozen": false}"#).await.1, json!([]));
    assert_eq!(api(&s, freeze).await, (StatusCode::OK, json!([])));
    for (body, status) in [
        (r#"{"registry": "other"}"#, StatusCode::NOT_FOUND),
        (r#"{"service": "web"}"#, StatusCode::BAD_REQUEST),
        (r#"{"servise": "web"}"#, StatusCode::BAD_REQUEST),
        ("no json", StatusCode::BAD_REQUEST),
        ("", StatusCode::BAD_REQUEST),
    ] {
        let (got, answer) = post(&s, release, &[JSON], body).await;
        assert_eq!(got, status, "{body}");
        assert!(answer["error"].as_str().is_some_and(|e| !e.is_empty()), "{answer}");
    }
}

#[tokio::test]
async fn no_web_page_does_anything_here() {
    let (questions, _tasks) = pipeline(Vec::new());
    let s = state(questions);
    for (headers, status) in [
        // All that a page of another origin can send without asking first.
        (&[][..], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[("content-type", "text/plain")], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (&[("content-type", "application/x-www-form-urlencoded")], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        // A page whose own name was made to point here.
        (&[JSON, ("origin", "http://evil.example:9903")], StatusCode::FORBIDDEN),
    ] {
        assert_eq!(post(&s, "/api/v1/held/release", headers, "{}").await.0, status, "{headers:?}");
        assert_eq!(post(&s, "/api/v1/freeze", headers, r#"{"frozen": true}"#).await.0, status, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_so_many_large_answers_are_in_memory_and_small_ones_are_given_all_the_same() {
    let (questions, _tasks) = pipeline(vec![report("NAME", true)]);
    let router = admin_router(state(questions));
    let get = async |uri: &str| {
        let request = Request::builder().uri(uri).body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    // Nobody reads them.
    let mut unread = Vec::new();
    for _ in 0..8 {
        unread.push(get("/api/v1/services").await);
    }
    assert!(unread.iter().all(|r| r.status() == StatusCode::OK));
    assert_eq!(get("/api/v1/hosts").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get("/api/v1/registries").await.status(), StatusCode::OK);
    let read = unread.pop().unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(read, "[]");
    assert_eq!(get("/api/v1/hosts").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn every_path_of_the_index_is_there() {
    let (questions, _tasks) = pipeline(vec![report("NAME", true)]);
    let s = state(questions);
    s.ready.set();
    let (_, index) = ask(admin_router(s.clone()), "GET", "/").await;
    let paths: Vec<_> = index.lines().filter(|l| l.starts_with('/')).collect();
    assert_eq!(paths.len(), 12);
    for line in paths {
        let uri = line.split_whitespace().next().unwrap().replace("NS/N", "ns/web");
        assert_eq!(api(&s, &uri).await.0, StatusCode::OK, "{uri}");
    }
    let (_, index) = telemetry(&s, "/").await;
    for line in index.lines().filter(|l| l.starts_with('/')) {
        let uri = line.split_whitespace().next().unwrap();
        assert_eq!(telemetry(&s, uri).await.0, StatusCode::OK, "{uri}");
        assert_eq!(
            ask(telemetry_router(s.clone()), "HEAD", uri).await,
            (StatusCode::OK, String::new()),
            "{uri}"
        );
    }
}

#[tokio::test]
async fn resources_are_listed_by_name_and_shown_whole() {
    let (questions, _tasks) = pipeline(Vec::new());
    let s = state(questions);
    let version =
        snapshot().get(Collection::ServiceEntry).unwrap().get("ns/web").unwrap().version.to_string();
    let row = json!({"collection": "serviceentries", "name": "ns/web", "version": version});
    assert_eq!(api(&s, "/api/v1/resources").await.1, json!([row]));
    assert_eq!(api(&s, "/api/v1/resources?collection=vs").await.1, json!([]));
    let (_, whole) = api(&s, "/api/v1/resources?collection=se&name=ns/web").await;
    assert_eq!(whole["object"]["kind"], "ServiceEntry");
    assert_eq!(whole["object"]["spec"], json!({"hosts": ["web"]}));
    assert_eq!(whole["version"], version);
}

#[tokio::test]
async fn registries_and_clients_join_what_is_known_of_them() {
    let (questions, _tasks) = pipeline(vec![report("prod", true)]);
    let s = state(questions);
    s.status.registry(&RegistryName::new("prod"), |r| r.problem = Some("no route".into()));
    let id = s.status.add_client(
        Some("10.0.0.1:5000".parse().unwrap()),
        vec!["spiffe://d/ns/n/sa/a".into()],
        "xds",
    );
    let current = snapshot().get(Collection::ServiceEntry).unwrap().version();
    s.status.client(id, |c| {
        c.node = "sidecar~a".into();
        let watch = c.watches.entry("networking.istio.io/v1/ServiceEntry".into()).or_default();
        watch.collection = Some("serviceentries".into());
        (watch.sent, watch.acknowledged) = (Some(current), Some(current));
    });
    let (_, registries) = api(&s, "/api/v1/registries").await;
    assert_eq!((&registries[0]["endpoints"], &registries[0]["problem"]), (&json!(7), &json!("no route")));
    let (_, clients) = api(&s, "/api/v1/clients").await;
    assert_eq!(clients[0]["peer"], "10.0.0.1:5000");
    assert_eq!(clients[0]["identities"][0], "spiffe://d/ns/n/sa/a");
    assert_eq!(clients[0]["watches"][0]["state"], "SYNCED");
    assert_eq!(api(&s, "/api/v1/config").await.1, json!({"registries": []}));
    assert_eq!(api(&s, "/api/v1/held").await.1, json!([]));
}

async fn get_over(address: SocketAddr, uri: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {uri} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A refused request may end in a reset after the answer.
    let _end = socket.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn one_slow_client_blocks_nobody_and_stopping_ends_everything() {
    let (questions, _tasks) = pipeline(Vec::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let mut server = JoinSet::new();
    let door = Arc::new(Door::open(Speaks::Http, DoorMetrics::default()));
    server.spawn(serve(listener, door, telemetry_router(state(questions)), stop.clone()));

    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHo").await.unwrap();
    assert!(get_over(address, "/healthz").await.starts_with("HTTP/1.1 200 OK\r\n"));
    let long = format!("/{}", "a".repeat(64 << 10));
    let refused = get_over(address, &long).await;
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 4"), "{refused}");

    stop.cancel();
    server.join_next().await.unwrap().unwrap().unwrap();
    let mut rest = Vec::new();
    // Closed, one way or the other.
    let _end = slow.read_to_end(&mut rest).await;
    assert!(TcpStream::connect(address).await.is_err());
}
