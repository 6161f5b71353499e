//! Health, readiness and metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::{Certificates, Chandler, PATIENCE, Place, Sotw, eventually};
use crate::{SERVICES, WEB, page_says, web};

#[tokio::test]
async fn health_readiness_and_completeness_are_different_questions() {
    let broken = "services: [{name: web";
    let chandler = Chandler::start("", &[("web.yaml", WEB), ("broken.yaml", broken)]).await;
    assert_eq!(chandler.telemetry("/healthz").await.status, 200);
    assert_eq!(chandler.telemetry("/readyz").await.status, 200);
    let answer = chandler.telemetry("/syncz").await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.starts_with("onboard: not read yet"), "{}", answer.body);
    chandler.write_services("broken.yaml", "services: []\n");
    page_says(&chandler, "/syncz", "onboard: read").await;
    assert_eq!(chandler.telemetry("/syncz").await.status, 200);
}

#[tokio::test]
async fn nothing_secret_is_on_the_telemetry_listener() {
    let chandler = web().await;
    assert_eq!(chandler.telemetry("/api/v1/services").await.status, 404);
    assert_eq!(chandler.telemetry("/api/v1/config").await.status, 404);
}

/// A metric as the list of `deploy/` and as `/metrics` have it: type and labels.
type Metrics = BTreeMap<String, (String, BTreeSet<String>)>;

fn wanted() -> Metrics {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/check.d/metrics");
    let text = std::fs::read_to_string(file).expect("the list");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (name, kind) = (words.next().expect("a name"), words.next().expect("a type"));
            let labels = words.next().unwrap_or_default().split(',').filter(|label| !label.is_empty());
            (name.to_owned(), (kind.to_owned(), labels.map(str::to_owned).collect()))
        })
        .collect()
}

fn served(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    let mut family = (String::new(), String::new());
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            // As Prometheus sees them: with the suffix that OpenMetrics leaves out here, and an info is a gauge.
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            family = (format!("{name}{suffix}"), kind.to_owned());
        } else if !line.starts_with('#') {
            let labels =
                line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).map_or("", |(l, _)| l);
            let keys =
                labels.split("\",").filter_map(|pair| pair.split_once('=')).map(|(key, _)| key.to_owned());
            let row = metrics.entry(family.0.clone()).or_insert_with(|| (family.1.clone(), BTreeSet::new()));
            row.1.extend(keys.filter(|key| key != "le"));
        }
    }
    metrics
}

#[tokio::test]
async fn every_metric_that_alerts_and_dashboard_name_is_there_with_its_type_and_labels() {
    needs!(Probe);
    let bad = WEB.replace("web", "bad").replace("8080", "0");
    let files = Certificates::create();
    let path = |name| files.path(name).display().to_string();
    let tls = format!("tls: {{certFile: '{}', keyFile: '{}'}}", path("server.pem"), path("server.key"));
    // Nobody is there; what there is to say of a sink is said.
    let kubeconfig = files.path("kubeconfig");
    let nobody = "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:1'}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n\
                  users: [{name: a, user: {token: x}}]\ncurrent-context: a\n";
    std::fs::write(&kubeconfig, nobody).expect("a file");
    let sinks = format!("sinks: [{{name: cluster, kubernetes: {{kubeconfig: '{}'}}}}]", kubeconfig.display());
    let builder = Chandler::build()
        .registries("- name: onboard\n  files: {path: services}\n  outputs: [wires, cluster]")
        .config(&format!("state: {{dir: state}}\n{sinks}"));
    let builder = builder.admin(&tls).service_file("web.yaml", WEB).service_file("bad.yaml", &bad);
    let mut chandler = builder.start().await;
    chandler.synced().await;
    let server = chandler.grpc.to_string();
    let legacy = ["get", "se", "--wire", "mcp", "--server", &server];
    assert!(Chandler::command(&legacy, &chandler.services_dir()).await.0.success());
    // Somebody acknowledges, and somebody refuses.
    let mut good = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES]);
    let mut objector = Sotw::start(&Place::Host, chandler.grpc, &["-types", SERVICES, "-nack", SERVICES]);
    good.response(SERVICES).await;
    objector.response(SERVICES).await;
    let wanted = wanted();
    let missing = |now: &Metrics| -> Vec<String> {
        let known = |(name, row): &(&String, &(String, BTreeSet<String>))| {
            now.get(*name).is_some_and(|(kind, labels)| *kind == row.0 && row.1.is_subset(labels))
        };
        let absent = wanted.iter().filter(|one| !known(one));
        absent.map(|(name, row)| format!("{name}: {row:?}, found {:?}", now.get(name))).collect()
    };
    let mut last = Vec::new();
    let all = tokio::time::timeout(PATIENCE, async {
        eventually("all metrics", PATIENCE * 2, async || {
            last = missing(&served(&chandler.telemetry("/metrics").await.body));
            last.is_empty().then_some(())
        })
        .await;
    })
    .await;
    assert!(all.is_ok(), "{last:#?}");
}

#[tokio::test]
async fn every_line_of_a_json_log_is_json() {
    let bad = WEB.replace("web", "bad").replace("8080", "0");
    let builder = Chandler::build().argument("--log-format").argument("json").service_file("bad.yaml", &bad);
    let mut chandler = builder.start().await;
    chandler.process().wait_for_log("bad.yaml").await;
    // What is written after the block is looked at: there is always the end.
    chandler.process().wait_for_log("get serviceentries").await;
    chandler.terminate().await;
    let log = chandler.process().log();
    // The block for people goes to standard output, which is in the same file here.
    let (_, lines) = log.split_once("get serviceentries").expect("the block");
    let lines: Vec<&str> = lines.lines().skip(1).collect();
    let parsed = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let parsed: Vec<_> =
        parsed.filter(|one| one["level"].is_string() && one["timestamp"].is_string()).collect();
    assert_eq!(parsed.len(), lines.len(), "{log}");
    assert!(!parsed.is_empty());
}
