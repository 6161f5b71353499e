//! How the scopes of one registry are, in one line for people.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::model::service::{RegistryName, Scope};
use crate::runtime::status::Status;

/// How many faults are named; the others are counted.
const NAMED: usize = 3;

/// What is wrong, scope by scope.
#[derive(Debug)]
pub(super) struct Board {
    name: RegistryName,
    status: Arc<Status>,
    rows: Mutex<BTreeMap<Scope, Row>>,
}

#[derive(Debug, Default)]
struct Row {
    failure: Option<String>,
    doubt: Option<Arc<str>>,
    faults: BTreeMap<Arc<str>, Vec<String>>,
    said: Option<String>,
}

impl Board {
    pub(super) fn new(name: RegistryName, status: Arc<Status>) -> Self {
        Self { name, status, rows: Mutex::default() }
    }

    /// A scope cannot be read, for this reason, while others can.
    pub(super) fn failed(&self, scope: &Scope, why: String) {
        self.change(scope, false, |row| row.failure = Some(why));
    }

    /// A scope answers.
    pub(super) fn answered(&self, scope: &Scope) {
        self.change(scope, true, |row| row.failure = None);
    }

    /// A scope was read, with these doubts and these faults by service.
    pub(super) fn read(
        &self,
        scope: &Scope,
        doubt: Option<Arc<str>>,
        faults: BTreeMap<Arc<str>, Vec<String>>,
    ) {
        self.change(scope, true, |row| {
            row.failure = None;
            row.doubt = doubt;
            row.faults = faults;
        });
    }

    /// What is wrong with one service of a scope now.
    pub(super) fn service(&self, scope: &Scope, name: &Arc<str>, faults: &[String]) {
        self.change(scope, true, |row| {
            if faults.is_empty() {
                row.faults.remove(name);
            } else {
                row.faults.insert(Arc::clone(name), faults.to_vec());
            }
        });
    }

    fn change(&self, scope: &Scope, answered: bool, change: impl FnOnce(&mut Row)) {
        let problem = {
            let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            let row = rows.entry(scope.clone()).or_default();
            change(row);
            let words = row.words();
            if words != row.said {
                let (registry, scope) = (&self.name, scope.as_str());
                match &words {
                    Some(words) => tracing::warn!(%registry, scope, "{words}"),
                    None => tracing::info!(%registry, scope, "all is well again"),
                }
                row.said = words;
            }
            let many = rows.len() > 1;
            let said = rows.iter().filter_map(|(scope, row)| {
                let words = row.said.as_ref()?;
                Some(if many { format!("{}: {words}", scope.as_str()) } else { words.clone() })
            });
            said.collect::<Vec<_>>().join("; ")
        };
        self.status.registry(&self.name, |row| {
            row.problem = Some(problem).filter(|p| !p.is_empty());
            if answered {
                row.last_success = Some(SystemTime::now());
            }
        });
    }
}

impl Row {
    fn words(&self) -> Option<String> {
        let mut all: Vec<&str> = self.failure.as_deref().into_iter().chain(self.doubt.as_deref()).collect();
        let faults = || self.faults.values().flatten();
        all.extend(faults().take(NAMED).map(String::as_str));
        let more = faults().count().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("{more} more faults"));
        all.extend(more.as_deref());
        (!all.is_empty()).then(|| all.join("; "))
    }
}
