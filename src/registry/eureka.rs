//! An Eureka cluster: polled, as its own clients do it, for it pushes nothing.
//!
//! Applications become services (on request virtual addresses too); instances that are up become endpoints.
//! It refuses to believe a server that has just been started about what it lacks, to take a partial read for a whole one,
//! and to add up the servers of one cluster: several clusters are several registries.
//!
//! | module | what |
//! | --- | --- |
//! | `instance` | what a server lists, and its hash code (data) |
//! | `decode` | JSON or XML → instances or their faults (pure) |
//! | `ledger` | all that is known, by every name (pure) |
//! | `compose` | the instances behind a name → a service (pure) |
//! | `reading` | one full read, and whether it is whole (pure) |
//! | `state` | what is believed, what to ask next, what to say (pure) |
//! | `client` | one question to one server |
//! | `watch` | one life |

mod client;
mod compose;
mod decode;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod instance;
mod ledger;
mod reading;
mod state;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use crate::model::service::{RegistryName, Scope};
use crate::registry::http::{Client, Settings};
use crate::registry::{Factory, Registry};
use crate::resource::collection::Collection;
use crate::runtime::status::Status;

pub use self::client::Format;
pub use self::compose::{ExpiredLeases, Prefer, Shape};
pub use self::ledger::Names;
pub use self::state::Rules;

/// Which cluster, and how it is read.
#[derive(Debug, Clone)]
pub struct EurekaSettings {
    /// Its servers, by base address, and how they are spoken to.
    pub http: Settings,
    /// Remote regions that are read as well.
    pub regions: Vec<String>,
    /// In which format.
    pub format: Format,
    /// How often it is asked what changed; a tenth less now and then.
    pub interval: Duration,
    /// How its answers are taken.
    pub rules: Rules,
}

/// Builds the lives of one cluster's registry and remembers what is known of it.
#[derive(Debug)]
pub struct EurekaFactory(Arc<watch::Shared>);

impl EurekaFactory {
    /// The registry `name`, whose troubles are told to `status`.
    #[must_use]
    pub fn new(settings: EurekaSettings, name: RegistryName, status: Arc<Status>) -> Self {
        let EurekaSettings { http, regions, format, interval, rules } = settings;
        let servers = client::Servers::new(Client::new(http), &regions, format);
        Self(Arc::new(watch::Shared::new(servers, interval, state::State::new(rules), name, status)))
    }
}

impl Factory for EurekaFactory {
    fn scopes(&self) -> Vec<Scope> {
        vec![compose::scope()]
    }

    fn feeds(&self) -> &'static [Collection] {
        &[Collection::ServiceEntry]
    }

    fn registry(&self) -> Box<dyn Registry> {
        Box::new(watch::EurekaRegistry(Arc::clone(&self.0)))
    }
}
