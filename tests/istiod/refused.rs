//! What Istio would refuse never reaches it, harms nobody else, and is named.

use crate::support::{Age, Chandler, Istiod};
use crate::view::{CALM, entry, entry_where, metric_line, reported};

const GOOD: &str = "
services:
- name: good
  hosts: [good.example.internal]
  ports: [{number: 8080, protocol: HTTP}]
  endpoints: [{address: 10.0.0.5}]
";
/// The second service is illegal, and so is the second object.
const MIXED: &str = "
services:
- name: fine
  hosts: [fine.example.internal]
  ports: [{number: 8080, protocol: HTTP}]
  endpoints: [{address: 10.0.0.6}]
- name: broken
  hosts: [broken.example.internal]
  ports: [{number: 8080, protocol: HTTP}]
  endpoints: [{address: 10.0.0.256}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: object}
spec:
  hosts: [object.example.internal]
  ports: [{number: 443, name: tls, protocol: TLS}]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: bad-object}
spec:
  hosts: [bad-object.example.internal]
  ports: [{number: 0, name: tls, protocol: TLS}]
  resolution: DNS
";

both_ages!(
    bad_item_is_absent_and_its_neighbours_are_there,
    last_good_version_of_what_became_bad_stays,
    file_that_does_not_parse_keeps_what_it_said,
);

async fn bad_item_is_absent_and_its_neighbours_are_there(age: Age) {
    let mut chandler = Chandler::start("", &[("good.yaml", GOOD), ("mixed.yaml", MIXED)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let all = istiod.configz().await;
    for there in ["good.example.internal", "fine.example.internal", "object"] {
        assert!(entry(&all, there).is_some(), "{there} is missing");
    }
    for absent in ["broken.example.internal", "bad-object"] {
        assert!(entry(&all, absent).is_none(), "{absent} is there");
    }
    // istiod does not complain, since it never saw them; Chandler does.
    assert!(!istiod.log_contains("Error adding a new resource"));
    let row = reported(&chandler, "the refused service", |row| row["key"] == "mixed.yaml#broken").await;
    assert!(row["refused"].as_str().is_some_and(|why| why.contains("10.0.0.256")), "{row}");
    let row = reported(&chandler, "the refused object", |row| {
        row["key"].as_str().is_some_and(|key| key.ends_with("/bad-object"))
    })
    .await;
    assert!(row["refused"].is_string(), "{row}");
    for named in ["mixed.yaml#broken", "10.0.0.256", "bad-object"] {
        chandler.process().wait_for_log(named).await;
    }
    metric_line(&chandler, "chandler_rejected_resources{registry=\"onboard\"} 2").await;
}

async fn last_good_version_of_what_became_bad_stays(age: Age) {
    let chandler = Chandler::start("", &[("good.yaml", GOOD)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    let before = istiod.settled(CALM).await;
    let good = entry_where(&istiod, "good.example.internal", "the entry", |_| true).await;
    let bad = GOOD.replace("number: 8080", "number: 0");
    let late = GOOD.replace("services:", "").replace("good", "late");
    chandler.write_services("good.yaml", &format!("{bad}{late}"));
    entry_where(&istiod, "late.example.internal", "its new neighbour", |_| true).await;
    assert_eq!(entry_where(&istiod, "good.example.internal", "the entry", |_| true).await, good);
    let row = reported(&chandler, "the refused service", |row| row["key"] == "good.yaml#good").await;
    assert!(row["refused"].is_string(), "{row}");
    assert!(istiod.settled(CALM).await.get("eds") >= before.get("eds"));

    let better = GOOD.replace("10.0.0.5", "10.0.0.8");
    chandler.write_services("good.yaml", &format!("{better}{late}"));
    istiod
        .endpoints_where("good.example.internal", "its recovery", |all| {
            all.len() == 1 && all[0].address == "10.0.0.8"
        })
        .await;
    reported(&chandler, "the end of the refusal", |row| {
        row["key"] == "good.yaml#good" && row.get("refused").is_none()
    })
    .await;
}

async fn file_that_does_not_parse_keeps_what_it_said(age: Age) {
    let other = GOOD.replace("good", "other");
    let mut chandler = Chandler::start("", &[("good.yaml", GOOD), ("other.yaml", &other)]).await;
    let istiod = Istiod::start(age, chandler.grpc, "").await;
    chandler.write_services("good.yaml", "services: [{name: good, hosts: [\n");
    chandler.process().wait_for_log("services/good.yaml:1:").await;
    chandler.write_services("other.yaml", &other.replace("10.0.0.5", "10.0.0.8"));
    istiod
        .endpoints_where("other.example.internal", "its neighbour's change", |all| {
            all.first().is_some_and(|one| one.address == "10.0.0.8")
        })
        .await;
    let all = istiod.configz().await;
    assert!(entry(&all, "good.example.internal").is_some());
}
