//! A server that breaks every rule: what is kept, what is said, and that neighbours are untouched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chandler::registry::consul::settings::{Consistency, Strategy};
use serde_json::json;
use tokio::time::Instant;

use crate::bench::{Bench, SOON, settings, token};
use crate::fake::{Fake, Request, Say};

/// A JSON answer with an index.
fn at(index: u64, body: &serde_json::Value) -> Say {
    let headers = vec!["Content-Type: application/json".into(), format!("X-Consul-Index: {index}")];
    Say::Whole("200 OK", headers, body.to_string().into())
}

fn instance(name: &str, port: u16) -> serde_json::Value {
    json!([{
        "Node": {"Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1"},
        "Service": {"ID": name, "Service": name, "Port": port}, "Checks": []
    }])
}

/// A catalogue of `consul`, `db` and `web`, in state 7 for ever. Blocking queries wait.
fn good(request: &Request) -> Say {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    if query.contains("index=") {
        return Say::Hang;
    }
    match path {
        "/v1/catalog/services" => at(7, &json!({"consul": [], "db": [], "web": []})),
        "/v1/config/service-defaults" => at(7, &json!([])),
        "/v1/health/state/critical" | "/v1/health/state/warning" => at(7, &json!([])),
        _ => at(7, &instance(path.rsplit('/').next().unwrap(), 80)),
    }
}

fn url(fake: &Fake) -> Vec<String> {
    vec![format!("http://{}", fake.address)]
}

/// The good one but for what `odd` says.
async fn but(odd: impl Fn(&Request) -> Option<Say> + Send + 'static) -> Fake {
    Fake::start(move |request| odd(request).unwrap_or_else(|| good(request))).await
}

fn impatient(fake: &Fake) -> chandler::registry::consul::ConsulSettings {
    let mut settings = settings(&url(fake));
    // Each that hangs costs so long, and no other may seem to on a busy machine.
    let limits = &mut settings.http.limits;
    (limits.connect, limits.read, limits.body) = (Duration::from_secs(2), Duration::from_secs(2), 1 << 20);
    settings
}

fn is_web(request: &Request) -> bool {
    request.path.split('?').next() == Some("/v1/health/service/web")
}

/// What may be said instead of data, and the words for it.
fn faults() -> Vec<(Say, &'static str)> {
    let page =
        Say::Whole("200 OK", vec!["Content-Type: text/html".into()], b"<html>Please log in</html>".to_vec());
    let hidden_page = Say::json("\n <!DOCTYPE html><p>502</p>");
    let round = Say::Whole("302 Found", vec!["Location: /v1/catalog/services?x".into()], Vec::new());
    let nowhere = Say::Whole("307 Temporary Redirect", Vec::new(), Vec::new());
    vec![
        (Say::status("500 Internal Server Error", "No cluster leader"), "No cluster leader"),
        (Say::status("429 Too Many Requests", "rate limit exceeded"), "raise its limit"),
        (Say::status("403 Forbidden", "Permission denied"), "check the token"),
        (Say::status("404 Not Found", ""), "is this the registry's API?"),
        (Say::status("204 No Content", ""), "only 200"),
        (page, "web page"),
        (hidden_page, "web page"),
        (Say::Cut(b"{\"web\": [".to_vec()), "broke off"),
        (Say::Stall(b"{\"web\": [".to_vec()), "the answer took longer than 2s"),
        (Say::Endless, "larger than 1048576 bytes"),
        (Say::Hang, "the beginning of the answer took longer than 4s"),
        (Say::Close, "closed the connection"),
        (round, "redirects in circles"),
        (nowhere, "redirects to nowhere"),
    ]
}

#[tokio::test]
async fn a_list_that_cannot_be_had_ends_the_life_with_words_and_says_nothing() {
    let mut all = faults();
    all.push((Say::json("[1, 2]"), "unreadable"));
    for (say, words) in all {
        let fake = but(move |r| r.path.starts_with("/v1/catalog/services").then(|| say.clone())).await;
        let mut bench = Bench::new(impatient(&fake));
        bench.live();
        let why = bench.end().await.unwrap_err().to_string();
        assert!(why.contains(words) && why.contains(&url(&fake)[0]), "{words}: {why}");
        assert!(bench.world.is_empty() && bench.resets == 0, "{words}");
    }
}

