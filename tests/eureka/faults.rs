//! What bad answers get: nothing is lost by them, they are named, and another server is asked in the same round.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chandler::registry::eureka::{EurekaSettings, Format};

use crate::bench::{Bench, INTERVAL, SOON, settings};
use crate::fake::{Fake, Request, Say};
use crate::support::free_address;

pub(crate) const EMPTY: &str =
    r#"{"applications":{"versions__delta":"1","apps__hashcode":"","application":[]}}"#;

/// An answer that lists these ids of application `APP`, known for an hour.
fn listed(hash: &str, ids: &[&str]) -> String {
    let one = |id: &&str| {
        format!(
            r#"{{"instanceId":"{id}","ipAddr":"10.0.0.1","status":"UP","actionType":"ADDED","port":{{"$":80,"@enabled":"true"}},"leaseInfo":{{"durationInSecs":90,"registrationTimestamp":1000,"lastRenewalTimestamp":1000}}}}"#
        )
    };
    let all: Vec<String> = ids.iter().map(one).collect();
    format!(
        r#"{{"applications":{{"apps__hashcode":"{hash}","application":[{{"name":"APP","instance":[{}]}}]}}}}"#,
        all.join(",")
    )
}

/// A server with these instances and nothing new.
async fn good(ids: &'static [&'static str]) -> Fake {
    let hash = format!("UP_{}_", ids.len());
    Fake::start(move |r: &Request| {
        Say::json(listed(&hash, if r.path.ends_with("/delta") { &[] } else { ids }))
    })
    .await
}

fn is_delta(request: &Request) -> bool {
    request.path.contains("/apps/delta")
}

/// Every fault that an answer may be, and what is said of it.
async fn faulty() -> Vec<(Fake, &'static str)> {
    let page = "<!doctype html><html><body>Sign in</body></html>";
    let html = |status| Say::Whole(status, vec!["Content-Type: text/html".into()], page.into());
    let to_itself = vec!["Location: /eureka/apps".to_owned()];
    let whole = listed("UP_1_", &["a"]);
    vec![
        (Fake::saying(Say::Hang).await, "the beginning of the answer took longer than"),
        (Fake::saying(Say::Close).await, "closed the connection"),
        (Fake::saying(Say::status("500 Internal Server Error", "out of heap")).await, "500"),
        (Fake::saying(Say::status("429 Too Many Requests", "")).await, "limits requests"),
        (Fake::saying(Say::status("401 Unauthorized", "")).await, "check the token or the password"),
        (Fake::saying(Say::status("404 Not Found", "")).await, "check the address and its path"),
        (Fake::saying(Say::Whole("302 Found", to_itself, Vec::new())).await, "redirects in circles"),
        (Fake::saying(html("200 OK")).await, "web page"),
        (Fake::saying(Say::json(page)).await, "web page"),
        (Fake::saying(Say::json("{\"status\":\"ok\"}")).await, "no list of applications"),
        (Fake::saying(Say::json(&whole[..whole.len() - 40])).await, "breaks off"),
        (Fake::saying(Say::Cut(whole.clone().into_bytes())).await, "broke off"),
        (Fake::saying(Say::Stall(whole.clone().into_bytes())).await, "the answer took longer than"),
        (Fake::saying(Say::json("")).await, "nothing was answered"),
        (Fake::saying(Say::Endless).await, "larger than"),
    ]
}

/// Settings for servers that hang: each costs so long, and no other may seem to on a busy machine.
fn impatient(servers: &[String]) -> EurekaSettings {
    let mut settings = settings(servers);
    let limits = &mut settings.http.limits;
    (limits.connect, limits.read, limits.body) = (Duration::from_secs(2), Duration::from_secs(2), 1 << 20);
    settings
}

#[tokio::test]
async fn a_server_that_does_not_answer_as_it_should_ends_the_life_with_words_and_says_nothing() {
    for (fake, words) in faulty().await {
        let mut bench = Bench::start(impatient(&[fake.url()]));
        let why = bench.end().await;
        assert!(why.contains(words) && why.contains(&fake.address.to_string()), "{words}: {why}");
        assert!(bench.told.is_empty(), "{words}: {:?}", bench.told);
    }
}

#[tokio::test]
async fn while_anything_is_held_everything_is_read_again_although_nothing_has_changed() {
    let fake = good(&["a", "b"]).await;
    let mut bench = Bench::start(settings(&[fake.url()]));
    bench.holds(&["APP[a,b]"]).await;
    let before = bench.reads();
    bench.ask_for_reads(INTERVAL);
    bench.until("three more reads", |b| b.reads() >= before + 3).await;
    assert_eq!(bench.shown(), ["APP[a,b]"]);
}

