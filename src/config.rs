//! What the user wrote: typed, validated whole before any of it takes effect, every fault at once with its place.
//!
//! One file and one struct per subsystem below; each decodes its own section strictly (unknown keys are faults) and knows
//! its own rules. Keys that have their place in the design and do not work yet are refused as such. Paths are relative to
//! the configuration file. `${ENV}` is expanded in secrets only.

pub mod admin;
mod bounds;
mod dial;
mod error;
mod guard;
mod limits;
mod listen;
pub mod map;
mod merge;
pub mod mesh;
pub mod push;
pub mod registries;
pub mod reload;
mod secret;
mod select;
pub mod server;
mod services;
mod sinks;
mod startup;
pub mod state;
mod template;
pub mod units;

use std::path::Path;

use serde_json::{Value, json};

pub use self::admin::{Admin, Telemetry};
pub use self::error::ConfigErrors;
pub use self::listen::{Access, Entrance};
pub use self::mesh::Mesh;
pub use self::push::Push;
#[cfg(feature = "consul")]
pub use self::registries::consul::{ConsulConfig, ConsulConsistency, ConsulWatch};
#[cfg(feature = "files")]
pub use self::registries::files::{FilesConfig, Source};
#[cfg(feature = "zookeeper")]
pub use self::registries::zookeeper::{DubboBy, LayoutConfig, ZooKeeperConfig, ZooKeeperLogin};
pub use self::registries::{RegistryConfig, RegistryKind};
pub use self::reload::Plan;
pub use self::server::Server;
pub use self::sinks::Sinks;
pub use self::state::State;
use crate::model::limits::Limits;
use crate::model::merging::Merging;
use crate::yaml::fields::{Fields, Findings};
use crate::yaml::{self, Fault, Position};

/// The whole configuration: every value is set, and all rules hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where Istio pulls.
    pub server: Server,
    /// Health and metrics.
    pub telemetry: Telemetry,
    /// The API.
    pub admin: Admin,
    /// What is read; the order is the precedence when two know the same host. Never empty.
    pub registries: Vec<RegistryConfig>,
    /// How registries share the hosts that several of them know.
    pub merge: Merging,
    /// What we must know of the mesh.
    pub mesh: Mesh,
    /// What is held back.
    pub guard: Limits,
    /// How changes are gathered.
    pub push: Push,
    /// Where the last known good state is kept.
    pub state: State,
    /// What is pushed to, and where registries go.
    pub sinks: Sinks,
}

/// Nobody writes more by hand, and a wrong path may name anything.
const MAX_BYTES: usize = 4 << 20;

/// What `serve` starts with when it is given no configuration: the same text as `config/quickstart.yaml`.
pub const QUICKSTART: &str = include_str!("../config/quickstart.yaml");

