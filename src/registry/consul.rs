//! Consul: its catalogue, with the health of every instance, followed by blocking queries.
//!
//! A service of Consul is one of ours, its healthy instances the endpoints. It costs one answer when an instance of it
//! changes, whatever else the catalogue holds. Refuses to believe an empty or thinned catalogue that comes with lost
//! rights or with an index that went back: such a read is sent as doubtful, and until it is believed nothing is taken
//! away. Sidecars and gateways are left out unless asked for.
//!
//! | module | what |
//! | --- | --- |
//! | `settings` | what is read and how, as the configuration has it |
//! | `place` | scopes: datacenters, partitions, namespaces, peers |
//! | `client` | the questions, and what each answer says beside its body |
//! | `decode` | bodies → services (pure) |
//! | `memory` | what is known beyond one life; is a read to be believed (pure) |
//! | `grant` | how many connections the server grants us (pure) |
//! | `board` | how the scopes are, for people |
//! | `plan` | when something is asked, and by which strategy (pure) |
//! | `scope` | a complete read of one scope |
//! | `ahead` | watching what has been read while the rest is being read |
//! | `session` | one scope watched, by either strategy |
//! | `watch` | one life |

mod ahead;
mod board;
mod client;
mod decode;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod grant;
mod memory;
mod place;
mod plan;
mod scope;
mod session;
pub mod settings;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use self::board::Board;
use self::client::{Api, READS};
use self::grant::Grant;
use self::memory::Memory;
use self::place::Place;
pub use self::settings::ConsulSettings;
use self::watch::ConsulRegistry;
use crate::model::service::{RegistryName, Scope};
use crate::registry::{Factory, Registry};
use crate::resource::collection::Collection;
use crate::runtime::status::Status;

/// Requests that one HTTP/2 connection is given: Consul takes 250.
const STREAMS: usize = 150;
/// However few connections there are, this many services can be watched one by one.
const FEWEST: usize = 8;

/// Builds the lives of one Consul registry and keeps what outlives them: connections, secrets, what was believed.
#[derive(Debug)]
pub struct ConsulFactory {
    shared: Arc<Shared>,
}

/// What all lives share.
#[derive(Debug)]
struct Shared {
    settings: Arc<ConsulSettings>,
    api: Api,
    places: Vec<(Place, Mutex<Memory>)>,
    board: Board,
    /// Connections that the server was found to grant.
    grant: Mutex<Grant>,
}

impl ConsulFactory {
    /// The registry `name`, whose troubles are told to `status`. Opens no connection and no file.
    #[must_use]
    pub fn new(settings: ConsulSettings, name: RegistryName, status: Arc<Status>) -> Self {
        let settings = Arc::new(settings);
        let places = Place::all(&settings).into_iter().map(|place| (place, Mutex::default())).collect();
        let grant = Mutex::new(Grant::new(settings.connections.into()));
        let api = Api::new(Arc::clone(&settings));
        Self { shared: Arc::new(Shared { settings, api, places, board: Board::new(name, status), grant }) }
    }
}

impl Factory for ConsulFactory {
    fn scopes(&self) -> Vec<Scope> {
        self.shared.places.iter().map(|(place, _)| place.scope.clone()).collect()
    }

    fn feeds(&self) -> &'static [Collection] {
        &[Collection::ServiceEntry]
    }

    fn registry(&self) -> Box<dyn Registry> {
        Box::new(ConsulRegistry { shared: Arc::clone(&self.shared) })
    }
}

impl Shared {
    /// How many services of one scope can have a blocking query of their own.
    fn each(&self, multiplexed: bool) -> usize {
        let connections = self.grant().now(Instant::now());
        // Short reads, and the list, the checks and the defaults of each scope, need some as well.
        let spare = connections.saturating_sub(READS + 4 * self.places.len());
        let queries = if multiplexed { connections * STREAMS } else { spare };
        (queries / self.places.len().max(1)).max(FEWEST)
    }

    /// The server refused a connection because we have too many.
    fn too_many(&self) {
        self.grant().refuse(Instant::now());
    }

    fn grant(&self) -> MutexGuard<'_, Grant> {
        self.grant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
