//! `state`: where the last known good state is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::units::{positive_duration, show_duration};
use crate::yaml::fields::Fields;

/// Whether the last known good state is kept on disk, and where.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum State {
    /// Nothing is said about it: nothing is kept, and people are told what that means.
    #[default]
    Unsaid,
    /// Nothing is kept, on purpose.
    Off,
    /// It is kept.
    Kept(Kept),
}

/// Where it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// A directory of this process alone; made where it is missing.
    pub dir: PathBuf,
    /// What is older is not served any more.
    pub max_age: Duration,
}

/// What stands for keeping nothing.
const OFF: &str = "off";
/// A weekend's outage of a registry is longer; a day is what a person needs to hear of it and to act.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

impl State {
    pub(super) fn decode(f: &mut Fields<'_, '_>, base: &Path) -> Self {
        if let Some(entry) = f.entry("state")
            && entry.value.text().is_ok_and(|text| text == OFF)
        {
            return Self::Off;
        }
        let mut section = f.section("state");
        let max_age = section.or("maxAge", MAX_AGE, positive_duration);
        let dir = section.need("dir", |n| match n.text()? {
            "" => {
                Err(n.fault("must not be empty: write a directory of its own, such as `/var/lib/chandler`"))
            }
            text => Ok(base.join(text)),
        });
        // After a fault nobody looks at what comes out.
        dir.map_or(Self::Unsaid, |dir| Self::Kept(Kept { dir, max_age }))
    }

    /// `None`: nothing was said.
    pub(super) fn shown(&self) -> Option<Value> {
        match self {
            Self::Unsaid => None,
            Self::Off => Some(json!(OFF)),
            Self::Kept(Kept { dir, max_age }) => {
                Some(json!({ "dir": dir.display().to_string(), "maxAge": show_duration(*max_age) }))
            }
        }
    }

    /// What is hardly meant.
    pub(super) fn doubt(&self) -> Option<String> {
        let words = "nothing is saved (`state`): a restart while a registry is down leaves the mesh without news until that is \
                     read, and virtual addresses may change; write `state: {dir: …}`, or `state: off` if this is meant";
        (*self == Self::Unsaid).then(|| words.into())
    }

    /// Where it is kept; `None`: nowhere.
    #[must_use]
    pub fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Unsaid | Self::Off => None,
            Self::Kept(kept) => Some(kept),
        }
    }
}
