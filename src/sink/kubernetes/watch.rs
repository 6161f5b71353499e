//! All objects of one kind, listed and then watched, for ever.
//!
//! Not only ours: an object of somebody else may have a name that we want. A watch that the server has forgotten (410)
//! begins with a new list; a kind that the server does not know (yet) is asked for again.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{FuturesUnordered, StreamExt};
use http_body_util::BodyExt;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::client::{ApiError, Ask, Client, LIST_PATIENCE, Refusal};
use super::elect::jittered;
use super::object::{Key, Kind, Owner};
use super::observed::{self, Observed, Shown};

/// Objects in one answer to a list.
const PAGE: usize = 500;
/// How long one watch lasts; the server ends it, and the next one takes up where it was.
const WATCH: Duration = Duration::from_secs(280);
/// A server says something (a bookmark) every minute: after this much silence nobody is there.
const SILENCE: Duration = Duration::from_secs(150);
/// An object is 1.5 MiB at most, and a line of a watch holds one.
const MAX_LINE: usize = 16 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// A kind that is not known is made by hand; nobody is woken when it is.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(3);

/// What is new.
#[derive(Debug)]
pub(super) enum Event {
    /// All objects of a kind, and the `apiVersion` that they can be had under.
    Listed(Kind, String, Vec<(Key, Observed)>),
    /// One came or changed.
    Changed(Change),
    /// One went: the one with this uid.
    Gone(Key, Arc<str>),
    /// The kind cannot be listed or watched, and why.
    Trouble(Kind, ApiError),
}

/// An object that came or changed, not read any further than to see which one: most are what we have just written.
#[derive(Debug)]
pub(super) struct Change {
    /// Which object.
    pub(super) key: Key,
    /// Which one of those that ever had its name.
    pub(super) uid: String,
    /// The version of this state of it.
    pub(super) version: String,
    line: Bytes,
}

impl Change {
    /// As a watch of `kind` says it.
    #[cfg(test)]
    pub(super) fn of(kind: Kind, object: &serde_json::Value) -> Self {
        let scope = Scope { kind, owner: Owner::new(""), namespaces: Vec::new() };
        let line = serde_json::json!({"type": "MODIFIED", "object": object}).to_string();
        match read(&scope, line.into(), &mut String::new()) {
            Ok(Some(Event::Changed(change))) => change,
            other => panic!("{other:?}"),
        }
    }

    /// The object.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn read(&self, owner: &Owner) -> Result<Observed, ApiError> {
        #[derive(Deserialize)]
        struct Whole {
            object: Shown,
        }
        let whole: Whole =
            serde_json::from_slice(&self.line).map_err(|e| ApiError::Garbled(e.to_string()))?;
        Ok(Observed::of(whole.object, owner))
    }
}

/// Where to look.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// What for.
    pub(super) kind: Kind,
    /// Whose objects are ours.
    pub(super) owner: Owner,
    /// The only namespaces that count; empty: all.
    pub(super) namespaces: Vec<String>,
}

