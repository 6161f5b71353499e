//! A network namespace that looks to the processes in it like a pod: what goes to the virtual range ends up at the proxy.

use std::process::Stdio;
use std::sync::Arc;

use tokio::process::{Child, Command};

use super::place::Place;
use super::process::eventually;

/// Where a sidecar takes outgoing connections.
pub const OUTBOUND_PORT: u16 = 15_001;

/// The address of the pod. Connections to the virtual range need a source other than 127.0.0.1.
pub const POD_ADDRESS: &str = "10.99.0.1";

/// The group that the proxy runs as, which tells its connections from the application's.
pub const PROXY_GROUP: &str = "1337";

/// Owned by one helper process; it ends, and the namespace with it, when its standard input closes, even if the test
/// process was killed.
#[derive(Debug)]
pub struct NetNs {
    _holder: Child,
    pid: u32,
}

impl NetNs {
    /// A fresh namespace in which the virtual range is led to the proxy's port, and calls to `instances` as well: addresses
    /// that exist here, for backends to listen on. What the proxy itself sends is let out.
    pub async fn create(instances: &[&str]) -> Place {
        let mut script = format!(
            "set -e
            ip link set lo up
            ip addr add {POD_ADDRESS}/32 dev lo
            ip route add 244.0.0.0/6 dev lo src {POD_ADDRESS}
            iptables -t nat -A OUTPUT -m owner --gid-owner {PROXY_GROUP} -j RETURN
            iptables -t nat -A OUTPUT -p tcp -d 244.0.0.0/6 -j REDIRECT --to-ports {OUTBOUND_PORT}
            "
        );
        for address in instances {
            script.push_str(&format!(
                "ip addr add {address}/32 dev lo
                iptables -t nat -A OUTPUT -p tcp -d {address} -j REDIRECT --to-ports {OUTBOUND_PORT}
                "
            ));
        }
        script.push_str("exec cat\n");
        let mut command = Command::new("unshare");
        command.args(["-n", "--", "sh", "-c", &script]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut holder =
            command.kill_on_drop(true).spawn().expect("unshare runs: needs!(Namespace) has tried it");
        let pid = holder.id().expect("a process just started has an id");
        eventually("a network namespace", super::process::PATIENCE, async || {
            assert!(
                holder.try_wait().expect("its state").is_none(),
                "the network namespace could not be set up"
            );
            // The last thing that the script does is to become `cat`.
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            (name.trim() == "cat").then_some(())
        })
        .await;
        Place::Namespace(Arc::new(Self { _holder: holder, pid }))
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }
}
