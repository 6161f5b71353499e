//! `files`: resource files on this machine.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Kind, RegistryKind};
use crate::config::map::KindDefaults;
use crate::yaml::fields::Fields;

/// `files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Where they are.
    pub source: Source,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory or a file; relative paths are resolved already. It need not exist yet.
    Path(PathBuf),
    /// Compiled in, for the quickstart: a path for messages, and the text.
    Embedded(&'static [(&'static str, &'static str)]),
}

/// Services name their hosts themselves, as everything else.
pub(super) const KIND: Kind = Kind {
    key: "files",
    defaults: KindDefaults { placeholders: &["service"], ..KindDefaults::PLAIN },
    decode,
};

fn decode(mut f: Fields<'_, '_>, base: &Path) -> Option<RegistryKind> {
    let path = f.need("path", |n| match n.text()? {
        "" => Err(n.fault("must not be empty: write the directory, `.` for that of this file")),
        text => Ok(base.join(text)),
    })?;
    Some(RegistryKind::Files(FilesConfig { source: Source::Path(path) }))
}

impl FilesConfig {
    pub(super) fn shown(&self) -> Value {
        let path = match &self.source {
            Source::Path(path) => path.display().to_string(),
            Source::Embedded(_) => "(built in)".into(),
        };
        json!({ "path": path })
    }
}
