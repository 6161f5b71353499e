//! The first five minutes, in a network namespace because their ports are fixed.

use crate::support::{Chandler, NetNs, Place, Process};

/// One run of a subcommand in the namespace; what it printed.
async fn printed(place: &Place, arguments: &[&str]) -> String {
    let mut command = place.command(Chandler::program());
    let output = command.args(arguments).kill_on_drop(true).output().await.expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test]
async fn nothing_needs_to_be_configured() {
    needs!(Probe, Namespace);
    let place = NetNs::create(&[]).await;
    let mut command = place.command(Chandler::program());
    command.arg("serve");
    let mut chandler = Process::start("chandler", command);
    chandler.wait_for_log("get serviceentries").await;
    let said = chandler.log();
    for words in ["samples", "127.0.0.1:9901", "127.0.0.1:9902", "127.0.0.1:9903"] {
        assert!(said.contains(words), "{words} is missing in\n{said}");
    }
    let table = printed(&place, &["get", "serviceentries"]).await;
    for host in ["billing.example.internal", "erp.example.internal", "244.0.0.10"] {
        assert!(table.contains(host), "{host} is missing in\n{table}");
    }
    let status = printed(&place, &["status"]).await;
    assert!(status.contains("samples"), "{status}");
    assert!(chandler.terminate().await.success());
}
