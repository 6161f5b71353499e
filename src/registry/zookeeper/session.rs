//! One ZooKeeper session: connecting, watching, reading. It decides nothing about what is read.
//!
//! Where servers have persistent recursive watches (3.6 and newer) there is one for each subtree, set before the subtree is
//! read, so that nothing falls between the two. Where they do not, every read leaves one-shot watches behind, set with the
//! very request that reads.
//!
//! After a loss of the connection the client's session may live on, but what happened meanwhile is not reported
//! (ZOOKEEPER-4698), and version 0.11.2 of the client does not set recursive watches again by itself. So whoever uses this
//! watches and reads everything anew. With one-shot watches the session ends with the connection: setting tens of thousands
//! of them again takes more than a server accepts in one request.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, select_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use zookeeper_client as zk;

use crate::registry::zookeeper::connect::{self, ConnectError, ConnectSettings};
use crate::registry::zookeeper::layout::Wants;
use crate::registry::zookeeper::view::Answer;

/// Reads under way at a time: enough to hide the distance, little enough for a server that has others to serve.
const IN_FLIGHT: usize = 256;
/// Reports that are gathered at a time; the rest waits for the next round.
const GATHERED: usize = 20_000;

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watching {
    /// By one watch for each subtree.
    Recursive,
    /// By a watch for each read.
    OneShot,
}

/// Something was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sign {
    /// A node came.
    Created(Arc<str>),
    /// A node went.
    Deleted(Arc<str>),
    /// A node holds something else.
    Changed(Arc<str>),
    /// Other nodes are below a node.
    Children(Arc<str>),
    /// The connection is lost. The session may live on.
    Lost,
    /// The session is over; why.
    Over(&'static str),
}

/// Why something was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The connection was lost on the way; the session may live on.
    #[error("the connection to ZooKeeper was lost")]
    Lost,
    /// The servers know no recursive watches.
    #[error(
        "these servers know no recursive watches (older than 3.6); every node is watched by itself from now on"
    )]
    TooOld,
    /// There is no session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The session is over.
    #[error("{0}")]
    Over(&'static str),
    /// Anything else.
    #[error("ZooKeeper answers with an error: {0}")]
    Other(zk::Error),
}

impl From<zk::Error> for SessionError {
    fn from(error: zk::Error) -> Self {
        match error {
            zk::Error::ConnectionLoss => Self::Lost,
            zk::Error::SessionExpired | zk::Error::SessionMoved => Self::Over(EXPIRED),
            zk::Error::ClientClosed => Self::Over(CLOSED),
            zk::Error::AuthFailed => Self::Over(REFUSED),
            zk::Error::Unimplemented => Self::TooOld,
            other => Self::Other(other),
        }
    }
}

const EXPIRED: &str = "the ZooKeeper session expired; everything is read again";
const CLOSED: &str = "the ZooKeeper session was closed; everything is read again";
const REFUSED: &str = "ZooKeeper refuses what we show to be let in: check `username`, `password` and `auth`";

/// A session that lives.
pub(crate) struct Session {
    client: zk::Client,
    watching: Watching,
    subtrees: Vec<zk::PersistentWatcher>,
    nodes: FuturesUnordered<BoxFuture<'static, zk::WatchedEvent>>,
    state: zk::StateWatcher,
}

/// Reads single nodes beside the session's own reads: what the node at a path holds; `None`: there is none. An error in words.
pub(crate) type Peek = dyn Fn(&str) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>> + Send + Sync;

async fn peek(client: zk::Client, path: String) -> Result<Option<Vec<u8>>, String> {
    match client.get_data(&path).await {
        Ok((data, _)) => Ok(Some(data)),
        Err(zk::Error::NoNode) => Ok(None),
        Err(zk::Error::NoAuth) => Err("it may not be read".into()),
        Err(e) => Err(e.to_string()),
    }
}

/// A read to be done: of which node, and what of it.
pub(crate) type Task = (Arc<str>, Wants);

impl Session {
    /// Connects.
    pub(crate) async fn open(settings: &ConnectSettings, watching: Watching) -> Result<Self, SessionError> {
        let client = connect::connect(settings).await?;
        let state = client.state_watcher();
        Ok(Self { client, watching, subtrees: Vec::new(), nodes: FuturesUnordered::new(), state })
    }

    /// Watches `roots`, which need not exist, from now on. What was reported before and not yet gathered is dropped: what
    /// follows is a read of everything.
    pub(crate) async fn watch(&mut self, roots: &[Arc<str>]) -> Result<(), SessionError> {
        // A server that lags behind another one would show an older world than we have seen. A read-only server refuses.
        match self.client.sync("/").await.map_err(SessionError::from) {
            Ok(()) | Err(SessionError::Other(_)) => {}
            Err(e) => return Err(e),
        }
        if self.watching == Watching::Recursive {
            let mut subtrees = Vec::with_capacity(roots.len());
            for root in roots {
                subtrees.push(self.client.watch(root, zk::AddWatchMode::PersistentRecursive).await?);
            }
            // The old ones only now: the client would ask the server to forget the path.
            self.subtrees = subtrees;
        }
        Ok(())
    }

