//! ZooKeeper: one server, or three. Instances are as Spring Cloud writes them, in nodes that stay: what sessions of theirs do is not
//! this table's matter.

use serde_json::json;
use zookeeper_client as zk;

use crate::ledger::Seat;
use crate::sites::{MOVING, PORT, SERVICES, service_of};
use crate::support::{PATIENCE, Proxy, ZooKeeper, eventually, zookeeper_leader};

const STAYS: zk::CreateOptions<'static> = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());

#[derive(Debug)]
pub(crate) struct ZooKeeperSite {
    pub(crate) servers: Vec<ZooKeeper>,
    pub(crate) proxies: Vec<Proxy>,
}

impl ZooKeeperSite {
    pub(crate) async fn alone() -> Self {
        Self::around(vec![ZooKeeper::build().start().await]).await
    }

    pub(crate) async fn three() -> Self {
        Self::around(ZooKeeper::build().start_three().await).await
    }

    async fn around(servers: Vec<ZooKeeper>) -> Self {
        let mut proxies = Vec::new();
        for server in &servers {
            proxies.push(Proxy::start(server.address()).await);
        }
        Self { servers, proxies }
    }

    pub(crate) fn config(&self, domain: &str) -> String {
        let servers: Vec<_> = self.proxies.iter().map(|p| format!("'{}'", p.address())).collect();
        format!(
            "  zookeeper: {{servers: [{}], sessionTimeout: 2s}}\n  map: {{hosts: ['{{name}}.{domain}']}}",
            servers.join(", ")
        )
    }

    /// A session with one of the servers that run.
    async fn client(&mut self) -> zk::Client {
        let alive =
            self.servers.iter_mut().filter_map(|one| one.process().exited().is_none().then(|| one.address()));
        let list: Vec<String> = alive.map(|at| at.to_string()).collect();
        let list = list.join(",");
        eventually("a session", PATIENCE, async || zk::Client::connect(&list).await.ok()).await
    }

    pub(crate) async fn register(&mut self, seats: impl Iterator<Item = &Seat>) {
        let client = self.client().await;
        for seat in seats {
            let (service, at) = (service_of(seat), seat.at);
            let data = json!({
                "name": service, "id": at, "address": at, "port": PORT, "sslPort": null,
                "payload": {
                    "@class": "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance",
                    "metadata": {"instance_status": "UP"},
                },
            })
            .to_string();
            let folder = format!("/services/{service}");
            eventually("a node", PATIENCE, async || {
                client.mkdir(&folder, &STAYS).await.ok()?;
                match client.create(&format!("{folder}/{at}"), data.as_bytes(), &STAYS).await {
                    Ok(_) | Err(zk::Error::NodeExists) => Some(()),
                    Err(_) => None,
                }
            })
            .await;
        }
    }

    pub(crate) async fn deregister(&mut self, seat: &Seat) {
        let client = self.client().await;
        let path = format!("/services/{}/{}", service_of(seat), seat.at);
        eventually("a node's end", PATIENCE, async || match client.delete(&path, None).await {
            Ok(()) | Err(zk::Error::NoNode) => Some(()),
            Err(_) => None,
        })
        .await;
    }

    /// Whether nobody may read who is registered, but for [`MOVING`].
    pub(crate) async fn reduce(&mut self, reduced: bool) {
        let client = self.client().await;
        let right = if reduced { zk::Permission::ADMIN } else { zk::Permission::ALL };
        let rights = [zk::Acl::new(right, zk::AuthId::anyone())];
        for (service, _) in SERVICES.iter().filter(|(service, _)| *service != MOVING) {
            let path = format!("/services/{service}");
            eventually("other rights", PATIENCE, async || client.set_acl(&path, &rights, None).await.ok())
                .await;
        }
    }

    /// Waits until its only server has given up every session. Nobody but Chandler has one for longer than a moment.
    pub(crate) async fn expired(&self) {
        self.servers[0].sessions(0).await;
    }

    pub(crate) async fn kill(&mut self) {
        for server in &mut self.servers {
            server.kill().await;
        }
    }

    pub(crate) async fn start_again(&mut self, with_data: bool) {
        for server in &mut self.servers {
            server.start_again(with_data).await;
        }
    }

    /// Kills the leader and waits for the next; which one it was.
    pub(crate) async fn lose_leader(&mut self) -> usize {
        let leader = eventually("a leader", PATIENCE, async || zookeeper_leader(&self.servers)).await;
        self.servers[leader].kill().await;
        eventually("another leader", PATIENCE, async || zookeeper_leader(&self.servers)).await;
        leader
    }
}
