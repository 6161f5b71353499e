//! A directory of files, one for each service, as a tool would write them: JSON on one line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::ledger::Seat;
use crate::sites::{PORT, SERVICES, service_of};
use crate::support::scratch;

#[derive(Debug)]
pub(crate) struct FilesSite {
    above: TempDir,
}

impl FilesSite {
    pub(crate) fn start() -> Self {
        let above = scratch("faults-files");
        std::fs::create_dir(above.path().join("services")).expect("a folder");
        Self { above }
    }

    pub(crate) fn config(&self) -> String {
        format!("  files: {{path: '{}'}}", self.dir().display())
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.above.path().join("services")
    }

    /// Where the directory is while it is away.
    pub(crate) fn elsewhere(&self) -> PathBuf {
        self.above.path().join("elsewhere")
    }

    pub(crate) fn file(&self, service: &str) -> PathBuf {
        self.dir().join(format!("{service}.json"))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = PathBuf> {
        SERVICES.iter().map(|(service, _)| self.file(service))
    }

    pub(crate) fn write_all(&self, present: &BTreeSet<Seat>) {
        for (service, _) in SERVICES {
            self.write(service, present);
        }
    }

    /// As careful programs write: beside it, then renamed over it.
    pub(crate) fn write(&self, service: &str, present: &BTreeSet<Seat>) {
        replace(&self.file(service), text(service, present).as_bytes());
    }
}

/// What a service's file says.
pub(crate) fn text(service: &str, present: &BTreeSet<Seat>) -> String {
    let mine = present.iter().filter(|seat| service_of(seat) == service);
    let endpoints: Vec<_> = mine.map(|seat| json!({"address": seat.at})).collect();
    json!({"services": [{
        "name": service, "hosts": [format!("{service}.files")],
        "ports": [{"number": PORT, "protocol": "HTTP"}], "endpoints": endpoints,
    }]})
    .to_string()
}

/// Writes beside the file and renames.
pub(crate) fn replace(file: &Path, text: &[u8]) {
    let beside = file.with_extension("new~");
    std::fs::write(&beside, text).expect("a file");
    std::fs::rename(&beside, file).expect("a rename");
}
