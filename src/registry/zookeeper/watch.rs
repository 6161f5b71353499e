//! One life: a session, everything read, then what changes.
//!
//! After a lost connection the life goes on with the same session and reads everything again; it ends with its session.
//! A read that finds nothing where there were services is not believed: a server that lost its data looks like that. As
//! soon as services are back and nothing has changed for a while, all that is there is said, and believed.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::model::change::{Batch, Change, Trust};
use crate::model::service::RegistryName;
use crate::pipeline::intake::Changes;
use crate::registry::again::Again;
use crate::registry::zookeeper::ask::Asker;
use crate::registry::zookeeper::layout::Wants;
use crate::registry::zookeeper::session::{Peek, Session, SessionError, Sign, Task, Watching};
use crate::registry::zookeeper::tree::Tree;
use crate::registry::zookeeper::trouble;
use crate::registry::zookeeper::view::{self, Answer, View};
use crate::registry::zookeeper::{Shared, scope};
use crate::registry::{BoxFuture, Registry, RegistryError};
use crate::runtime::status::Status;

/// How often the clock is looked at: to say that all is well, and for what comes with time.
const LOOK: Duration = Duration::from_secs(5);
/// How often what may not be read is tried again: nobody reports changed rights.
const RETRY_DENIED: Duration = Duration::from_secs(60);
/// How long what is not in the tree is waited for after a read of everything. Silence is safe, a service without its
/// endpoints is not; but one provider that does not answer must not hold up the others.
const HEAR_OUT: Duration = Duration::from_secs(2);

/// One life.
#[derive(Debug)]
pub(crate) struct ZooKeeperRegistry {
    pub(crate) shared: Arc<Shared>,
    pub(crate) name: RegistryName,
    pub(crate) status: Arc<Status>,
}

impl Registry for ZooKeeperRegistry {
    fn run(
        self: Box<Self>,
        changes: Changes,
        stop: CancellationToken,
    ) -> BoxFuture<Result<(), RegistryError>> {
        Box::pin(async move {
            let (view, asker) = (self.shared.take_view(), Asker::default());
            let (again, quiet_since) = (Again::new(changes.clone()), Instant::now());
            let mut life = Life { registry: &self, changes, again, view, asker, doubt: None, quiet_since };
            let ended = tokio::select! {
                () = stop.cancelled() => Ok(()),
                ended = life.live() => ended,
            };
            self.shared.leave_view(life.view);
            ended
        })
    }
}

struct Life<'a> {
    registry: &'a ZooKeeperRegistry,
    changes: Changes,
    /// When the guard wants everything to be read once more.
    again: Again,
    view: View,
    /// Asks what is not in the tree.
    asker: Asker,
    /// Why what was read is not believed.
    doubt: Option<String>,
    /// When something last changed.
    quiet_since: Instant,
}

