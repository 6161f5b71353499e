//! How much of one registry is taken at all: what is beyond waits outside, and what is served stays as it is.
//!
//! A registry that goes wrong (or somebody who writes into it) must not be able to fill this process's memory, nor that of
//! every sidecar behind it.

/// The bounds of one registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Services and objects, those that are left out on purpose included.
    pub services: usize,
    /// Endpoints of all of them.
    pub endpoints: usize,
}

impl Default for Bounds {
    /// Twice the services and just the endpoints that the benchmark `million` holds in half a gigabyte; far more than an
    /// istiod makes listeners of.
    fn default() -> Self {
        Self { services: 100_000, endpoints: 1_000_000 }
    }
}
