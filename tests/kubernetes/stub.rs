//! An API server as far as the sink needs one, for runs without the real one. Held to that: the tests in `written.rs` run
//! against both. Knows every kind; objects of a namespace that is missing are refused as the real one does.
//!
//! Server-side apply is modelled field by field of `spec`, label by label: who set what, by applying or by changing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use chandler::runtime::supervise::Owned;

/// Kind and namespace (`serviceentries`, `chandler`), then the name.
type Key = (String, String, String);
/// A manager, and whether it applied (or else changed).
type Manager = (String, bool);

#[derive(Debug, Default)]
struct Shelf {
    revision: u64,
    objects: BTreeMap<Key, (Value, BTreeMap<String, BTreeSet<Manager>>)>,
    /// Everything that happened, with its revision.
    log: Vec<(u64, Key, &'static str, Value)>,
    /// Watches from before this are refused.
    forgotten: u64,
    /// So many writes are asked to come later.
    throttled: u32,
    /// Writes that were asked to come later.
    turned_away: u32,
}

/// A running stub.
#[derive(Debug)]
pub(crate) struct Stub {
    inner: Inner,
    pub(crate) address: SocketAddr,
    _server: Owned,
}

#[derive(Debug, Clone)]
struct Inner {
    shelf: Arc<Mutex<Shelf>>,
    /// How often all watches were ended, and the newest revision.
    news: Arc<watch::Sender<(u64, u64)>>,
}

impl Stub {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Inner { shelf: Arc::default(), news: Arc::new(watch::Sender::new((0, 0))) };
        let router = axum::Router::new().fallback(answer).with_state(inner.clone());
        let _server = Owned::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { inner, address, _server }
    }

    /// Ends every watch, and forgets what was before.
    pub(crate) fn forget(&self) {
        let mut shelf = self.inner.shelf.lock().unwrap();
        shelf.revision += 1;
        shelf.forgotten = shelf.revision;
        let revision = shelf.revision;
        self.inner.news.send_modify(|news| *news = (news.0 + 1, revision));
    }

    /// The next `n` writes are answered with 429.
    pub(crate) fn throttle(&self, n: u32) {
        self.inner.shelf.lock().unwrap().throttled = n;
    }

    /// How many were.
    pub(crate) fn turned_away(&self) -> u32 {
        self.inner.shelf.lock().unwrap().turned_away
    }
}

struct Asked {
    key: Key,
    query: HashMap<String, String>,
    api_version: String,
}

/// `/apis/GROUP/VERSION[/namespaces/NS]/PLURAL[/NAME]`, and `/api/v1/namespaces[/NAME]`.
fn asked(uri: &Uri) -> Asked {
    let parts: Vec<&str> = uri.path().split('/').filter(|p| !p.is_empty()).collect();
    let (api, rest) =
        if parts[0] == "api" { (&parts[1..2], &parts[2..]) } else { (&parts[1..3], &parts[3..]) };
    let text = |s: Option<&&str>| s.map_or(String::new(), |s| (*s).to_owned());
    let key = match rest {
        ["namespaces", namespace, plural, rest @ ..] => {
            ((*plural).to_owned(), (*namespace).to_owned(), text(rest.first()))
        }
        [plural, rest @ ..] => ((*plural).to_owned(), String::new(), text(rest.first())),
        [] => panic!("{uri}"),
    };
    let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    Asked { key, query, api_version: api.join("/") }
}

async fn answer(State(stub): State<Inner>, method: Method, uri: Uri, body: Bytes) -> Response {
    let asked = asked(&uri);
    if method == Method::GET && asked.query.contains_key("watch") {
        return stub.watch(&asked);
    }
    let body: Value = if body.is_empty() { Value::Null } else { read(&body) };
    let mut shelf = stub.shelf.lock().unwrap();
    if shelf.throttled > 0 && asked.key.0 != "leases" && method != Method::GET {
        shelf.throttled -= 1;
        shelf.turned_away += 1;
        let (code, text) = (StatusCode::TOO_MANY_REQUESTS, "storage is (re)initializing\n");
        return (code, [("Retry-After", "1")], text).into_response();
    }
    let result = match method.as_str() {
        "GET" if asked.key.2.is_empty() => Ok(shelf.list(&asked)),
        "GET" => shelf.get(&asked.key),
        "POST" => shelf.create(asked, body),
        "PUT" => shelf.put(&asked.key, body),
        "PATCH" if asked.query.contains_key("force") => shelf.apply(asked, body),
        "PATCH" => shelf.change(&asked, &body),
        "DELETE" => shelf.delete(&asked.key, &body),
        other => panic!("{other}"),
    };
    let revision = shelf.revision;
    drop(shelf);
    stub.news.send_modify(|news| news.1 = revision);
    match result {
        Ok(value) => axum::Json(value).into_response(),
        Err((code, status)) => (StatusCode::from_u16(code).unwrap(), axum::Json(status)).into_response(),
    }
}

