//! What a stream's peer may read.
//!
//! The rules are asked when a collection is first asked for, and again before anything of it is sent: what they allow no
//! more is not sent any more. What a peer may not read is never answered empty if there is something to serve, because a
//! control plane deletes what is missing from an answer: the stream ends, with the collection's name. Where there is
//! nothing, empty is the truth.
//!
//! A stream that is only waiting is not ended when access is withdrawn: it learns nothing new, and at the next change it
//! ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use tonic::Status;

use crate::resource::collection::Collection;
use crate::resource::snapshot::Snapshot;
use crate::security::authorizer::{Authorizer, Denied};
use crate::security::peer::Peer;

/// What the peer of one stream may read.
#[derive(Debug)]
pub(super) struct Grants {
    access: Arc<dyn Authorizer>,
    peer: Peer,
    /// Asked for, not allowed, and answered empty (or not at all) because there is nothing.
    barred: BTreeSet<Collection>,
}

impl Grants {
    pub(super) fn new(access: Arc<dyn Authorizer>, peer: Peer) -> Self {
        Self { access, peer, barred: BTreeSet::new() }
    }

    /// Whose they are.
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether the stream may go on: `collection` is asked for, or about to be answered, as it is in `snapshot`.
    pub(super) fn may_read(&mut self, collection: Collection, snapshot: &Snapshot) -> Result<(), Status> {
        match self.access.authorize(&self.peer, collection) {
            Ok(()) => {
                self.barred.remove(&collection);
                Ok(())
            }
            Err(denied) if snapshot.get(collection).is_some_and(|all| !all.is_empty()) => {
                Err(refusal(&denied, collection.plural()))
            }
            Err(_) => {
                self.barred.insert(collection);
                Ok(())
            }
        }
    }

    /// Whether the stream may go on now that `snapshot` is served.
    pub(super) fn may_go_on(&mut self, snapshot: &Snapshot) -> Result<(), Status> {
        let barred: Vec<Collection> = self.barred.iter().copied().collect();
        barred.into_iter().try_for_each(|collection| self.may_read(collection, snapshot))
    }
}

/// What a peer is told; `what` it wanted.
pub(super) fn refusal(denied: &Denied, what: &str) -> Status {
    let text = format!("{what}: {denied}");
    match denied {
        Denied::Unauthenticated(_) => Status::unauthenticated(text),
        Denied::Forbidden(_) => Status::permission_denied(text),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use bytes::Bytes;
    use tonic::Code;

    use super::*;
    use crate::model::labels::Labels;
    use crate::resource::encoded::{Encoded, ResourceId, ResourceName, TopologyHash};
    use crate::resource::snapshot::{Changes, CollectionSnapshot};

    const SIDECARS: Collection = Collection::Sidecar;

    /// Allows everything while it is set.
    #[derive(Debug, Default)]
    struct Switch(AtomicBool);

    impl Authorizer for Switch {
        fn admit(&self, _: &Peer) -> Result<(), Denied> {
            Ok(())
        }

        fn authorize(&self, _: &Peer, _: Collection) -> Result<(), Denied> {
            if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err(Denied::Forbidden("not yours".into())) }
        }
    }

    fn grants(allowed: bool) -> (Grants, Arc<Switch>) {
        let switch = Arc::new(Switch(AtomicBool::new(allowed)));
        let peer = Peer::anonymous("10.0.0.1:1".parse().unwrap());
        (Grants::new(Arc::<Switch>::clone(&switch), peer), switch)
    }

    fn empty() -> Snapshot {
        Snapshot::default().with(SIDECARS, Arc::default())
    }

    fn full() -> Snapshot {
        let id = ResourceId { collection: SIDECARS, name: ResourceName::new("n", "a") };
        let name = id.name.clone();
        let one = Encoded::new(id, Labels::EMPTY, Labels::EMPTY, Bytes::new(), TopologyHash::default());
        let changes: Changes = [(name, Some(Arc::new(one)))].into_iter().collect();
        Snapshot::default().with(SIDECARS, Arc::new(CollectionSnapshot::default().apply(&changes)))
    }

    #[track_caller]
    fn refused(result: Result<(), Status>) {
        let status = result.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "sidecars: not yours"));
    }

    #[test]
    fn what_may_not_be_read_is_never_answered_empty_if_there_is_something() {
        let (mut grants, _) = grants(false);
        refused(grants.may_read(SIDECARS, &full()));
    }

    #[test]
    fn where_there_is_nothing_empty_is_the_truth_until_there_is_something() {
        for nothing in [empty(), Snapshot::default()] {
            let (mut grants, _) = grants(false);
            grants.may_read(SIDECARS, &nothing).unwrap();
            grants.may_go_on(&empty()).unwrap();
            refused(grants.may_go_on(&full()));
        }
    }

    #[test]
    fn what_is_not_asked_for_is_no_reason_to_end() {
        let (mut grants, _) = grants(false);
        grants.may_go_on(&full()).unwrap();
    }

    #[test]
    fn what_is_withdrawn_is_not_sent_and_what_is_granted_later_is() {
        let (mut grants, switch) = grants(true);
        grants.may_read(SIDECARS, &full()).unwrap();
        switch.0.store(false, Ordering::Relaxed);
        grants.may_go_on(&full()).unwrap();
        refused(grants.may_read(SIDECARS, &full()));
        grants.may_read(SIDECARS, &empty()).unwrap();
        switch.0.store(true, Ordering::Relaxed);
        grants.may_go_on(&full()).unwrap();
        switch.0.store(false, Ordering::Relaxed);
        grants.may_go_on(&full()).unwrap();
    }
}
