//! What the tests against real servers share: it finds the servers that `tests/servers/install` has built, starts them on
//! free loopback ports or in a network namespace, waits until they are ready by looking at them, and ends them by their own
//! process id.
//!
//! A test starts with [`needs!`]; where something is missing it says so, is counted as left out and returns. Everything else
//! panics with what was waited for and the end of the log of each server concerned: a helper that returned errors would
//! only make every test repeat that.
//!
//! Nothing here retries a test, sleeps for a fixed time or leaves a process behind.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "every test binary uses its own part of this, and a test's way to fail is to panic"
)]

mod apiserver;
mod certificates;
mod chandler;
mod consul;
mod dubbo;
mod envoy;
mod eureka;
mod galley;
mod http;
mod istiod;
mod need;
mod netns;
mod pilot;
mod place;
mod probe;
mod process;
mod proxy;
mod refsink;
mod spring;
mod standin;
mod switch;
#[cfg(feature = "zookeeper")]
mod zookeeper;

pub use apiserver::{ApiServer, Curl};
pub use certificates::Certificates;
pub use chandler::{Chandler, ChandlerBuilder};
pub use consul::{Consul, ConsulAge, ConsulBuilder, consul_leader};
pub use dubbo::{Dubbo, DubboAge, DubboBuilder, GREET};
pub use envoy::{Envoy, EnvoyBuilder};
pub use eureka::{Eureka, EurekaBuilder, instance};
pub use galley::Galley;
pub use http::{Answer, Ask};
pub use istiod::{Age, Istiod, IstiodBuilder, ShardEndpoint};
pub use need::{Need, Ran, available, report};
pub use netns::{NetNs, POD_ADDRESS};
pub use pilot::{ClientTls, Pilot, PilotBuilder, Release};
pub use place::{Place, free_address, free_port};
pub use probe::{Calls, Delta, Probe, Sidecar, Sotw, tally};
pub use process::{PATIENCE, Process, Quiet, eventually, scratch};
pub use proxy::{Proxy, Way};
pub use refsink::{RefSink, SINK_ENTRIES};
pub use spring::{Spring, SpringBuilder};
pub use standin::{Backend, FakeAds, StubApiServer};
pub use switch::Switch;
#[cfg(feature = "zookeeper")]
pub use zookeeper::{ZooKeeper, ZooKeeperBuilder, zookeeper_leader};

/// Ends the test as left out unless everything that it names is there; records for `tests/run` what it ran against.
///
/// `needs!(Istiod118, Envoy, Namespace);` as the first line of the test's body.
#[macro_export]
macro_rules! needs {
    ($($need:ident),+ $(,)?) => {
        let _ran = {
            fn here() {}
            match $crate::support::available(std::any::type_name_of_val(&here), &[$($crate::support::Need::$need),+]) {
                Some(ran) => ran,
                None => return,
            }
        };
    };
}