/// Tells all about the objects in `scope` until nobody listens.
pub(super) async fn run(client: Client, scope: Scope, events: mpsc::Sender<Event>) {
    let mut pause = FIRST_PAUSE;
    while !events.is_closed() {
        let error = match list(&client, &scope).await {
            Ok(list) => {
                pause = FIRST_PAUSE;
                let watched = (list.api_version.clone(), list.versions);
                let listed = Event::Listed(scope.kind, list.api_version, list.objects);
                if events.send(listed).await.is_err() {
                    return;
                }
                match watch_all(&client, &scope, watched, &events).await {
                    // Forgotten: nothing is wrong.
                    Ok(()) => continue,
                    Err(e) => e,
                }
            }
            Err(e) => e,
        };
        let wait = match error.refusal() {
            Some(r) if r.code == 404 => UNKNOWN_PAUSE,
            Some(r) => r.retry_after.unwrap_or(pause),
            None => pause,
        };
        if events.send(Event::Trouble(scope.kind, error)).await.is_err() {
            return;
        }
        tokio::time::sleep(jittered(wait)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// All objects, and the version of each list that made them up.
pub(super) struct List {
    /// Under which version of the API they were found.
    pub(super) api_version: String,
    /// What there is.
    pub(super) objects: Vec<(Key, Observed)>,
    versions: Vec<(Option<String>, String)>,
}

impl std::fmt::Debug for List {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("List").field("objects", &self.objects.len()).finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default)]
    items: Vec<Shown>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageMetadata {
    resource_version: String,
    #[serde(rename = "continue")]
    next: String,
}

/// Lists everything in `scope`, under the newest version of the API that the server has.
///
/// # Errors
/// It cannot be listed; 404: the server does not know the kind at any version.
pub(super) async fn list(client: &Client, scope: &Scope) -> Result<List, ApiError> {
    let places: Vec<Option<String>> = match scope.namespaces.as_slice() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let mut unknown = None;
    for api_version in scope.kind.collection().api_versions() {
        let mut list = List { api_version, objects: Vec::new(), versions: Vec::new() };
        let mut all = Ok(());
        for place in &places {
            match list_one(client, scope, place.as_deref(), &mut list).await {
                Ok(version) => list.versions.push((place.clone(), version)),
                Err(e) => {
                    all = Err(e);
                    break;
                }
            }
        }
        match all {
            Ok(()) => return Ok(list),
            Err(e) if e.code() == 404 => unknown = unknown.or(Some(e)),
            Err(e) => return Err(e),
        }
    }
    Err(unknown.unwrap_or_else(|| ApiError::Garbled("a kind without versions".into())))
}

async fn list_one(
    client: &Client,
    scope: &Scope,
    place: Option<&str>,
    list: &mut List,
) -> Result<String, ApiError> {
    let base = path(&list.api_version, scope.kind, place);
    let mut next = String::new();
    loop {
        let ask = Ask::get(format!("{base}?limit={PAGE}{next}")).within(LIST_PATIENCE);
        let page: Page = client.ask(ask).await?;
        let items = page
            .items
            .into_iter()
            .map(|shown| (observed::key(scope.kind, &shown.metadata), Observed::of(shown, &scope.owner)));
        list.objects.extend(items);
        if page.metadata.next.is_empty() {
            return Ok(page.metadata.resource_version);
        }
        next = format!("&continue={}", page.metadata.next);
    }
}

/// Where objects of `kind` are; in all namespaces, or in one.
#[must_use]
pub(super) fn path(api_version: &str, kind: Kind, namespace: Option<&str>) -> String {
    let plural = kind.collection().plural();
    match namespace {
        None => format!("/apis/{api_version}/{plural}"),
        Some(namespace) => format!("/apis/{api_version}/namespaces/{namespace}/{plural}"),
    }
}

/// Watches every list; returns as soon as one of them has to be made anew.
async fn watch_all(
    client: &Client,
    scope: &Scope,
    (api_version, versions): (String, Vec<(Option<String>, String)>),
    events: &mpsc::Sender<Event>,
) -> Result<(), ApiError> {
    let one = |(place, version): (Option<String>, String)| {
        let base = path(&api_version, scope.kind, place.as_deref());
        watch_on(client, scope, base, version, events)
    };
    let mut all: FuturesUnordered<_> = versions.into_iter().map(one).collect();
    all.next().await.unwrap_or(Ok(()))
}

/// One watch after the other, each from where the last one was.
async fn watch_on(
    client: &Client,
    scope: &Scope,
    base: String,
    mut version: String,
    events: &mpsc::Sender<Event>,
) -> Result<(), ApiError> {
    loop {
        let seconds = jittered(WATCH).as_secs();
        let path = format!(
            "{base}?watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={version}"
        );
        let watched = watch_once(client, scope, path, &mut version, events).await;
        match watched {
            Ok(()) if events.is_closed() => return Ok(()),
            Ok(()) => {}
            Err(e) if e.code() == 410 => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "type")]
    what: String,
    object: Head,
}

/// What an object is called, or what stands in its place when the watch fails.
#[derive(Debug, Deserialize)]
struct Head {
    #[serde(default)]
    metadata: Named,
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    name: String,
    namespace: String,
    uid: String,
    resource_version: String,
}

async fn watch_once(
    client: &Client,
    scope: &Scope,
    path: String,
    version: &mut String,
    events: &mpsc::Sender<Event>,
) -> Result<(), ApiError> {
    let mut body = client.stream(Ask::get(path)).await?;
    let (mut buffer, mut searched) = (BytesMut::new(), 0);
    loop {
        let frame = tokio::time::timeout(SILENCE, body.frame()).await;
        let Some(frame) = frame.map_err(|_| ApiError::Late(SILENCE))? else { return Ok(()) };
        let frame = frame.map_err(|e| ApiError::Unreachable(e.to_string()))?;
        if let Ok(data) = frame.into_data() {
            buffer.extend_from_slice(&data);
        }
        while let Some(end) = buffer.iter().skip(searched).position(|b| *b == b'\n') {
            let line = buffer.split_to(searched + end).freeze();
            buffer.advance(1);
            searched = 0;
            if let Some(event) = read(scope, line, version)?
                && events.send(event).await.is_err()
            {
                return Ok(());
            }
        }
        searched = buffer.len();
        if buffer.len() > MAX_LINE {
            return Err(ApiError::Garbled("a line of a watch without an end".into()));
        }
    }
}

/// What a line says; the watch is as far as that then.
fn read(scope: &Scope, line: Bytes, version: &mut String) -> Result<Option<Event>, ApiError> {
    let Line { what, object } =
        serde_json::from_slice(&line).map_err(|e| ApiError::Garbled(e.to_string()))?;
    if what == "ERROR" {
        let (code, message) = (object.code, object.message);
        return Err(ApiError::Refused(Box::new(Refusal { code, message, ..Refusal::default() })));
    }
    let Named { name, namespace, uid, resource_version } = object.metadata;
    if !resource_version.is_empty() {
        version.clone_from(&resource_version);
    }
    let key = Key { kind: scope.kind, namespace: namespace.into(), name: name.into() };
    Ok(match what.as_str() {
        "ADDED" | "MODIFIED" => Some(Event::Changed(Change { key, uid, version: resource_version, line })),
        "DELETED" => Some(Event::Gone(key, uid.into())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        Scope { kind: Kind::ServiceEntry, owner: Owner::new("a"), namespaces: Vec::new() }
    }

    fn line(json: &'static str, version: &mut String) -> Result<Option<Event>, ApiError> {
        read(&scope(), Bytes::from_static(json.as_bytes()), version)
    }

    #[test]
    fn a_watch_goes_on_from_the_last_thing_it_heard() {
        let mut version = "1".to_owned();
        let seen = r#"{"type":"ADDED","object":{"kind":"ServiceEntry","metadata":{"name":"a","namespace":"n","uid":"u","resourceVersion":"7"},"spec":{"hosts":["a.b"]}}}"#;
        let Ok(Some(Event::Changed(change))) = line(seen, &mut version) else { panic!("a change") };
        assert_eq!((&*change.key.name, change.uid.as_str(), change.version.as_str()), ("a", "u", "7"));
        assert!(change.read(&Owner::new("a")).unwrap().is_at("u", "7"));
        assert_eq!(version, "7");
        let mark =
            r#"{"type":"BOOKMARK","object":{"kind":"ServiceEntry","metadata":{"resourceVersion":"9"}}}"#;
        assert!(matches!(line(mark, &mut version), Ok(None)));
        assert_eq!(version, "9");
    }

    #[test]
    fn a_watch_that_was_forgotten_is_an_error_with_its_code() {
        let gone = r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}}"#;
        assert_eq!(line(gone, &mut String::new()).unwrap_err().code(), 410);
    }
}