#[tokio::test]
async fn while_anything_is_held_everything_is_read_again_although_nothing_has_changed() {
    let fake = but(|_| None).await;
    let mut bench = Bench::read(impatient(&fake)).await;
    assert_eq!(bench.resets, 1, "nothing changes, so nothing is read as a whole");
    bench.ask_for_reads(Duration::from_millis(20));
    bench.until("three more reads", |b| b.resets >= 4).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_read_of_which_a_part_cannot_be_had_is_never_sent() {
    for (say, words) in faults().into_iter().filter(|(_, words)| !words.contains("circles")) {
        let fake = but(move |r| r.path.starts_with("/v1/health/service/web").then(|| say.clone())).await;
        let mut bench = Bench::new(impatient(&fake));
        bench.live();
        let why = bench.end().await.unwrap_err().to_string();
        assert!(why.contains(words) && why.contains("/v1/health/service/web"), "{words}: {why}");
        assert!(bench.world.is_empty() && bench.resets == 0 && bench.doubt.is_none(), "{words}");
    }
}

#[tokio::test]
async fn a_service_among_thousands_that_makes_no_sense_is_named_and_its_neighbours_are_there() {
    let odd = |request: &Request| match request.path.split('?').next().unwrap() {
        "/v1/catalog/services" if !request.path.contains("index=") => {
            let names = (0..2000).map(|n| (format!("s{n}"), json!([])));
            Some(at(7, &names.collect::<serde_json::Map<_, _>>().into()))
        }
        "/v1/health/service/s777" if !request.path.contains("index=") => Some(Say::json("{\"oops\": 1}")),
        _ => None,
    };
    let bench = Bench::read(settings(&url(&but(odd).await))).await;
    assert_eq!(bench.world.len(), 2000);
    assert!(format!("{:?}", bench.world["s777"]).starts_with("Refused"), "{:?}", bench.world["s777"]);
    let named = async || ["s777", "oops"].iter().all(|w| bench.problem().contains(w)).then_some(());
    crate::support::eventually("its name in the problem", SOON, named).await;
    assert_eq!(bench.endpoints("s778"), ["10.0.0.1 One(80)"]);
    bench.stop().await;
}

#[tokio::test]
async fn a_blocking_query_that_fails_once_is_asked_again_and_twice_ends_the_life() {
    for failures in [1, 2] {
        let left = Mutex::new(failures);
        let fake = but(move |request| {
            if !is_web(request) {
                return None;
            }
            let mut left = left.lock().unwrap();
            // The first one is part of the complete read.
            let first = !request.path.contains("index=") && *left == failures;
            if first || *left == 0 {
                return (*left == 0 && !request.path.contains("index=")).then(|| at(8, &instance("web", 81)));
            }
            *left -= 1;
            Some(Say::Close)
        })
        .await;
        let mut bench = Bench::read(impatient(&fake)).await;
        if failures == 1 {
            bench.until("what it says the second time", |b| b.endpoints("web")[0].ends_with("One(81)")).await;
            assert_eq!((bench.steps.clone(), bench.resets), (vec!["+web".to_owned()], 1));
            bench.stop().await;
        } else {
            assert!(bench.end().await.unwrap_err().to_string().contains("/v1/health/service/web"));
            assert_eq!(bench.world.len(), 3, "what is known stays");
        }
    }
}

#[tokio::test]
async fn a_poll_that_is_answered_and_stops_behind_its_head_is_given_up_long_before_its_wait() {
    let stalled = AtomicBool::new(false);
    let fake = but(move |request| {
        is_web(request).then_some(())?;
        let polled = request.path.contains("index=");
        if polled && !stalled.swap(true, Ordering::SeqCst) {
            return Some(Say::Stall(b"[{".to_vec()));
        }
        (!polled && stalled.load(Ordering::SeqCst)).then(|| at(8, &instance("web", 81)))
    })
    .await;
    let mut bench = Bench::read(impatient(&fake)).await;
    bench.until("what it says the second time", |b| b.endpoints("web")[0].ends_with("One(81)")).await;
    // The list waits for half as long as a service, and is waiting for its first answer still.
    let asked = |r: &&Request| r.path.starts_with("/v1/catalog/services?index=");
    assert_eq!((fake.requests().iter().filter(asked).count(), bench.resets), (1, 1));
    bench.stop().await;
}

/// When each path was asked for.
type Times = Arc<Mutex<BTreeMap<String, Vec<Instant>>>>;

#[tokio::test]
async fn a_server_that_never_waits_is_not_asked_in_a_tight_loop_and_never_from_index_0() {
    let times = Times::default();
    let seen = Arc::clone(&times);
    let fake = but(move |request| {
        request.path.contains("index=").then_some(())?;
        let path = request.path.split('?').next().unwrap().to_owned();
        seen.lock().unwrap().entry(path.clone()).or_default().push(Instant::now());
        // It counts from 0, which no client may repeat.
        Some(match path.as_str() {
            "/v1/catalog/services" => at(0, &json!({"consul": [], "db": [], "web": []})),
            _ => Say::Hang,
        })
    })
    .await;
    let mut lists = settings(&url(&fake));
    lists.strategy = Strategy::Each;
    let bench = Bench::read(lists).await;
    let asked = || times.lock().unwrap().get("/v1/catalog/services").cloned().unwrap_or_default();
    crate::support::eventually("some questions", SOON, async || (asked().len() > 4).then_some(())).await;
    let gaps: Vec<Duration> = asked().windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_millis(45)), "{gaps:?}");
    assert!(fake.requests().iter().all(|r| !r.path.contains("index=0")));
    bench.stop().await;
}

