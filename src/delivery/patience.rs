//! What a stream waits for: that the client asks for something, and, once it has said all it will ever say, that what it
//! asked for can be answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::Status;

/// How long is waited, and for what.
#[derive(Debug)]
pub(super) struct Patience {
    /// Until a request comes; then, from when the client closed its half, until all is answered.
    until: Option<Instant>,
    /// Asked for, and never answered.
    unanswered: BTreeSet<Arc<str>>,
    half_closed: bool,
}

/// What did not come in time.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A request.
    Request,
    /// What it takes to answer these.
    Answers(Vec<Arc<str>>),
}

impl Patience {
    /// The stream is open; within `limit` it must ask for something.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { until: within(limit), unanswered: BTreeSet::new(), half_closed: false }
    }

    /// A request came.
    pub(super) fn heard(&mut self) {
        if !self.half_closed {
            self.until = None;
        }
    }

    /// `asked` is asked for, for the first time.
    pub(super) fn owes(&mut self, asked: Arc<str>) {
        self.unanswered.insert(asked);
    }

    /// `asked` is answered.
    pub(super) fn answered(&mut self, asked: &str) {
        self.unanswered.remove(asked);
    }

    /// The client has said all it will ever say; within `limit` it gets what it has asked for.
    pub(super) fn half_closed(&mut self, limit: Option<Duration>) {
        self.half_closed = true;
        self.until = within(limit);
    }

    /// Whether there is nothing more to be read.
    pub(super) fn is_half_closed(&self) -> bool {
        self.half_closed
    }

    /// Whether the client has said all and knows all that it asked for.
    pub(super) fn is_done(&self) -> bool {
        self.half_closed && self.unanswered.is_empty()
    }

    /// Returns when something did not come in time.
    pub(super) async fn over(&self) -> Overdue {
        match self.until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
        if self.half_closed {
            Overdue::Answers(self.unanswered.iter().cloned().collect())
        } else {
            Overdue::Request
        }
    }
}

impl Overdue {
    /// What the client is told.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Request => {
                Status::deadline_exceeded("nothing was asked for on this stream: open it when needed")
            }
            Self::Answers(names) => Status::unavailable(format!(
                "not complete yet: {}; ask again, and keep the stream open",
                names.join(", ")
            )),
        }
    }
}

fn within(limit: Option<Duration>) -> Option<Instant> {
    limit.map(|limit| Instant::now() + limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Option<Duration> = Some(Duration::from_secs(30));

    async fn is_over(patience: &Patience) -> Option<Overdue> {
        tokio::time::timeout(Duration::from_secs(31), patience.over()).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_asks_for_nothing_is_overdue() {
        let mut patience = Patience::new(LIMIT);
        assert_eq!(is_over(&patience).await, Some(Overdue::Request));
        patience.heard();
        assert_eq!(is_over(&patience).await, None);
        assert_eq!(is_over(&Patience::new(None)).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_all_waits_for_what_it_asked_and_not_for_ever() {
        let mut patience = Patience::new(LIMIT);
        patience.heard();
        ["a", "b"].into_iter().for_each(|name| patience.owes(name.into()));
        patience.answered("a");
        assert!(!patience.is_done());
        patience.half_closed(LIMIT);
        assert!(!patience.is_done());
        assert_eq!(is_over(&patience).await, Some(Overdue::Answers(vec!["b".into()])));
        patience.answered("b");
        assert!(patience.is_done());
    }

    #[test]
    fn who_never_asked_is_done_when_it_closes() {
        let mut patience = Patience::new(None);
        patience.half_closed(None);
        assert!(patience.is_done());
    }
}
