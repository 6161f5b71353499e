//! A whole Istio resource that a user wrote, carried beside the services and served as it is after validation.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::host::Host;
use crate::model::labels::Labels;
use crate::model::service::ServiceKey;
use crate::resource::collection::Collection;

/// One object of one collection. Its body is already in its canonical encoding; what it claims was read off it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Which item of its registry.
    pub key: ServiceKey,
    /// What kind it is.
    pub collection: Collection,
    /// Istio's namespace of it; need not exist in Kubernetes.
    pub namespace: Arc<str>,
    /// Its name within the namespace.
    pub name: Arc<str>,
    /// Its labels as written.
    pub labels: Labels,
    /// Its annotations as written.
    pub annotations: Labels,
    /// The hosts that it claims before anything generated; empty for kinds that have none.
    pub hosts: Vec<Host>,
    /// The canonical protobuf encoding of its spec: maps in order, so that equal specs are equal bytes.
    pub body: Bytes,
    /// Where a person finds it: `services/billing.yaml:12`.
    pub origin: Arc<str>,
}
