//! Whether what a registry says is to be believed: a pure function of what it says.
//!
//! For now only a doubtful read is held: the last good state stays. Limits on silent removals come with the safety issue.

use std::sync::Arc;

use crate::model::change::{Change, Trust};

/// What becomes of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// It is applied.
    Pass,
    /// It is not, for this reason; what was known stays.
    Hold(Arc<str>),
}

/// Rules on one change.
#[must_use]
pub fn rule(change: &Change) -> Ruling {
    match change {
        Change::Reset { trust: Trust::Doubtful(why), .. } => Ruling::Hold(Arc::clone(why)),
        Change::Reset { .. } | Change::Upsert(_) | Change::Remove(..) => Ruling::Pass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::service::Scope;

    #[test]
    fn a_doubtful_read_changes_nothing() {
        let reset = |trust| Change::Reset { scope: Scope::new("s"), items: Vec::new(), trust };
        assert_eq!(rule(&reset(Trust::Complete)), Ruling::Pass);
        assert_eq!(rule(&reset(Trust::Restored)), Ruling::Pass);
        assert_eq!(rule(&reset(Trust::Doubtful("empty".into()))), Ruling::Hold("empty".into()));
    }
}
