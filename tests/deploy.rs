//! What `deploy/` ships, judged by the real Kubernetes API server. `deploy/check` does the judging; it runs by itself, and
//! without the server, in `tests/run`.

mod support;

use std::path::Path;

use support::{ApiServer, Need};
use tokio::process::Command;

#[tokio::test]
async fn api_server_takes_the_chart() {
    needs!(KubeApiserver, Etcd, Helm);
    let api = ApiServer::start().await;
    let kubectl = Need::KubeApiserver.program().with_file_name("kubectl");
    let beside = kubectl.parent().expect("it lies in a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/check"))
        .arg("--server")
        .env("KUBECONFIG", api.kubeconfig())
        .env("PATH", format!("{beside}:{path}"))
        .kill_on_drop(true)
        .output()
        .await
        .expect("deploy/check runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    for values in ["default", "full", "least"] {
        let line = format!("ok        the API server takes the chart: {values} values");
        assert!(said.contains(&line), "it was not judged: {said}");
    }
}