/// The sample services of the quickstart by their paths below its directory; sorted.
pub const QUICKSTART_SERVICES: &[(&str, &str)] = &[
    ("services/billing.yaml", include_str!("../config/services/billing.yaml")),
    ("services/external.yaml", include_str!("../config/services/external.yaml")),
    ("services/istio-objects.yaml", include_str!("../config/services/istio-objects.yaml")),
    ("services/orders-db.yaml", include_str!("../config/services/orders-db.yaml")),
];

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or anything is wrong with it: all faults at once.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let name = path.display().to_string();
        let unreadable = |e: &std::io::Error| ConfigErrors::of_file(&name, error::unreadable(path, e));
        let size = std::fs::metadata(path).map_err(|e| unreadable(&e))?.len();
        if size > MAX_BYTES as u64 {
            let words = format!("{size} bytes are too many for a configuration: is this the right file?");
            return Err(ConfigErrors::of_file(&name, words));
        }
        let bytes = std::fs::read(path).map_err(|e| unreadable(&e))?;
        match yaml::text(&bytes) {
            Ok(text) => Self::parse(text, &name, path.parent().unwrap_or(Path::new(""))),
            Err(fault) => Err(ConfigErrors::new(&name, &String::from_utf8_lossy(&bytes), vec![fault])),
        }
    }

    /// Reads a text; `file` is what messages call it, and paths in it are relative to `base`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str, file: &str, base: &Path) -> Result<Self, ConfigErrors> {
        let findings = Findings::default();
        let config = Self::read(text, base, &findings);
        match (config, findings.into_faults()) {
            (Some(config), faults) if faults.is_empty() => Ok(config),
            (_, faults) => Err(ConfigErrors::new(file, text, faults)),
        }
    }

    /// The configuration that needs no file: sample services, plain text on loopback.
    ///
    /// # Errors
    /// None: a test reads it.
    pub fn quickstart() -> Result<Self, ConfigErrors> {
        let mut config = Self::parse(QUICKSTART, "the built-in quickstart.yaml", Path::new(""))?;
        for registry in &mut config.registries {
            match &mut registry.kind {
                #[cfg(feature = "files")]
                RegistryKind::Files(files) => files.source = Source::Embedded(QUICKSTART_SERVICES),
                #[allow(unreachable_patterns)] // a build may have one kind only
                _ => {}
            }
        }
        Ok(config)
    }

    /// What is right and hardly meant, in words.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let listeners = self.server.listeners.iter().map(|l| (l.address, &l.entrance));
        let all = listeners.chain([(self.admin.listen, &self.admin.entrance)]);
        let doors = all.flat_map(|(address, entrance)| {
            entrance.doubts(address).into_iter().map(move |doubt| format!("{address}: {doubt}"))
        });
        doors.chain(self.state.doubt()).chain(self.sinks.doubts()).collect()
    }

    /// The effective values, defaults included, in the form in which they can be written; secrets would be left out.
    #[must_use]
    pub fn shown(&self) -> Value {
        let mut shown = json!({
            "server": self.server.shown(),
            "telemetry": self.telemetry.shown(),
            "admin": self.admin.shown(),
            "registries": sinks::shown_registries(&self.registries, &self.sinks),
            "merge": merge::shown(&self.merge),
            "sinks": self.sinks.shown(),
            "mesh": self.mesh.shown(),
            "guard": guard::shown(&self.guard),
            "push": self.push.shown(),
        });
        if let (Some(all), Some(state)) = (shown.as_object_mut(), self.state.shown()) {
            all.insert("state".into(), state);
        }
        shown
    }

    /// `None` only after a fault.
    fn read(text: &str, base: &Path, findings: &Findings) -> Option<Self> {
        let parsed = yaml::parse(text, MAX_BYTES);
        let whole = parsed.documents.first().filter(|d| !d.is_null());
        if let Some(second) = parsed.documents.get(1) {
            findings.push(second.fault("a configuration is one document: a second one begins here"));
        }
        if whole.is_none() && parsed.faults.is_empty() {
            findings.push(Fault::new(Position::NOWHERE, EMPTY));
        }
        parsed.faults.into_iter().for_each(|f| findings.push(f));
        Self::decode(Fields::of(whole?, findings), base)
    }

    fn decode(mut f: Fields<'_, '_>, base: &Path) -> Option<Self> {
        f.later(&["rules"]);
        let server = Server::decode(f.section("server"), base);
        let telemetry = Telemetry::decode(f.section("telemetry"));
        let admin = Admin::decode(f.section("admin"), base);
        let guard = guard::decode(f.section("guard"), &Limits::default());
        let registries = registries::decode(&mut f, base, &guard);
        let merge = merge::decode(&mut f);
        let mesh = Mesh::decode(f.section("mesh"));
        let push = Push::decode(f.section("push"));
        let state = State::decode(&mut f, base);
        let sinks = sinks::decode(&mut f, base);
        let sockets = server.sockets.iter().chain(&telemetry.socket).chain(&admin.socket);
        listen::check_distinct(sockets, f.findings());
        Some(Self {
            server: server.value,
            telemetry: telemetry.value,
            admin: admin.value,
            registries: registries?,
            merge,
            mesh,
            guard,
            push,
            state,
            sinks,
        })
    }
}

const EMPTY: &str = "nothing is configured here; without --config chandler starts with samples, and config/chandler.yaml \
                     is a configuration to start from";

// Every configuration there names this registry.
#[cfg(all(test, feature = "files"))]
mod tests;
