//! A directory (or one file) of YAML or JSON: Istio objects, and plain lists of services for who has no registry.
//!
//! Watched at any depth; only files that changed are read again. What a file said stays while it makes no sense. An entry
//! taken out of a file that parses was deleted; a file or a directory that vanishes is silent absence, unless what it
//! said appears elsewhere in the same moment: then it was renamed.
//! Refuses to guess: nothing that is half written, half readable or not understood takes anything away.
//!
//! | module | what |
//! | --- | --- |
//! | `decode` | text → items or faults (pure) |
//! | `memory` | what each file said; what a new reading changes (pure) |
//! | `agenda` | what to look at, and when (pure) |
//! | `ground` | which path belongs to which file |
//! | `scan` | which files there are |
//! | `notice` | the system's notices of changes |
//! | `content` | files read and decoded, on every core |
//! | `round` | one look: what to read, what to believe |
//! | `watch` | one life |

mod agenda;
mod content;
mod decode;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod ground;
mod memory;
mod notice;
mod round;
mod scan;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use crate::model::change::{Batch, Change, Item, Trust};
use crate::model::service::{RegistryName, Scope};
use crate::pipeline::intake::Changes;
use crate::registry::{BoxFuture, Factory, Registry, RegistryError};
use crate::resource::collection::Collection;
use crate::runtime::status::Status;
use decode::Decoder;
use notice::Watches;
use round::Shared;
use scan::{Root, SourceName};
use watch::FilesRegistry;

/// The namespace of objects that name none. Not Kubernetes' `default`: what nobody placed belongs with what we make.
pub const DEFAULT_NAMESPACE: &str = "chandler";

/// Where the files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesSource {
    /// A directory, or one file.
    Path(PathBuf),
    /// Name and text of files that were compiled in; they never change.
    Embedded(&'static [(&'static str, &'static str)]),
}

/// Builds the lives of one registry of files and remembers what each file last said.
#[derive(Debug)]
pub struct FilesFactory {
    name: RegistryName,
    status: Arc<Status>,
    lives: Lives,
}

#[derive(Debug)]
enum Lives {
    Watched(Arc<Shared>),
    Embedded(&'static [(&'static str, &'static str)], Decoder),
}

impl FilesFactory {
    /// The registry `name`, whose troubles are told to `status`. Objects without a namespace get `namespace`.
    #[must_use]
    pub fn new(source: FilesSource, name: RegistryName, namespace: &str, status: Arc<Status>) -> Self {
        let decoder = Decoder { scope: scope(), namespace: namespace.into() };
        let lives = match source {
            FilesSource::Path(path) => Lives::Watched(Arc::new(Shared::new(Root::new(path), decoder))),
            FilesSource::Embedded(files) => Lives::Embedded(files, decoder),
        };
        Self { name, status, lives }
    }

    /// How many times the contents of a file have been read, in all lives.
    #[must_use]
    pub fn reads(&self) -> u64 {
        match &self.lives {
            Lives::Watched(shared) => shared.reads(),
            Lives::Embedded(..) => 0,
        }
    }
}

impl Factory for FilesFactory {
    fn scopes(&self) -> Vec<Scope> {
        vec![scope()]
    }

    fn feeds(&self) -> &'static [Collection] {
        &[Collection::ServiceEntry, Collection::WorkloadEntry]
    }

    fn registry(&self) -> Box<dyn Registry> {
        match &self.lives {
            Lives::Watched(shared) => Box::new(FilesRegistry {
                shared: Arc::clone(shared),
                name: self.name.clone(),
                status: Arc::clone(&self.status),
                notices: Watches::new,
            }),
            Lives::Embedded(files, decoder) => Box::new(Embedded {
                files,
                decoder: decoder.clone(),
                name: self.name.clone(),
                status: Arc::clone(&self.status),
            }),
        }
    }
}

/// One for the whole registry: a file that moves to another directory stays in it.
fn scope() -> Scope {
    Scope::new("files")
}

/// One life of a registry whose files were compiled in.
#[derive(Debug)]
struct Embedded {
    files: &'static [(&'static str, &'static str)],
    decoder: Decoder,
    name: RegistryName,
    status: Arc<Status>,
}

impl Embedded {
    fn items(&self) -> Result<Vec<Item>, RegistryError> {
        let mut items = Vec::new();
        for (name, text) in self.files {
            let decoded = self.decoder.decode(&SourceName::new(name), name, text.as_bytes());
            items.extend(decoded.map_err(RegistryError::Failed)?.unwrap_or_default());
        }
        Ok(items)
    }
}

impl Registry for Embedded {
    fn run(
        self: Box<Self>,
        changes: Changes,
        stop: CancellationToken,
    ) -> BoxFuture<Result<(), RegistryError>> {
        Box::pin(async move {
            let reset = Change::Reset {
                scope: self.decoder.scope.clone(),
                items: self.items()?,
                trust: Trust::Complete,
            };
            changes.send(Batch(vec![reset])).await?;
            self.status.registry(&self.name, |row| row.last_success = Some(SystemTime::now()));
            stop.cancelled().await;
            Ok(())
        })
    }
}
