//! What a layout must know that is not in the tree, and whom to ask for it. Pure: somebody else asks.
//!
//! That is what a revision of a Dubbo application provides. The answer never changes: a revision is a hash of its content.

use std::sync::Arc;

use crate::model::endpoint::Address;
use crate::registry::zookeeper::layout::dubbo::metadata::Metadata;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The application.
    pub(crate) application: Arc<str>,
    /// Its revision, as its instances say it.
    pub(crate) revision: Arc<str>,
}

/// A question, as long as an answer is of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// What is asked for.
    pub(crate) key: Key,
    /// The node that holds it where providers report it.
    pub(crate) report: Arc<str>,
    /// Instances that know it, in order; empty: nobody is to be asked.
    pub(crate) targets: Vec<Target>,
    /// Whether services lack endpoints as long as nobody answers.
    pub(crate) is_missed: bool,
}

/// An instance's own service for such questions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Where it is.
    pub(crate) address: Address,
    /// Its port; never 0.
    pub(crate) port: u16,
    /// What it speaks.
    pub(crate) manner: Manner,
    /// The version of the service: Dubbo finds a service by name, group and version.
    pub(crate) version: Arc<str>,
}

/// How an instance is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    /// Triple with protobuf, which is gRPC: 3.3 and newer.
    Grpc,
    /// Triple with hessian2 wrapped in protobuf: 3.0 to 3.2.
    Triple,
    /// Dubbo's protocol with hessian2.
    Dubbo,
}

/// What came of a question.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// What was asked for.
    pub(crate) key: Key,
    /// The answer, or why there is none so far.
    pub(crate) outcome: Result<Arc<Metadata>, Arc<str>>,
}
