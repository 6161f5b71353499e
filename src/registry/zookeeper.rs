//! ZooKeeper: Dubbo's registry, Curator's x-discovery (Spring Cloud), and home-made layouts by template.
//!
//! One session; a mirror of what the layouts look at; a change costs the services that it touches. While the connection is
//! lost everything stays; after it, and after an expired session, everything is read anew before anything is said.
//! Refuses to write: no node is ever created.
//!
//! | module | what |
//! | --- | --- |
//! | `connect` | servers, logins, TLS |
//! | `session` | one session: watches and reads |
//! | `tree` | the mirror (pure) |
//! | `layout` | how services lie in it: decode and put together (pure) |
//! | `view` | what is known and was said (pure) |
//! | `ask` | asks what layouts must know that is not in the tree |
//! | `watch` | one life |
//! | `trouble` | what people are told to be wrong (pure) |
//!
//! What a layout must ask somebody else for (what a revision of a Dubbo application provides) is asked by `ask`, reaches the
//! layout as if it had been read, and outlives lives with the layouts, in [`Shared`].

mod ask;
mod connect;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod layout;
mod session;
mod tree;
mod trouble;
mod view;
mod watch;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use connect::{ConnectSettings, Login, Tls};
pub use layout::curator::CuratorSettings;
pub use layout::dubbo::{By, DubboSettings};
pub use layout::template::{Pattern, TemplateSettings};

use crate::model::service::{RegistryName, Scope};
use crate::registry::{Factory, Registry};
use crate::resource::collection::Collection;
use crate::runtime::status::Status;
use layout::Layout;
use session::Watching;
use tree::Tree;
use view::View;
use watch::ZooKeeperRegistry;

/// One layout of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayoutSettings {
    /// Dubbo's registry.
    Dubbo(DubboSettings),
    /// Curator's x-discovery.
    Curator(CuratorSettings),
    /// A home-made one.
    Template(TemplateSettings),
}

/// What there is to know of one ZooKeeper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZooKeeperSettings {
    /// How it is spoken to.
    pub connect: ConnectSettings,
    /// What is looked at there.
    pub layouts: Vec<LayoutSettings>,
    /// How long nothing must change before services that came back after a loss of all are believed to be all.
    pub calm: Duration,
}

impl ZooKeeperSettings {
    /// Providers register again within their session's time-out, and each of them is a change; 30 seconds are what the
    /// slowest of them, Dubbo's and Curator's, take between two tries.
    pub const CALM: Duration = Duration::from_secs(30);
}

/// What outlives a life.
#[derive(Debug)]
pub(crate) struct Shared {
    settings: ZooKeeperSettings,
    /// The servers know no recursive watches.
    too_old: AtomicBool,
    /// How many services the last read that was believed found.
    believed: AtomicUsize,
    /// What the last life left.
    left: Mutex<View>,
}

impl Shared {
    /// What the last life left, for what may not be read any more; new where there was none.
    fn take_view(&self) -> View {
        let left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        if left.has_layouts() { left.forget_said() } else { View::new(self.layouts(), Tree::default()) }
    }

    /// Leaves `view` for the next life.
    fn leave_view(&self, view: View) {
        *self.left.lock().unwrap_or_else(PoisonError::into_inner) = view;
    }

    fn layouts(&self) -> Vec<Box<dyn Layout>> {
        let one = |settings: &LayoutSettings| -> Box<dyn Layout> {
            match settings.clone() {
                LayoutSettings::Dubbo(s) => Box::new(layout::dubbo::Dubbo::new(s, scope())),
                LayoutSettings::Curator(s) => Box::new(layout::curator::Curator::new(s, scope())),
                LayoutSettings::Template(s) => Box::new(layout::template::Template::new(s, scope())),
            }
        };
        self.settings.layouts.iter().map(one).collect()
    }

    fn watching(&self) -> Watching {
        if self.too_old.load(Ordering::Relaxed) { Watching::OneShot } else { Watching::Recursive }
    }
}

/// Builds the lives of one ZooKeeper.
#[derive(Debug)]
pub struct ZooKeeperFactory {
    shared: Arc<Shared>,
    name: RegistryName,
    status: Arc<Status>,
}

impl ZooKeeperFactory {
    /// The registry `name`, whose troubles are told to `status`.
    #[must_use]
    pub fn new(settings: ZooKeeperSettings, name: RegistryName, status: Arc<Status>) -> Self {
        let shared = Shared {
            settings,
            too_old: AtomicBool::new(false),
            believed: AtomicUsize::new(0),
            left: Mutex::default(),
        };
        Self { shared: Arc::new(shared), name, status }
    }

    /// Does without recursive watches, as with servers older than 3.6.
    #[must_use]
    pub fn with_one_shot_watches(self) -> Self {
        self.shared.too_old.store(true, Ordering::Relaxed);
        self
    }
}

impl Factory for ZooKeeperFactory {
    fn scopes(&self) -> Vec<Scope> {
        vec![scope()]
    }

    fn feeds(&self) -> &'static [Collection] {
        &[Collection::ServiceEntry]
    }

    fn registry(&self) -> Box<dyn Registry> {
        Box::new(ZooKeeperRegistry {
            shared: Arc::clone(&self.shared),
            name: self.name.clone(),
            status: Arc::clone(&self.status),
        })
    }
}

/// One for the whole session: everything is read together or not at all.
fn scope() -> Scope {
    Scope::new("zookeeper")
}
