//! The Kubernetes sink: our services as Istio objects in an API server, for meshes that read nothing else.
//!
//! ```text
//! snapshot ─▶ object (which objects) ─▶ desk (what differs) ─▶ write (one object) ─▶ client
//!                                        ▲ watch (what is there)    elect, lease (who may)
//! ```
//!
//! One task for each sink. It reads what is published, watches both kinds of objects, competes for a Lease, and writes
//! while it holds that. A process that does not hold it knows as much, writes nothing and takes over at once. Whatever
//! is wrong with the server is waited out; nothing here ends the process.

mod client;
mod desk;
mod digest;
mod elect;
mod lease;
mod life;
pub mod metrics;
mod name;
mod object;
mod observed;
pub mod offline;
mod text;
mod watch;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::client::{ApiError, Refusal};
use self::elect::{Where, jittered, random};
use self::life::Life;
use self::metrics::SinksMetrics;
use self::object::{Kind, Owner};
use crate::runtime::status::Status;
use crate::sink::{KubernetesSettings, Takes};
use crate::store::StoreReader;

/// The pauses between lives: what ended one is a wrong file or a token that ran out, which time or somebody mends.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// All that one sink needs.
#[derive(Debug)]
pub struct KubernetesSink {
    /// Where to write, and how.
    pub settings: KubernetesSettings,
    /// Which registries are written; may change while it runs.
    pub takes: channel::Receiver<Takes>,
    /// What is published.
    pub store: StoreReader,
    /// Where it says how it is.
    pub status: Arc<Status>,
    /// What is counted.
    pub metrics: SinksMetrics,
}

impl KubernetesSink {
    /// Keeps the API server equal to what is published until `stop`, then gives the Lease back.
    pub async fn run(self, stop: CancellationToken) {
        let sink = Arc::new(self);
        let me = identity();
        let mut pause = FIRST_PAUSE;
        while !stop.is_cancelled() {
            // A task of its own: a panic is the end of one life.
            let mut life = JoinSet::new();
            let began = tokio::time::Instant::now();
            life.spawn(Life::run(Arc::clone(&sink), me.clone(), stop.clone()));
            let why = match life.join_next().await {
                Some(Ok(Ok(()))) | None => return,
                Some(Ok(Err(e))) => e.to_string(),
                Some(Err(e)) => format!("it panicked (a bug, please report it): {e}"),
            };
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            tracing::warn!(sink = sink.settings.name, "nothing is written for a while: {why}");
            sink.status.sink(&sink.settings.name, |s| {
                (s.up, s.writer) = (false, false);
                s.problem = Some(why);
            });
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// What nobody else calls itself: the machine's name for people, and a number.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|h| !h.is_empty());
    format!("{}_{:016x}", host.as_deref().unwrap_or("chandler"), random())
}

/// What there is to do about a kind that the server does not know.
fn missing(kind: Kind) -> String {
    format!("the API server knows no {}: install Istio's CustomResourceDefinitions", kind.collection().kind())
}

/// The Lease of those who write the objects of `owner`.
fn lease_of(settings: &KubernetesSettings, home: String, owner: &Owner) -> Where {
    let namespace = settings.lease_namespace.clone().unwrap_or(home);
    Where { namespace, name: name::object(&format!("chandler-{}", owner.as_str())) }
}

/// Whose objects are ours, given the namespace that we are at home in.
fn owner(settings: &KubernetesSettings, home: &str) -> Owner {
    let lease = settings.lease_namespace.as_deref().unwrap_or(home);
    let default = || format!("{lease}.{}", settings.name);
    Owner::new(&settings.instance.clone().unwrap_or_else(default))
}