/// Tests write YAML, the sink JSON.
fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body)
        .unwrap_or_else(|_| serde_saphyr::from_str(std::str::from_utf8(body).unwrap()).unwrap())
}

type Result<T> = std::result::Result<T, (u16, Value)>;

fn no<T>(code: u16, reason: &str, message: &str, details: Value) -> Result<T> {
    Err((
        code,
        json!({"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}),
    ))
}

impl Shelf {
    fn get(&self, key: &Key) -> Result<Value> {
        match self.objects.get(key) {
            Some((object, _)) => Ok(object.clone()),
            None => no(404, "NotFound", "not found", json!({"kind": key.0, "name": key.2})),
        }
    }

    fn list(&self, asked: &Asked) -> Value {
        let (kind, namespace, _) = &asked.key;
        let ours = asked.query.contains_key("labelSelector");
        let managed = |o: &Value| o["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "chandler";
        let wanted = self.objects.iter().filter(|((k, n, _), (o, _))| {
            k == kind && (namespace.is_empty() || n == namespace) && (!ours || managed(o))
        });
        let items: Vec<&Value> = wanted.map(|(_, (object, _))| object).collect();
        json!({"metadata": {"resourceVersion": self.revision.to_string()}, "items": items})
    }

    fn needs_namespace(&self, key: &Key) -> Result<()> {
        let namespaced = ["serviceentries", "workloadentries"].contains(&key.0.as_str());
        let namespace = ("namespaces".to_owned(), String::new(), key.1.clone());
        if namespaced && !self.objects.contains_key(&namespace) {
            let words = format!("namespaces {:?} not found", key.1);
            return no(404, "NotFound", &words, json!({"kind": "namespaces", "name": key.1}));
        }
        Ok(())
    }

    /// Keeps `object` under the next revision, and says so.
    fn keep(
        &mut self,
        key: Key,
        what: &'static str,
        mut object: Value,
        owners: BTreeMap<String, BTreeSet<Manager>>,
    ) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        let managers: BTreeSet<&Manager> = owners.values().flatten().collect();
        let shown = managers.iter().map(|(name, applied)| {
            json!({"manager": name, "operation": if *applied { "Apply" } else { "Update" }})
        });
        object["metadata"]["managedFields"] = shown.collect();
        self.log.push((self.revision, key.clone(), what, object.clone()));
        self.objects.insert(key, (object.clone(), owners));
        object
    }

    fn create(&mut self, mut asked: Asked, mut body: Value) -> Result<Value> {
        asked.key.2 = body["metadata"]["name"].as_str().unwrap().to_owned();
        if self.objects.contains_key(&asked.key) {
            return no(409, "AlreadyExists", "already exists", json!({}));
        }
        body["metadata"]["uid"] = json!(format!("uid-{}", self.revision));
        Ok(self.keep(asked.key, "ADDED", body, BTreeMap::new()))
    }

    fn put(&mut self, key: &Key, mut body: Value) -> Result<Value> {
        let old = self.get(key)?;
        if old["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
            return no(409, "Conflict", "the object has been modified", json!({}));
        }
        body["metadata"]["uid"] = old["metadata"]["uid"].clone();
        Ok(self.keep(key.clone(), "MODIFIED", body, BTreeMap::new()))
    }

    fn apply(&mut self, asked: Asked, body: Value) -> Result<Value> {
        self.needs_namespace(&asked.key)?;
        let me: Manager = (asked.query["fieldManager"].clone(), true);
        let force = asked.query["force"] == "true";
        let old = self.objects.get(&asked.key).cloned();
        let uid = body["metadata"]["uid"].as_str();
        if uid.is_some_and(|uid| old.as_ref().is_none_or(|(o, _)| o["metadata"]["uid"] != uid)) {
            return no(409, "Conflict", "Precondition failed: UID in precondition", json!({}));
        }
        let (what, (mut object, mut owners)) = match old.clone() {
            Some(old) => ("MODIFIED", old),
            None => {
                let (kind, (_, namespace, name)) = (&body["kind"], &asked.key);
                let metadata =
                    json!({"name": name, "namespace": namespace, "uid": format!("uid-{}", self.revision)});
                let fresh =
                    json!({"apiVersion": asked.api_version, "kind": kind, "metadata": metadata, "spec": {}});
                ("ADDED", (fresh, BTreeMap::new()))
            }
        };
        let wanted = leaves(&body);
        let mut conflicts = Vec::new();
        for (path, value) in &wanted {
            let others: Vec<&Manager> =
                owners.get(path).into_iter().flatten().filter(|o| **o != me).collect();
            if let (Some(other), false) = (others.first(), at(&object, path) == Some(value)) {
                let how =
                    if other.1 { String::new() } else { format!(" using {} at a time", asked.api_version) };
                conflicts.push(json!({"field": format!(".{}", path.replace('\n', ".")), "message": format!("conflict with {:?}{how}", other.0)}));
            }
        }
        if !conflicts.is_empty() && !force {
            return no(409, "Conflict", "Apply failed", json!({"causes": conflicts}));
        }
        let dropped: Vec<String> = owners
            .iter()
            .filter(|(p, o)| o.contains(&me) && !wanted.contains_key(*p))
            .map(|(p, _)| p.clone())
            .collect();
        for path in dropped {
            let set = owners.get_mut(&path).unwrap();
            set.remove(&me);
            if set.is_empty() {
                owners.remove(&path);
                remove(&mut object, &path);
            }
        }
        for (path, value) in wanted {
            let set = owners.entry(path.clone()).or_default();
            if at(&object, &path) != Some(&value) {
                set.clear();
            }
            set.insert(me.clone());
            put(&mut object, &path, value);
        }
        // Equal is equal: no new revision.
        if old.as_ref().is_some_and(|(o, had)| *o == object && *had == owners) {
            return Ok(object);
        }
        Ok(self.keep(asked.key, what, object, owners))
    }

    fn change(&mut self, asked: &Asked, body: &Value) -> Result<Value> {
        self.get(&asked.key)?;
        let (mut object, mut owners) = self.objects[&asked.key].clone();
        let me = (asked.query.get("fieldManager").cloned().unwrap_or_else(|| "curl".into()), false);
        for (path, value) in leaves(body) {
            if at(&object, &path) != Some(&value) {
                owners.insert(path.clone(), [me.clone()].into());
                put(&mut object, &path, value);
            }
        }
        Ok(self.keep(asked.key.clone(), "MODIFIED", object, owners))
    }

    fn delete(&mut self, key: &Key, body: &Value) -> Result<Value> {
        let object = self.get(key)?;
        let uid = &body["preconditions"]["uid"];
        if !uid.is_null() && *uid != object["metadata"]["uid"] {
            return no(409, "Conflict", "Precondition failed: UID in precondition", json!({}));
        }
        self.objects.remove(key);
        self.revision += 1;
        let mut last = object;
        last["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.log.push((self.revision, key.clone(), "DELETED", last));
        Ok(json!({"kind": "Status", "status": "Success"}))
    }
}

impl Inner {
    fn watch(&self, asked: &Asked) -> Response {
        let from: u64 = asked.query["resourceVersion"].parse().unwrap();
        let mut news = self.news.subscribe();
        let age = news.borrow_and_update().0;
        let (kind, namespace) = (asked.key.0.clone(), asked.key.1.clone());
        let shelf = Arc::clone(&self.shelf);
        let lines = stream::unfold((from, news, false), move |(from, mut news, mut over)| {
            let (shelf, kind, namespace) = (Arc::clone(&shelf), kind.clone(), namespace.clone());
            async move {
                loop {
                    if over || news.borrow_and_update().0 != age {
                        return None;
                    }
                    let (text, at) = {
                        let shelf = shelf.lock().unwrap();
                        if from < shelf.forgotten {
                            over = true;
                            (
                                format!(
                                    "{}\n",
                                    json!({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}})
                                ),
                                from,
                            )
                        } else {
                            let new = shelf.log.iter().filter(|(revision, key, ..)| {
                                *revision > from
                                    && key.0 == kind
                                    && (namespace.is_empty() || key.1 == namespace)
                            });
                            let lines = new.map(|(_, _, what, object)| {
                                format!("{}\n", json!({"type": what, "object": object}))
                            });
                            (lines.collect::<String>(), shelf.revision)
                        }
                    };
                    if !text.is_empty() {
                        return Some((Ok::<_, std::io::Error>(text), (at, news, over)));
                    }
                    news.changed().await.ok()?;
                }
            }
        });
        Body::from_stream(lines).into_response()
    }
}

/// The fields that are somebody's: of the spec, labels and annotations.
fn leaves(object: &Value) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for place in ["spec", "metadata\nlabels", "metadata\nannotations"] {
        let fields = at(object, place).and_then(Value::as_object).into_iter().flatten();
        out.extend(fields.map(|(name, value)| (format!("{place}\n{name}"), value.clone())));
    }
    out
}

fn at<'v>(object: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('\n').try_fold(object, |value, part| value.get(part))
}

fn parent<'v>(object: &'v mut Value, path: &'v str) -> (&'v mut Map<String, Value>, &'v str) {
    let (above, name) = path.rsplit_once('\n').unwrap();
    let mut value = object;
    for part in above.split('\n') {
        value = value.as_object_mut().unwrap().entry(part).or_insert_with(|| json!({}));
    }
    (value.as_object_mut().unwrap(), name)
}

fn put(object: &mut Value, path: &str, value: Value) {
    let (map, name) = parent(object, path);
    map.insert(name.to_owned(), value);
}

fn remove(object: &mut Value, path: &str) {
    let (map, name) = parent(object, path);
    map.remove(name);
}