impl From<SessionError> for RegistryError {
    fn from(error: SessionError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Life<'_> {
    async fn live(&mut self) -> Result<(), RegistryError> {
        let shared = &self.registry.shared;
        let mut session = Session::open(&shared.settings.connect, shared.watching()).await?;
        loop {
            match self.connected(&mut session).await {
                // The next request waits for the connection, or learns that the session is over.
                Failure::Session(SessionError::Lost) if session.watching() == Watching::Recursive => {
                    self.report(Some(trouble::LOST));
                }
                Failure::Session(e) => return Err(self.over(e)),
                Failure::Registry(e) => return Err(e),
            }
        }
    }

    /// Everything, and then what changes, while the connection lasts.
    async fn connected(&mut self, session: &mut Session) -> Failure {
        let tree = match self.read_all(session).await {
            Ok(tree) => tree,
            Err(failure) => return failure,
        };
        match self.say_all(&session.peek(), tree).await {
            Ok(()) => self.follow(session).await,
            Err(closed) => Failure::Registry(closed),
        }
    }

    /// How the life ends; the next one is told what this one learned.
    fn over(&self, error: SessionError) -> RegistryError {
        if matches!(error, SessionError::TooOld) {
            self.registry.shared.too_old.store(true, Ordering::Relaxed);
        }
        error.into()
    }

    /// Reads everything. Whole or not at all: an error on the way leaves what was known.
    async fn read_all(&mut self, session: &mut Session) -> Result<Tree, Failure> {
        let roots = self.view.roots();
        session.watch(&roots).await?;
        let mut tree = Tree::default();
        let mut denied = None;
        let mut open = roots.clone();
        // A root that comes between the read that missed it and the watch for it is read as well.
        while !open.is_empty() {
            let mut absent: BTreeSet<Arc<str>> = BTreeSet::new();
            let view = &self.view;
            let tasks = view.tasks(open);
            let take = |path: &Arc<str>, answer: &Answer| {
                let root = roots.contains(path);
                match answer {
                    Answer::Denied if root => denied = Some(Arc::clone(path)),
                    Answer::Denied => {
                        tree.graft(path, view.tree());
                        tree.deny(path);
                    }
                    Answer::Absent if root => drop(absent.insert(Arc::clone(path))),
                    Answer::Absent => drop(tree.remove(path)),
                    Answer::There { .. } => {
                        return view.tasks(view::put(&mut tree, path, answer, |p| view.wants(p)));
                    }
                }
                Vec::new()
            };
            session.read(tasks, take).await?;
            open = session.await_roots(&absent).await?;
        }
        match denied {
            None => Ok(tree),
            Some(root) => Err(Failure::Registry(RegistryError::Failed(format!(
                "{root} may not be read: give us the right to read it (`username`, or its access list), or take it out of `layouts`"
            )))),
        }
    }

    /// Puts everything together anew, where nothing else waits for it: a large tree takes a second.
    async fn replace(&mut self, tree: Tree) -> Result<(), RegistryError> {
        let mut view = std::mem::replace(&mut self.view, View::new(Vec::new(), Tree::default()));
        let done = tokio::task::spawn_blocking(move || {
            view.replace(tree);
            view
        });
        self.view = done.await.map_err(|e| {
            RegistryError::Failed(format!("putting services together ended unexpectedly: {e}"))
        })?;
        Ok(())
    }

    /// Waits a moment for answers without which services would seem to have lost endpoints: what is said next is all that
    /// there is. Only where nobody has failed to answer yet, so that it delays a read of everything once and not for long.
    async fn hear_out(&mut self, peek: &Peek) {
        let end = Instant::now() + HEAR_OUT;
        self.view.questions().into_iter().for_each(|questions| self.asker.set(questions));
        while self.asker.is_curious() {
            match timeout_at(end, self.asker.next(peek)).await {
                Ok(finding) => self.view.learn(&finding),
                Err(_) => return,
            }
        }
    }

    /// Says all that was read.
    async fn say_all(&mut self, peek: &Peek, tree: Tree) -> Result<(), RegistryError> {
        self.replace(tree).await?;
        self.hear_out(peek).await;
        self.view.changes();
        let items = self.view.items();
        let believed = &self.registry.shared.believed;
        let before = believed.load(Ordering::Relaxed);
        self.doubt = (items.is_empty() && before > 0).then(|| {
            format!("ZooKeeper answers and holds none of the {before} services that were there: was it restarted without its data?")
        });
        let trust = match &self.doubt {
            Some(why) => Trust::Doubtful(why.as_str().into()),
            None => {
                believed.store(items.len(), Ordering::Relaxed);
                Trust::Complete
            }
        };
        self.quiet_since = Instant::now();
        self.again.was_read();
        self.changes.send(Batch(vec![Change::Reset { scope: scope(), items, trust }])).await?;
        self.report(None);
        Ok(())
    }

    /// Says what changes until the connection is lost or the session is over.
    async fn follow(&mut self, session: &mut Session) -> Failure {
        match self.follow_on(session).await {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    async fn follow_on(&mut self, session: &mut Session) -> Result<Infallible, Failure> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut denied_tried = Instant::now();
        let peek = session.peek();
        loop {
            self.view.questions().into_iter().for_each(|questions| self.asker.set(questions));
            let signs = tokio::select! {
                signs = session.gather() => signs,
                finding = self.asker.next(&peek) => {
                    self.view.learn(&finding);
                    Vec::new()
                }
                _ = looks.tick() => Vec::new(),
                () = self.again.wait() => {
                    let tree = self.read_all(session).await?;
                    self.say_all(&session.peek(), tree).await?;
                    continue;
                }
            };
            let mut tasks = self.take_signs(signs)?;
            if denied_tried.elapsed() >= RETRY_DENIED {
                denied_tried = Instant::now();
                tasks.extend(self.view.tree().denied().map(|path| (Arc::clone(path), self.view.wants(path))));
            }
            while !tasks.is_empty() {
                let absent = self.read(session, tasks).await?;
                tasks = self.view.tasks(session.await_roots(&absent).await?);
            }
            self.say_changes().await?;
            if session.is_connected() {
                self.report(None);
            }
            if self.doubt.is_some()
                && self.view.services() > 0
                && self.quiet_since.elapsed() >= self.registry.shared.settings.calm
            {
                self.believe().await?;
            }
        }
    }

    /// Takes in what was reported; what has to be read therefore.
    fn take_signs(&mut self, signs: Vec<Sign>) -> Result<Vec<Task>, SessionError> {
        let mut tasks: BTreeSet<Task> = BTreeSet::new();
        let roots = self.view.roots();
        for sign in signs {
            let (path, only) = match sign {
                Sign::Lost => return Err(SessionError::Lost),
                Sign::Over(why) => return Err(SessionError::Over(why)),
                Sign::Deleted(path) => {
                    self.view.remove(&path);
                    if roots.contains(&path) {
                        tasks.insert((Arc::clone(&path), self.view.wants(&path)));
                    }
                    continue;
                }
                Sign::Created(path) => (path, None),
                Sign::Changed(path) => (path, Some(Wants::Data)),
                Sign::Children(path) => (path, Some(Wants::Children)),
            };
            let wants = self.view.wants(&path);
            match (wants, only) {
                (Wants::Nothing, _) => {}
                (Wants::Name, _) => self.view.put(&path),
                (_, None) => drop(tasks.insert((path, wants))),
                (_, Some(Wants::Data)) if wants.data() => drop(tasks.insert((path, Wants::Data))),
                (_, Some(Wants::Children)) if wants.children() => drop(tasks.insert((path, Wants::Children))),
                _ => {}
            }
        }
        Ok(tasks.into_iter().collect())
    }

    /// Reads `tasks` and what is new below; the roots that are not there.
    async fn read(
        &mut self,
        session: &mut Session,
        tasks: Vec<Task>,
    ) -> Result<BTreeSet<Arc<str>>, SessionError> {
        let mut absent = BTreeSet::new();
        let roots = self.view.roots();
        let view = &mut self.view;
        let take = |path: &Arc<str>, answer: &Answer| {
            if *answer == Answer::Absent && roots.contains(path) {
                absent.insert(Arc::clone(path));
            }
            let new = view.take(path, answer);
            view.tasks(new)
        };
        session.read(tasks, take).await?;
        Ok(absent)
    }

    async fn say_changes(&mut self) -> Result<(), RegistryError> {
        let changes = self.view.changes();
        if changes.is_empty() {
            return Ok(());
        }
        self.quiet_since = Instant::now();
        if self.doubt.is_none() {
            self.registry.shared.believed.store(self.view.services(), Ordering::Relaxed);
        }
        self.changes.send(Batch(changes)).await?;
        Ok(())
    }

    /// Everything is back that comes back.
    async fn believe(&mut self) -> Result<(), RegistryError> {
        self.doubt = None;
        let items = self.view.items();
        self.registry.shared.believed.store(items.len(), Ordering::Relaxed);
        self.changes
            .send(Batch(vec![Change::Reset { scope: scope(), items, trust: Trust::Complete }]))
            .await?;
        self.report(None);
        Ok(())
    }

    /// Tells how the registry is.
    fn report(&self, trouble: Option<&str>) {
        let problem = trouble::words(trouble, self.doubt.as_deref(), &self.view);
        let name = &self.registry.name;
        let mut news = false;
        self.registry.status.registry(name, |row| {
            news = row.problem != problem;
            row.problem.clone_from(&problem);
            row.up = trouble.is_none();
            if row.up {
                row.last_success = Some(SystemTime::now());
            }
        });
        match problem {
            Some(problem) if news => tracing::warn!(registry = %name, "{problem}"),
            None if news => tracing::info!(registry = %name, "everything is in order again"),
            _ => {}
        }
    }
}

/// Why a life does not go on.
#[derive(Debug)]
enum Failure {
    Session(SessionError),
    Registry(RegistryError),
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}
