//! Generated wire types: the only file that includes generated code. Written from `proto/` by `build.rs`.

#![allow(
    missing_docs,
    unreachable_pub,
    missing_debug_implementations,
    rustdoc::all,
    clippy::all,
    clippy::too_many_lines
)]

include!(concat!(env!("OUT_DIR"), "/protos.rs"));

/// The state on disk. No control plane ever sees it.
pub mod state {
    include!(concat!(env!("OUT_DIR"), "/state.rs"));
    pub use self::chandler::state::v1::*;
}

pub use self::envoy::config::core::v3 as core;
pub use self::envoy::service::discovery::v3 as discovery;
pub use self::google::protobuf::Any;
pub use self::istio::mcp::v1alpha1 as mcp;
pub use self::istio::networking::v1alpha3 as networking;

/// The descriptors of everything in `proto/`, for gRPC reflection and for reading and writing YAML.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
