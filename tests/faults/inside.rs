//! A network, a process table and mounts of its own: everything may listen anywhere, a partition is one for this test alone, and
//! nothing outlives it.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::support::POD_ADDRESS;

/// Set within.
const INSIDE: &str = "CHANDLER_FAULTS_INSIDE";

/// Every address of this range is an address of this host, for instances to be at.
pub(crate) const INSTANCES: &str = "10.40.0.0/13";

/// Where a sidecar takes connections to the virtual range.
const OUTBOUND: u16 = 15_001;

/// Runs the test of this name again in a world of its own and says true; false if this is that world already.
///
/// # Panics
/// If it failed there; it has then said why.
pub(crate) async fn relaunched(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let setup = format!(
        "set -e
        ip link set lo up
        ip addr add {POD_ADDRESS}/32 dev lo
        ip route add local {INSTANCES} dev lo
        ip route add 244.0.0.0/6 dev lo src {POD_ADDRESS}
        iptables -t nat -A OUTPUT -p tcp -d 244.0.0.0/6 -j REDIRECT --to-ports {OUTBOUND}
        exec \"$0\" --exact \"$1\" --nocapture --include-ignored --test-threads=1"
    );
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    command.args(["-n", "-m", "-p", "--fork", "--kill-child", "--mount-proc", "--", "sh", "-c", &setup]);
    command
        .arg(program)
        .arg(test)
        .env(INSIDE, "1")
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let status = command.status().await.expect("unshare runs: needs!(Namespace) has tried it");
    assert!(status.success(), "{test} failed in its own network: {status}; see above");
    true
}

/// One command that must succeed, such as `iptables`.
pub(crate) async fn command(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().await.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// Whether packets from and to a local port are dropped without a word, as behind a cable that was pulled.
pub(crate) async fn partition(port: u16, dropped: bool) {
    let verb = if dropped { "-I" } else { "-D" };
    let port = port.to_string();
    for end in ["--dport", "--sport"] {
        command("iptables", &[verb, "INPUT", "-p", "tcp", end, &port, "-j", "DROP"]).await;
    }
}

/// Whether a mounted file system can only be read. Files that are open for writing stay so.
pub(crate) async fn read_only(dir: &Path, only: bool) {
    let dir = dir.display().to_string();
    if only {
        command("mount", &["--bind", &dir, &dir]).await;
        command("mount", &["-o", "remount,bind,ro", &dir]).await;
    } else {
        command("umount", &["-l", &dir]).await;
    }
}

/// A file system of so many KiB at `dir`, which exists.
pub(crate) async fn small_disk(dir: &Path, kib: u32) {
    let (size, dir) = (format!("size={kib}k"), dir.display().to_string());
    command("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &dir]).await;
}