#[tokio::test]
async fn nobody_at_the_address_is_said_to_be_so() {
    let nobody = free_address();
    let mut bench = Bench::start(settings(&[format!("http://{nobody}/eureka")]));
    let why = bench.end().await;
    assert!(why.contains("no connection") && why.contains(&nobody.to_string()), "{why}");
}

#[tokio::test]
async fn another_server_is_asked_in_the_same_round() {
    for (fake, words) in faulty().await {
        let healthy = good(&["a", "b"]).await;
        let mut bench = Bench::start(impatient(&[fake.url(), healthy.url()]));
        bench.holds(&["APP[a,b]"]).await;
        // The next round asks the one that answered.
        let asked = healthy.requests().len();
        bench.until_problem("nothing wrong any more", |p| p.is_none()).await;
        bench.until_problem("another question", |_| healthy.requests().len() > asked).await;
        assert!(fake.requests().len() <= 2, "{words}: {:?}", fake.requests());
    }
}

#[tokio::test]
async fn the_server_that_failed_is_named_while_another_answers() {
    let broken = Fake::saying(Say::status("500 Internal Server Error", "")).await;
    // The second round takes its time, so that what the first one said can be read.
    let deltas = AtomicUsize::new(0);
    let healthy = Fake::start(move |r: &Request| match is_delta(r) {
        true if deltas.fetch_add(1, Ordering::Relaxed) > 0 => Say::Hang,
        true => Say::json(listed("UP_1_", &[])),
        false => Say::json(listed("UP_1_", &["a"])),
    })
    .await;
    let mut settings = settings(&[broken.url(), healthy.url()]);
    settings.http.limits.read = SOON * 2;
    let mut bench = Bench::start(settings);
    let address = broken.address.to_string();
    bench
        .until_problem("its name", |p| {
            p.is_some_and(|p| p.contains(&address) && p.contains("another server answers"))
        })
        .await;
    assert_eq!(bench.shown(), ["APP[a]"]);
}

#[tokio::test]
async fn a_delta_that_fails_is_read_in_full_elsewhere_and_nothing_is_lost() {
    let deltas = AtomicUsize::new(0);
    let first = Fake::start(move |r: &Request| match is_delta(r) {
        true if deltas.fetch_add(1, Ordering::Relaxed) > 1 => Say::Close,
        true => Say::json(listed("UP_2_", &[])),
        false => Say::json(listed("UP_2_", &["a", "b"])),
    })
    .await;
    let second = good(&["a", "b", "c"]).await;
    let mut bench = Bench::start(settings(&[first.url(), second.url()]));
    bench.holds(&["APP[a,b]"]).await;
    bench.holds(&["APP[a,b,c]"]).await;
    assert!(!bench.told.iter().any(|t| t.starts_with('-')), "{:?}", bench.told);
}

#[tokio::test]
async fn deltas_that_are_switched_off_are_full_reads() {
    for status in ["403 Forbidden", "404 Not Found"] {
        let ids = Arc::new(AtomicUsize::new(0));
        let reads = Arc::clone(&ids);
        let server = Fake::start(move |r: &Request| {
            if is_delta(r) {
                return Say::status(status, "");
            }
            let more = reads.fetch_add(1, Ordering::Relaxed) > 1;
            Say::json(if more { listed("UP_2_", &["a", "b"]) } else { listed("UP_1_", &["a"]) })
        })
        .await;
        let mut bench = Bench::start(settings(&[server.url()]));
        bench.holds(&["APP[a]"]).await;
        bench.holds(&["APP[a,b]"]).await;
        let deltas = server.requests().iter().filter(|r| is_delta(r)).count();
        assert_eq!(deltas, 1, "it is not asked again for five minutes");
        assert_eq!(bench.problem(), None);
    }
}

#[tokio::test]
async fn a_peer_that_restarted_empty_is_left_for_one_that_knows_everything() {
    let restarted = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&restarted);
    let first = Fake::start(move |r: &Request| match now.load(Ordering::Relaxed) {
        0 => Say::json(listed("UP_2_", if is_delta(r) { &[] } else { &["a", "b"] })),
        _ => Say::json(EMPTY),
    })
    .await;
    let second = good(&["a", "b"]).await;
    let mut settings = settings(&[first.url(), second.url()]);
    settings.rules.settle = Duration::from_secs(3600);
    // Its instances were registered in 1970, by its own clock, which is not sent: it is believed.
    let mut bench = Bench::start(settings);
    bench.holds(&["APP[a,b]"]).await;
    restarted.store(1, Ordering::Relaxed);
    bench.until("the full read at the other", |_| !second.requests().is_empty()).await;
    bench.until("its answer", |b| b.told.len() >= 2).await;
    assert_eq!(bench.told, ["=APP[a,b]", "=APP[a,b]"]);
    assert_eq!(bench.problem(), None);
}

