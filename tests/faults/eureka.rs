//! Eureka: one server, which forgets everything when it ends. Leases are long: nobody has to renew them.

use crate::ledger::Seat;
use crate::sites::{PORT, service_of};
use crate::support::{Eureka, Proxy, instance};

/// Seconds, longer than any test.
const LEASE: u32 = 36_000;

#[derive(Debug)]
pub(crate) struct EurekaSite {
    pub(crate) server: Eureka,
    pub(crate) proxy: Proxy,
}

impl EurekaSite {
    pub(crate) async fn start() -> Self {
        let server = Eureka::start().await;
        let proxy = Proxy::start(server.address()).await;
        Self { server, proxy }
    }

    /// `settle` is as much longer than what clients need to register again as it is by default.
    pub(crate) fn config(&self) -> String {
        format!(
            "  eureka: {{servers: ['http://{}/eureka'], interval: 500ms, fullReadInterval: 2s, settle: 10s, \
             limits: {{connect: 1s, read: 3s, whole: 20s}}}}",
            self.proxy.address()
        )
    }

    pub(crate) async fn register(&self, seats: impl Iterator<Item = &Seat>) {
        let instances: Vec<_> =
            seats.map(|seat| instance(service_of(seat), &seat.at.to_string(), PORT, LEASE)).collect();
        self.server.register_all(&instances).await;
    }

    pub(crate) async fn deregister(&self, seat: &Seat) {
        let (service, at) = (service_of(seat), seat.at);
        self.server.cancel(&service.to_uppercase(), &format!("{at}:{service}:{PORT}")).await;
    }
}