    /// For reads that nobody waits for.
    pub(crate) fn peek(
        &self,
    ) -> impl Fn(&str) -> BoxFuture<'static, Result<Option<Vec<u8>>, String>> + use<> {
        let client = self.client.clone();
        move |path| peek(client.clone(), path.to_owned()).boxed()
    }

    /// Whether the session is connected now.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.client.state(), zk::SessionState::SyncConnected | zk::SessionState::ConnectedReadOnly)
    }

    /// Waits for something to be reported; takes what else there is by then.
    pub(crate) async fn gather(&mut self) -> Vec<Sign> {
        let mut signs = Vec::new();
        let mut next = self.next().await;
        loop {
            // Nothing that is worth anything comes after these two.
            let last = matches!(next, Some(Sign::Lost | Sign::Over(_)));
            signs.extend(next);
            if last || signs.len() >= GATHERED {
                return signs;
            }
            match self.next().now_or_never() {
                Some(another) => next = another,
                None => return signs,
            }
        }
    }

    async fn next(&mut self) -> Option<Sign> {
        match self.watching {
            Watching::Recursive if self.subtrees.is_empty() => of_state(self.state.changed().await),
            Watching::Recursive => {
                let all = self.subtrees.iter_mut().map(|w| w.changed().boxed());
                of_event(select_all(all).await.0)
            }
            Watching::OneShot => {
                tokio::select! {
                    // What was reported before the connection was lost is worth nothing any more.
                    biased;
                    state = self.state.changed() => of_state(state),
                    Some(event) = self.nodes.next() => of_event(event),
                }
            }
        }
    }

    /// Reads what `tasks` ask for. Every answer goes to `take`, in the servers' order, which says what else to read.
    pub(crate) async fn read(
        &mut self,
        tasks: Vec<Task>,
        mut take: impl FnMut(&Arc<str>, &Answer) -> Vec<Task>,
    ) -> Result<(), SessionError> {
        let mut open = tasks;
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < IN_FLIGHT
                && let Some(task) = open.pop()
            {
                running.push(read_one(self.client.clone(), self.watching, task));
            }
            let Some(done) = running.next().await else { return Ok(()) };
            let (path, answer, watchers) = done?;
            self.nodes.extend(watchers.into_iter().map(|w| w.changed().boxed()));
            open.extend(take(&path, &answer));
        }
    }

    /// Has one-shot watches tell when `roots`, which were not there, come; those that have come since.
    pub(crate) async fn await_roots(
        &mut self,
        roots: &BTreeSet<Arc<str>>,
    ) -> Result<Vec<Arc<str>>, SessionError> {
        let mut come = Vec::new();
        if self.watching == Watching::OneShot {
            for root in roots {
                let (stat, watcher) = self.client.check_and_watch_stat(root).await?;
                self.nodes.push(watcher.changed().boxed());
                come.extend(stat.map(|_| Arc::clone(root)));
            }
        }
        Ok(come)
    }

    /// How changes are noticed.
    pub(crate) fn watching(&self) -> Watching {
        self.watching
    }
}

/// `None`: nothing that anyone waits for.
fn of_event(event: zk::WatchedEvent) -> Option<Sign> {
    let path: Arc<str> = event.path.as_str().into();
    match event.event_type {
        zk::EventType::Session => of_state(event.session_state),
        zk::EventType::NodeCreated => Some(Sign::Created(path)),
        zk::EventType::NodeDeleted => Some(Sign::Deleted(path)),
        zk::EventType::NodeDataChanged => Some(Sign::Changed(path)),
        zk::EventType::NodeChildrenChanged => Some(Sign::Children(path)),
    }
}

fn of_state(state: zk::SessionState) -> Option<Sign> {
    match state {
        // Back already: it was away in between.
        zk::SessionState::Disconnected
        | zk::SessionState::SyncConnected
        | zk::SessionState::ConnectedReadOnly => Some(Sign::Lost),
        zk::SessionState::Expired => Some(Sign::Over(EXPIRED)),
        zk::SessionState::Closed => Some(Sign::Over(CLOSED)),
        zk::SessionState::AuthFailed => Some(Sign::Over(REFUSED)),
    }
}

/// What one read brings: the node, the answer, and the watches that it left.
type Done = (Arc<str>, Answer, Vec<zk::OneshotWatcher>);

async fn read_one(client: zk::Client, watching: Watching, task: Task) -> Result<Done, SessionError> {
    let (path, wants) = task;
    let mut watchers = Vec::new();
    match fetch(&client, watching, &path, wants, &mut watchers).await {
        Ok(answer) => Ok((path, answer, watchers)),
        // It went between the list that named it and this read.
        Err(zk::Error::NoNode) => Ok((path, Answer::Absent, watchers)),
        Err(zk::Error::NoAuth) => Ok((path, Answer::Denied, watchers)),
        Err(e) => Err(e.into()),
    }
}

async fn fetch(
    client: &zk::Client,
    watching: Watching,
    path: &str,
    wants: Wants,
    watchers: &mut Vec<zk::OneshotWatcher>,
) -> Result<Answer, zk::Error> {
    let mut data = None;
    // A leaf need not be asked for what is below it: a recursive watch tells when that changes.
    let mut list = wants.children();
    if wants.data() {
        let (bytes, stat) = match watching {
            Watching::Recursive => client.get_data(path).await?,
            Watching::OneShot => {
                let (bytes, stat, watcher) = client.get_and_watch_data(path).await?;
                watchers.push(watcher);
                (bytes, stat)
            }
        };
        list &= stat.num_children > 0 || watching == Watching::OneShot;
        data = Some(bytes);
    }
    let mut children = None;
    if list {
        children = Some(match watching {
            Watching::Recursive => client.list_children(path).await?,
            Watching::OneShot => {
                let (names, watcher) = client.list_and_watch_children(path).await?;
                watchers.push(watcher);
                names
            }
        });
    }
    Ok(Answer::There { data, children })
}