#[tokio::test]
async fn a_cluster_that_restarted_empty_takes_nothing_away_and_says_so() {
    let restarted = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&restarted);
    let server = Fake::start(move |r: &Request| match (now.load(Ordering::Relaxed), is_delta(r)) {
        (0, delta) => Say::json(listed("UP_2_", if delta { &[] } else { &["a", "b"] })),
        (1, _) => Say::json(EMPTY),
        (_, _) => Say::json(listed("UP_2_", &["a", "b"])),
    })
    .await;
    let mut settings = settings(&[server.url()]);
    settings.rules.settle = Duration::from_secs(3600);
    let mut bench = Bench::start(settings);
    bench.holds(&["APP[a,b]"]).await;
    restarted.store(1, Ordering::Relaxed);
    bench.until("doubt", |b| b.told.last().is_some_and(|t| t.starts_with("=? it knows nothing"))).await;
    bench
        .until_problem("the doubt", |p| p.is_some_and(|p| p.contains("2 of 2 instances are not back yet")))
        .await;
    assert_eq!(bench.shown(), ["APP[a,b]"]);
    restarted.store(2, Ordering::Relaxed);
    bench.until("belief", |b| b.told.last().is_some_and(|t| t == "=APP[a,b]") && b.told.len() > 2).await;
    bench.until_problem("nothing wrong any more", |p| p.is_none()).await;
}

#[tokio::test]
async fn a_malformed_instance_is_named_and_its_neighbours_are_served() {
    let body = listed("UP_3_", &["a", "b", "c"]).replacen("\"$\":80", "\"$\":0", 1);
    let empty = listed("UP_3_", &[]);
    let server =
        Fake::start(move |r: &Request| Say::json(if is_delta(r) { empty.clone() } else { body.clone() }))
            .await;
    let mut bench = Bench::start(settings(&[server.url()]));
    bench.holds(&["APP[b,c]"]).await;
    bench.until_problem("its name", |p| p.is_some_and(|p| p.contains("app/a: its `port` is 0"))).await;
    let left_out = bench.known["APP"].left_out.by_reason();
    assert_eq!((&*left_out[0].reason, left_out[0].count), ("its `port` is 0: nothing can listen there", 1));
}

#[tokio::test]
async fn requests_are_those_of_eurekas_own_clients() {
    let server = good(&["a"]).await;
    let mut settings = settings(&[server.url().replace("http://", "http://me:pw@") + "/"]);
    settings.regions = vec!["us-east-1".into(), "eu".into()];
    let mut bench = Bench::start(settings);
    bench.holds(&["APP[a]"]).await;
    let requests = server.requests();
    let paths: Vec<&str> = requests.iter().take(2).map(|r| &*r.path).collect();
    assert_eq!(paths, ["/eureka/apps?regions=us-east-1%2Ceu", "/eureka/apps/delta?regions=us-east-1%2Ceu"]);
    for header in [
        "accept: application/json\r\n",
        "x-eureka-accept: full\r\n",
        "accept-encoding: gzip\r\n",
        "authorization: basic bwu6chc=",
    ] {
        assert!(requests[0].head.contains(header), "{header}: {}", requests[0].head);
    }
}

#[tokio::test]
async fn a_server_without_json_is_asked_for_xml() {
    let xml = |hash: &str, id: &str| {
        format!(
            "<applications><apps__hashcode>{hash}</apps__hashcode><application><name>APP</name><instance><instanceId>{id}</instanceId><ipAddr>10.0.0.1</ipAddr><status>UP</status><port enabled=\"true\">80</port></instance></application></applications>"
        )
    };
    for format in [Format::Json, Format::Xml] {
        let server = Fake::start(move |r: &Request| {
            if r.head.contains("accept: application/json") {
                return Say::status("406 Not Acceptable", "");
            }
            Say::Whole("200 OK", vec!["Content-Type: application/xml".into()], xml("UP_1_", "a").into())
        })
        .await;
        let mut settings = settings(&[server.url()]);
        settings.format = format;
        let mut bench = Bench::start(settings);
        bench.holds(&["APP[a]"]).await;
        let json = server.requests().iter().filter(|r| r.head.contains("accept: application/json")).count();
        assert_eq!(json, usize::from(format == Format::Json));
    }
}

#[tokio::test]
async fn a_poll_without_changes_says_nothing_and_reads_nothing_again() {
    let server = good(&["a"]).await;
    let mut bench = Bench::start(settings(&[server.url()]));
    bench.holds(&["APP[a]"]).await;
    bench.until_problem("some rounds", |_| server.requests().len() > 8).await;
    assert_eq!(bench.told, ["=APP[a]"]);
    let full = server.requests().iter().filter(|r| !is_delta(r)).count();
    assert_eq!(full, 1);
    bench.another_life().await;
    bench.until("the next life's reset", |b| b.told.len() == 2).await;
    assert_eq!(bench.told, ["=APP[a]", "=APP[a]"]);
}