#[tokio::test]
async fn a_follower_that_lags_behind_takes_nothing_away() {
    // A stale answer is older than what is known and knows nothing of `web`; the leader does.
    let fake = but(|request| {
        match (is_web(request), request.path.contains("index=7"), request.path.contains("stale")) {
            (true, true, _) => Some(at(5, &json!([]))),
            (true, false, false) => Some(at(9, &instance("web", 82))),
            _ => None,
        }
    })
    .await;
    let mut stale = settings(&url(&fake));
    stale.consistency = Consistency::Stale(None);
    let mut bench = Bench::read(stale).await;
    bench.until("the leader's answer", |b| b.endpoints("web")[0].ends_with("One(82)")).await;
    assert_eq!(bench.steps, ["+web"]);
    bench.stop().await;
}

#[tokio::test]
async fn what_a_server_cannot_have_written_itself_is_not_believed_of_its_stream() {
    // An agent's stream says that the instance is gone; a plain answer says that rights are.
    let fake = but(|request| {
        let (web, polled) =
            (request.path.starts_with("/v1/health/service/web"), request.path.contains("index="));
        let mut say = (web && polled).then(|| at(8, &json!([])))?;
        if let Say::Whole(_, headers, _) = &mut say {
            headers.push("X-Consul-Query-Backend: streaming".into());
        }
        Some(say)
    })
    .await;
    let mut bench = Bench::read(settings(&url(&fake))).await;
    let polls =
        || fake.requests().iter().filter(|r| r.path.contains("/web?") && r.path.contains("index=")).count();
    crate::support::eventually("a second poll", SOON, async || (polls() > 1).then_some(())).await;
    assert_eq!((bench.endpoints("web").len(), bench.steps.len()), (1, 0));
    bench.until("nothing", |_| true).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_redirect_is_followed_and_credentials_stay_where_they_belong() {
    let leader = Fake::start(good).await;
    let to = format!("http://{}", leader.address);
    let follower = Fake::start(move |request| {
        let location = format!("Location: {to}{}", request.path);
        Say::Whole("307 Temporary Redirect", vec![location], Vec::new())
    })
    .await;
    let mut with_token = settings(&url(&follower));
    with_token.http.credentials = token("hidden-0815");
    let bench = Bench::read(with_token).await;
    assert_eq!(bench.world.len(), 3);
    assert!(follower.requests().iter().all(|r| r.head.contains("x-consul-token: hidden-0815")));
    assert!(leader.requests().iter().all(|r| !r.head.contains("hidden-0815")));
    bench.stop().await;
}

#[tokio::test]
async fn a_secret_that_the_server_repeats_is_not_repeated_by_us() {
    let fake = Fake::saying(Say::status("403 Forbidden", "token hidden-0815 is unknown")).await;
    let mut with_token = settings(&url(&fake));
    with_token.http.credentials = token("hidden-0815");
    let mut bench = Bench::new(with_token);
    bench.live();
    let why = bench.end().await.unwrap_err().to_string();
    assert!(why.contains("token *** is unknown") && !why.contains("hidden"), "{why}");
}

#[tokio::test]
async fn a_server_that_refuses_connections_is_asked_for_fewer() {
    // Sixty services would do with a hundred connections; this server grants fewer.
    let fake = but(|request| {
        let polled = request.path.contains("index=");
        match request.path.split('?').next().unwrap() {
            "/v1/catalog/services" if !polled => {
                let names = (0..60).map(|n| (format!("s{n}"), json!([])));
                Some(at(7, &names.collect::<serde_json::Map<_, _>>().into()))
            }
            path if path.starts_with("/v1/health/service/") && polled => Some(Say::status(
                "429 Too Many Requests",
                "Your IP is issuing too many concurrent connections",
            )),
            _ => None,
        }
    })
    .await;
    let bench = Bench::read(settings(&url(&fake))).await;
    let swept = || fake.requests().iter().any(|r| r.path.starts_with("/v1/health/state/critical?index="));
    crate::support::eventually("sweeping", SOON, async || swept().then_some(())).await;
    assert_eq!((bench.world.len(), bench.resets), (60, 1));
    bench.stop().await;
}

#[tokio::test]
async fn what_went_in_bulk_is_read_for_the_last_time_before_connections_are_spent_on_it() {
    // Far more services than connections, then none of them. The list says so at once, each service in its turn.
    let gone = Arc::new(AtomicBool::new(false));
    let fake = but(move |request| {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let polled = query.contains("index=");
        match path {
            "/v1/catalog/services" if query.contains("index=7") => {
                gone.store(true, Ordering::SeqCst);
                Some(at(8, &json!({"consul": []})))
            }
            "/v1/catalog/services" if !polled => {
                let names = (0..400).map(|n| format!("s{n}")).chain(["consul".into()]);
                Some(at(7, &names.map(|name| (name, json!([]))).collect::<serde_json::Map<_, _>>().into()))
            }
            _ if path.starts_with("/v1/health/service/s") && !polled && gone.load(Ordering::SeqCst) => {
                Some(at(8, &json!([])))
            }
            _ => None,
        }
    })
    .await;
    let mut bench = Bench::read(settings(&url(&fake))).await;
    assert_eq!(bench.world.len(), 401);
    bench.until("their end", |b| b.world.len() == 1).await;
    let watched: BTreeSet<String> = (fake.requests().iter())
        .filter(|r| r.path.starts_with("/v1/health/service/") && r.path.contains("index="))
        .map(|r| r.path.clone())
        .collect();
    assert!(watched.len() <= 100, "{} services had a query of their own", watched.len());
    bench.until_well().await;
    assert_eq!(bench.resets, 1);
    bench.stop().await;
}

#[tokio::test]
async fn what_is_missing_after_a_query_broke_off_was_not_deregistered() {
    // A server that restarted without its data, and has counted past where it was when it is asked again.
    for asked in ["/v1/catalog/services", "/v1/health/service/web"] {
        let broken = AtomicBool::new(false);
        let fake = but(move |request| {
            let polled = request.path.contains("index=");
            if request.path.split('?').next() != Some(asked) || (!polled && !broken.load(Ordering::SeqCst)) {
                return None;
            }
            if !broken.swap(true, Ordering::SeqCst) {
                return Some(Say::Close);
            }
            Some(if asked.ends_with("web") { at(9, &json!([])) } else { at(9, &json!({"consul": []})) })
        })
        .await;
        let mut bench = Bench::read(settings(&url(&fake))).await;
        bench.until("everything to be read anew", |b| b.resets > 1 || b.doubt.is_some()).await;
        assert_eq!(bench.steps, Vec::<String>::new(), "{asked}: left to the guard");
        bench.stop().await;
    }
}

#[tokio::test]
async fn another_address_is_asked_in_the_same_round() {
    for (say, _) in faults().into_iter().filter(|(_, w)| {
        [
            "No cluster leader",
            "raise its limit",
            "web page",
            "broke off",
            "closed the connection",
            "the answer took longer than 2s",
            "the beginning of the answer took longer than 4s",
        ]
        .contains(w)
    }) {
        let (bad, well) = (Fake::saying(say.clone()).await, Fake::start(good).await);
        let mut both = impatient(&bad);
        both.http.addresses.extend(settings(&url(&well)).http.addresses);
        let mut bench = Bench::new(both);
        bench.live();
        bench.until("a complete read", |b| b.resets == 1).await;
        assert_eq!((bench.world.len(), bad.requests().is_empty()), (3, false));
        bench.stop().await;
    }
}

#[tokio::test]
async fn a_datacenter_out_of_reach_costs_the_others_nothing_and_is_named() {
    let well = Arc::new(Mutex::new(false));
    let answers = Arc::clone(&well);
    let fake = but(move |request| {
        let lost = request.path.contains("dc=dc2") && !*answers.lock().unwrap();
        lost.then(|| Say::status("500 Internal Server Error", "No path to datacenter"))
    })
    .await;
    let mut two = settings(&url(&fake));
    two.datacenters = vec!["dc1".into(), "dc2".into()];
    let mut bench = Bench::read(two).await;
    assert!(bench.world.keys().eq(["consul", "db", "web"]), "{}", bench.shown());
    let complaint = async || bench.problem().contains("No path to datacenter").then_some(());
    crate::support::eventually("a complaint", SOON, complaint).await;
    *well.lock().unwrap() = true;
    bench.until("the other datacenter", |b| b.world.contains_key("dc2/web")).await;
    assert_eq!((bench.world.len(), bench.resets), (6, 2));
    let at = bench.service("dc2/web").unwrap().variables.get("at");
    assert_eq!((at, bench.service("web").unwrap().variables.get("at")), (Some("dc2"), None));
    let cured = async || bench.problem().is_empty().then_some(());
    crate::support::eventually("no complaint", SOON, cured).await;
    bench.stop().await;
}

#[tokio::test]
async fn what_a_peer_exports_is_read_of_the_peer() {
    let fake = but(|request| {
        if request.path == "/v1/peering/east" {
            return Some(Say::json(
                json!({"Name": "east", "StreamStatus": {"ImportedServices": ["api"]}}).to_string(),
            ));
        }
        let foreign = request.path.starts_with("/v1/health/service/api");
        (foreign && !request.path.contains("index=")).then(|| {
            assert!(request.path.contains("peer=east"));
            at(3, &instance("api", 9090))
        })
    })
    .await;
    let mut with_peer = settings(&url(&fake));
    with_peer.peers = vec!["east".into()];
    let mut bench = Bench::read(with_peer).await;
    bench.until("both scopes", |b| b.resets == 2).await;
    let api = bench.service("peer/east/api").unwrap();
    assert_eq!((&*api.name, api.variables.get("at"), api.endpoints.len()), ("api", Some("east.peer"), 1));
    bench.stop().await;
}
