//! Consul: one server with a disk and access lists, or three servers. Instances are of a node that is none of the servers, as those
//! are that something else registers: a server's death says nothing about them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ledger::Seat;
use crate::sites::{MOVING, PORT, service_of};
use crate::support::{Ask, Consul, PATIENCE, Proxy, consul_leader, eventually, scratch};

const MASTER: &str = "7d8a1e52-4b1c-4a35-9c0e-0f6f6a7f3b11";
/// What Chandler shows, as long as it is valid.
const TOKEN: &str = "2f0c9f0a-6a1d-4b6e-8d0b-8e4d8d5e7a01";
/// What it is good for.
const RULES: &str = r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;

#[derive(Debug)]
pub(crate) struct ConsulSite {
    pub(crate) servers: Vec<Consul>,
    pub(crate) proxies: Vec<Proxy>,
    files: TempDir,
    /// Whether it wants a token.
    guarded: bool,
}

impl ConsulSite {
    pub(crate) async fn alone() -> Self {
        let acl = format!(
            "acl {{ enabled = true default_policy = \"deny\" tokens {{ initial_management = \"{MASTER}\" agent = \"{MASTER}\" }} }}"
        );
        let server = Consul::build().config(&acl).token(MASTER).start_alone().await;
        let site = Self::around(vec![server], true).await;
        site.grant().await;
        site
    }

    pub(crate) async fn three() -> Self {
        Self::around(Consul::build().start_three().await, false).await
    }

    async fn around(servers: Vec<Consul>, guarded: bool) -> Self {
        let mut proxies = Vec::new();
        for server in &servers {
            proxies.push(Proxy::start(server.address()).await);
        }
        Self { servers, proxies, files: scratch("faults-consul"), guarded }
    }

    pub(crate) fn config(&self) -> String {
        let addresses: Vec<_> = self.proxies.iter().map(|p| format!("'http://{}'", p.address())).collect();
        let token = if self.guarded {
            format!("tokenFile: '{}'", self.token_file().display())
        } else {
            "domain: consuls".to_owned()
        };
        format!(
            "  consul: {{addresses: [{}], {token}, limits: {{connect: 1s, read: 3s, whole: 20s}}}}",
            addresses.join(", ")
        )
    }

    fn token_file(&self) -> PathBuf {
        self.files.path().join("token")
    }

    /// The token is valid, and Chandler has it.
    pub(crate) async fn grant(&self) {
        self.put("/v1/acl/policy", &json!({"Name": "read", "Rules": RULES})).await;
        self.put("/v1/acl/token", &json!({"SecretID": TOKEN, "Policies": [{"Name": "read"}]})).await;
        crate::files::replace(&self.token_file(), TOKEN.as_bytes());
    }

    /// Whether the token gives a right to [`MOVING`] alone.
    pub(crate) async fn reduce(&self, reduced: bool) {
        let own = self.servers[0].get("/v1/acl/policy/name/read").await;
        let path = format!("/v1/acl/policy/{}", own["ID"].as_str().expect("its id"));
        let few = RULES.replace("service_prefix \"\"", &format!("service {MOVING:?}"));
        let rules = if reduced { few.as_str() } else { RULES };
        self.put(&path, &json!({"Name": "read", "Rules": rules})).await;
    }

    /// The token is not valid any more.
    pub(crate) async fn revoke(&self) {
        let own = self.servers[0].get(&format!("/v1/acl/token/self?token={TOKEN}")).await;
        let path = format!("/v1/acl/token/{}", own["AccessorID"].as_str().expect("an accessor"));
        self.servers[0].ask(Ask::new("DELETE", path)).await.ok();
    }

    /// The token is valid again. Its policy was not touched.
    pub(crate) async fn grant_again(&self) {
        self.put("/v1/acl/token", &json!({"SecretID": TOKEN, "Policies": [{"Name": "read"}]})).await;
    }

    /// A change by whichever server takes it: for a while after an election none does.
    async fn put(&self, path: &str, body: &Value) {
        let place = crate::support::Place::Host;
        eventually(path, PATIENCE, async || {
            for server in &self.servers {
                let ask = Ask::new("PUT", path)
                    .json(body)
                    .header("X-Consul-Token", MASTER)
                    .within(Duration::from_secs(10));
                if place.ask(server.address(), ask).await.is_some_and(|answer| answer.status == 200) {
                    return Some(());
                }
            }
            None
        })
        .await;
    }

    pub(crate) async fn register(&self, seats: impl Iterator<Item = &Seat>) {
        for seat in seats {
            let (service, at) = (service_of(seat), seat.at);
            let instance = json!({
                "ID": format!("{service}-{at}"), "Service": service, "Address": at, "Port": PORT,
                "Meta": {"protocol": "http"},
            });
            self.put(
                "/v1/catalog/register",
                &json!({"Node": "outside", "Address": "10.0.0.1", "Service": instance}),
            )
            .await;
        }
    }

    pub(crate) async fn deregister(&self, seat: &Seat) {
        let id = format!("{}-{}", service_of(seat), seat.at);
        self.put("/v1/catalog/deregister", &json!({"Node": "outside", "ServiceID": id})).await;
    }

    pub(crate) async fn kill(&mut self) {
        for server in &mut self.servers {
            server.kill().await;
        }
    }

    /// Without its disk it has forgotten the token as well; that is there again before anything else, so that Chandler sees the
    /// emptiness.
    pub(crate) async fn start_again(&mut self, with_data: bool) {
        for server in &mut self.servers {
            if !with_data {
                server.forget();
            }
            server.start_again().await;
        }
        if !with_data && self.guarded {
            self.grant().await;
        }
    }

    /// Waits until the last server knows that there is no leader.
    pub(crate) async fn leaderless(&self) {
        let last = self.servers.last().expect("a server");
        eventually("a server without a leader", PATIENCE, async || {
            let said = crate::support::Place::Host.get(last.address(), "/v1/status/leader").await?;
            (said.body.trim().len() <= 2).then_some(())
        })
        .await;
    }

    /// Kills the leader and waits for the next; which one it was.
    pub(crate) async fn lose_leader(&mut self) -> usize {
        let leader = consul_leader(&mut self.servers).await;
        self.servers[leader].kill().await;
        consul_leader(&mut self.servers).await;
        leader
    }
}
