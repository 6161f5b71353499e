//! A real istiod that reads its configuration over TLS.

use serde_json::Value;

use crate::program::{ISTIOD, Program, SHOWN};
use crate::support::{Age, Istiod, PATIENCE, eventually};

#[tokio::test]
async fn the_newest_istiod_reads_everything_over_tls() {
    needs!(IstiodNewest);
    let mut program = Program::start().await;
    // It shows no certificate and no token: the address is all there is to go by.
    let rules = "
    - {from: {cidr: 127.0.0.0/8}, collections: ['*']}
    - {from: {spiffe: 'spiffe://*/ns/istio-system/sa/*'}, collections: ['*']}
";
    program.configure(rules);
    program.process().wait_for_log("settings: server.listeners, admin").await;
    program.client(ISTIOD);
    // It takes the authority itself, not a path.
    let authority = serde_json::to_string(&program.authority.pem).unwrap();
    let settings = format!("tlsSettings: {{mode: SIMPLE, sni: localhost, caCertificates: {authority}}}");
    let _istiod = Istiod::build(Age::Newest, program.grpc).source_settings(&settings).start().await;
    eventually("every acknowledgement", PATIENCE, async || {
        let (_, printed, _) = program.status(&format!("{SHOWN} -o json")).await;
        let status: Value = serde_json::from_str(&printed).ok()?;
        let watches = status["clients"][0]["watches"].as_array()?.clone();
        (watches.len() == 15 && watches.iter().all(|watch| watch["state"] == "SYNCED")).then_some(())
    })
    .await;
    assert!(program.metrics().await.contains("chandler_clients{wire=\"xds\"} 1"));
}
