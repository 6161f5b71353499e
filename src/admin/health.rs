//! Three questions that must not be mixed up: does the process work, may clients come, is everything read.
//!
//! An istiod that connects and is not answered yet waits; one that is refused exits. So readiness means open sockets
//! and nothing else, and unread registries show at `/syncz` only.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;

use crate::admin::{AdminState, asked};

/// Whether every socket is open: set once, by whoever opens them. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Every socket is open.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether every socket is open.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

type Answer = (StatusCode, String);

fn bad(words: &str) -> Answer {
    (StatusCode::SERVICE_UNAVAILABLE, format!("{words}\n"))
}

fn good() -> Answer {
    (StatusCode::OK, "ok\n".into())
}

/// The process works: the pipeline answers, and what answers publishes, since both happen in turn in one task. One that is
/// stuck in a conversion does not answer, and a process whose threads are all blocked does not even say so.
pub(super) async fn healthz(State(state): State<AdminState>) -> Answer {
    match asked(state.questions.ping()).await {
        Some(()) => good(),
        None => bad("the pipeline does not answer"),
    }
}

/// Clients may come: every socket is open and no drain has begun.
pub(super) async fn readyz(State(state): State<AdminState>) -> Answer {
    if state.shutdown.is_draining() {
        bad("draining")
    } else if state.ready.is_set() {
        good()
    } else {
        bad("not every socket is open yet")
    }
}

/// Every registry is read, restored or given up on, with a line for each.
pub(super) async fn syncz(State(state): State<AdminState>) -> Answer {
    let Some(registries) = asked(state.questions.registries()).await else {
        return bad("the pipeline does not answer");
    };
    let mut lines = String::new();
    for r in &registries {
        let unread = r.doubt.clone().unwrap_or_else(|| r.unread_scopes.join(", "));
        // Writing to a string cannot fail.
        let _ok = match (r.complete, unread.is_empty()) {
            (false, _) if let Some(age) = r.restored_seconds => {
                writeln!(lines, "{}: restored, {age} s old, until it is read: {unread}", r.name)
            }
            (false, _) if r.given_up => writeln!(lines, "{}: given up until it is read: {unread}", r.name),
            (true, _) => writeln!(lines, "{}: read", r.name),
            (false, true) => writeln!(lines, "{}: not read yet", r.name),
            (false, false) => writeln!(lines, "{}: not read yet: {unread}", r.name),
        };
    }
    if lines.is_empty() {
        lines.push_str("no registries\n");
    }
    let all = registries.iter().all(|r| r.complete || r.given_up || r.restored_seconds.is_some());
    (if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, lines)
}
