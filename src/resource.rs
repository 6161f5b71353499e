//! What Istio receives: encoded objects in sorted, shared collections, free of any wire's conversation.

pub mod block;
pub mod collection;
pub mod encoded;
pub mod legacy;
pub mod snapshot;
pub mod wire;
