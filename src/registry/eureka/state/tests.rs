use super::*;
use crate::model::change::Change;
use crate::model::service::Service;
use crate::registry::eureka::compose::ExpiredLeases;
use crate::registry::eureka::decode::decode;
use crate::registry::eureka::instance::{Entry, Facts, Lease, Status};

const SETTLE: Duration = Duration::from_secs(45);
/// The server's clock when a test begins; instances are as old as the tests say.
const NOW: u64 = 1_795_265_000_000;

fn at(seconds: u64) -> Moment {
    Moment::after_start(Duration::from_secs(seconds))
}

fn rules() -> Rules {
    let (names, shape) = (Names { app: true, vip: true, secure_vip: false }, Shape::default());
    Rules { names, shape, settle: SETTLE, full_every: Duration::from_secs(300) }
}

/// An instance: `app/id status action`, known for an hour.
fn instance(text: &str, metadata: &str, age: u64) -> (String, String) {
    let mut words = text.split(' ');
    let (app, id) = words.next().unwrap().split_once('/').unwrap();
    let (status, action) = (words.next().unwrap_or("UP"), words.next().unwrap_or("ADDED"));
    let since = NOW - age * 1000;
    let json = format!(
        r#"{{"instanceId":"{id}","ipAddr":"10.0.0.{id}","status":"{status}","actionType":"{action}","port":{{"$":80,"@enabled":"true"}},
        "vipAddress":"{}","metadata":{{"v":"{metadata}"}},
        "leaseInfo":{{"durationInSecs":90,"registrationTimestamp":{since},"lastRenewalTimestamp":{since},"evictionTimestamp":0}}}}"#,
        app.to_lowercase()
    );
    (app.to_owned(), json)
}

/// An answer that lists `instances`, in order.
fn listed(hash: &str, instances: &[(String, String)]) -> Applications {
    let apps: Vec<String> =
        instances.iter().map(|(app, json)| format!(r#"{{"name":"{app}","instance":[{json}]}}"#)).collect();
    let text =
        format!(r#"{{"applications":{{"apps__hashcode":"{hash}","application":[{}]}}}}"#, apps.join(","));
    decode(text.as_bytes()).unwrap()
}

fn answer(hash: &str, instances: &[&str]) -> Applications {
    listed(hash, &instances.iter().map(|i| instance(i, "1", 3600)).collect::<Vec<_>>())
}

/// A full read with a delta after it that fits.
fn reading(hash: &str, instances: &[&str]) -> Reading {
    let mut reading = Reading::new(answer(hash, instances), Some(NOW));
    assert!(reading.refine(&answer(hash, &[])) || reading.is_broken().is_some());
    reading
}

/// One of a server that has known `instances` for so many seconds only.
fn young(hash: &str, instances: &[&str], age: u64) -> Reading {
    let instances: Vec<_> = instances.iter().map(|i| instance(i, "1", age)).collect();
    Reading::new(listed(hash, &instances), Some(NOW))
}

fn believe(state: &mut State, reading: Reading, now: Moment) -> Batch {
    assert_eq!(state.judge(&reading, now), Verdict::Believed);
    state.full(reading, Verdict::Believed, 0, now)
}

fn doubt(state: &mut State, reading: Reading, now: Moment, words: &str) -> Batch {
    let verdict = state.judge(&reading, now);
    assert!(matches!(&verdict, Verdict::Doubted(why) if why.contains(words)), "{verdict:?}");
    state.full(reading, verdict, 0, now)
}

fn known(hash: &str, instances: &[&str]) -> State {
    let mut state = State::new(rules());
    believe(&mut state, reading(hash, instances), at(0));
    state
}

fn ids(service: &Service) -> String {
    service.endpoints.iter().map(|e| e.id.to_string()).collect::<Vec<_>>().join(",")
}

fn told_item(item: &Item) -> String {
    match item {
        Item::Service(s) => format!("{}[{}]", s.name, ids(s)),
        Item::Refused(key, why) => format!("{key}!{why}"),
        Item::Object(_) => unreachable!("Eureka has no objects"),
    }
}

/// A batch in a form that can be read.
fn told(batch: &Batch) -> Vec<String> {
    let one = |change: &Change| match change {
        Change::Upsert(item) => format!("+{}", told_item(item)),
        Change::Remove(key, cause) => format!("-{key} {cause:?}"),
        Change::Reset { items, trust, .. } => {
            let items: Vec<String> = items.iter().map(told_item).collect();
            let trust = if *trust == Trust::Complete { "" } else { "?" };
            format!("={trust}{}", items.join(" "))
        }
    };
    batch.0.iter().map(one).collect()
}

fn delta(state: &mut State, hash: &str, instances: &[&str]) -> (Vec<String>, bool) {
    let (batch, in_step) = state.delta(answer(hash, instances), at(10));
    (told(&batch), in_step)
}

#[test]
fn a_full_read_is_a_reset_of_all_that_is_up() {
    let mut state = State::new(rules());
    let batch = believe(&mut state, reading("DOWN_1_UP_3_", &["A/1", "A/2 DOWN", "B/3", "A/4"]), at(0));
    assert_eq!(told(&batch), ["=A[1,4] B[3]"]);
    assert_eq!(state.plan(at(10)), Plan::Delta(0));
}

#[test]
fn a_change_of_one_instance_upserts_one_service() {
    let mut state = known("UP_3_", &["A/1", "A/2", "B/3"]);
    assert_eq!(delta(&mut state, "UP_4_", &["A/4"]), (vec!["+A[1,2,4]".into()], true));
    assert_eq!(state.plan(at(20)), Plan::Delta(0));
}

#[test]
fn the_same_delta_twice_says_nothing_more() {
    let mut state = known("UP_1_", &["A/1"]);
    let changed = ["A/2", "B/3", "A/1 UP DELETED"];
    assert_eq!(delta(&mut state, "UP_2_", &changed).0, ["+A[2]", "+B[3]"]);
    assert_eq!(delta(&mut state, "UP_2_", &changed), (vec![], true));
}

#[test]
fn added_for_a_known_instance_replaces_it() {
    let mut state = known("UP_1_", &["A/1"]);
    let metadata = listed("UP_1_", &[instance("A/1", "2", 10)]);
    let (batch, in_step) = state.delta(metadata, at(10));
    assert!(in_step, "the hash code does not see metadata");
    let [Change::Upsert(Item::Service(service))] = &batch.0[..] else { panic!("{batch:?}") };
    assert_eq!(service.endpoints[0].labels.get("v"), Some("2"));
    assert_eq!(service.endpoints.len(), 1);
}

#[test]
fn deleted_for_an_unknown_instance_is_nothing() {
    let mut state = known("UP_1_", &["A/1"]);
    assert_eq!(delta(&mut state, "UP_1_", &["A/9 UP DELETED", "C/9 UP DELETED"]), (vec![], true));
}

#[test]
fn a_delta_whose_hash_code_does_not_fit_asks_for_a_full_read() {
    let mut state = known("UP_1_", &["A/1"]);
    // What it says is a fact nevertheless.
    assert_eq!(delta(&mut state, "UP_7_", &["A/2"]), (vec!["+A[1,2]".into()], false));
    assert_eq!(state.plan(at(20)), Plan::Full(0));
    let batch = believe(&mut state, reading("UP_3_", &["A/1", "A/2", "A/3"]), at(20));
    assert_eq!(told(&batch), ["+A[1,2,3]", "=A[1,2,3]"]);
    assert_eq!(state.plan(at(30)), Plan::Delta(0));
}

#[test]
fn who_was_away_for_180_seconds_reads_everything() {
    let mut state = known("UP_1_", &["A/1"]);
    assert_eq!(state.plan(at(179)), Plan::Delta(0));
    assert_eq!(state.plan(at(180)), Plan::Full(0));
    state.same_again(at(170));
    assert_eq!(state.plan(at(180)), Plan::Delta(0));
}

#[test]
fn everything_is_read_now_and_then_for_the_hash_code_does_not_see_metadata() {
    let mut state = known("UP_1_", &["A/1"]);
    state.same_again(at(299));
    assert_eq!(state.plan(at(299)), Plan::Delta(0));
    assert_eq!(state.plan(at(300)), Plan::Full(0));
}

#[test]
fn a_server_without_deltas_is_read_in_full_and_asked_again_some_time() {
    let mut state = State::new(rules());
    let mut first = Reading::new(answer("UP_1_", &["A/1"]), Some(NOW));
    first.without_deltas();
    believe(&mut state, first, at(0));
    assert_eq!(state.plan(at(10)), Plan::Full(0));
    assert!(!state.wants_deltas(at(299)));
    assert!(state.wants_deltas(at(300)));
}

#[test]
fn a_full_read_is_brought_up_to_date_by_the_delta_after_it() {
    let mut full = Reading::new(answer("UP_2_", &["A/1", "A/2"]), Some(NOW));
    assert!(full.refine(&answer("UP_2_", &["A/3", "A/1 UP DELETED", "A/2"])));
    assert_eq!(full.hash.to_string(), "UP_2_");
    let mut state = State::new(rules());
    assert_eq!(told(&believe(&mut state, full, at(0))), ["=A[2,3]"]);
}

#[test]
fn a_delta_that_is_older_than_the_full_read_changes_nothing_and_is_not_built_upon() {
    let mut full = Reading::new(answer("UP_1_", &["A/1"]), Some(NOW));
    // Its cache still has an instance that is gone.
    assert!(!full.refine(&answer("UP_3_", &["A/2"])));
    let mut state = State::new(rules());
    assert_eq!(told(&believe(&mut state, full, at(0))), ["=A[1]"]);
    assert_eq!(state.plan(at(10)), Plan::Full(0));
}

#[test]
fn who_is_gone_does_not_come_back_with_a_delta_that_is_older_than_the_full_read() {
    let mut state = known("UP_2_", &["A/1", "A/2"]);
    delta(&mut state, "UP_3_", &["A/3"]);
    delta(&mut state, "UP_2_", &["A/1 UP DELETED"]);
    // One came and one went since: both have three.
    let mut late = Reading::new(answer("UP_2_", &["A/2", "A/3"]), Some(NOW));
    assert!(late.refine(&answer("UP_3_", &["A/1", "A/3"])));
    assert_eq!(told(&believe(&mut state, late, at(12))), ["=A[2,3]"]);
    assert_eq!(state.plan(at(13)), Plan::Full(0), "one of the two was old");
    let back = reading("UP_3_", &["A/1", "A/2", "A/3"]);
    assert_eq!(told(&believe(&mut state, back, at(14))).last().unwrap(), "=A[1,2,3]");
}

#[test]
fn who_is_gone_does_not_come_back_with_a_list_that_is_older_than_the_delta() {
    let mut state = known("UP_2_", &["A/1", "A/2"]);
    delta(&mut state, "UP_1_", &["A/1 UP DELETED"]);
    let mut late = Reading::new(answer("UP_2_", &["A/1", "A/2"]), Some(NOW));
    assert!(!late.refine(&answer("UP_7_", &["A/1 UP DELETED"])));
    assert_eq!(told(&believe(&mut state, late, at(12))), ["=A[2]"]);
    let back = reading("UP_2_", &["A/1", "A/2"]);
    assert_eq!(told(&believe(&mut state, back, at(200))).last().unwrap(), "=A[1,2]");
}

#[test]
fn a_full_read_from_a_cache_that_is_older_than_what_is_known_takes_nothing_away() {
    let mut state = known("UP_3_", &["A/1", "A/2", "A/3"]);
    let old = || {
        let mut old = Reading::new(answer("UP_1_", &["A/1"]), Some(NOW));
        assert!(!old.refine(&answer("UP_3_", &[])));
        old
    };
    let batch = doubt(&mut state, old(), at(300), "one of them is old: 2 of 3 instances are missing");
    assert_eq!(told(&batch), ["=?A[1]"]);
    doubt(&mut state, old(), at(659), "one of them is old");
    // No cache is that old: the hash code itself must be wrong.
    assert_eq!(told(&believe(&mut state, old(), at(660))), ["=A[1]"]);
}

#[test]
fn a_server_is_as_young_as_what_its_delta_adds() {
    let state = State::new(rules());
    let mut empty = Reading::new(answer("", &[]), Some(NOW));
    assert!(empty.refine(&listed("UP_1_", &[instance("A/1", "1", 5)])));
    assert!(matches!(state.judge(&empty, at(0)), Verdict::Doubted(_)));
}

#[test]
fn causes_are_what_the_registry_said() {
    let mut state = known("UP_3_", &["A/1", "B/2", "C/3"]);
    assert_eq!(delta(&mut state, "UP_2_", &["A/1 UP DELETED"]).0, ["-A Deregistered"]);
    let expired = r#"{"instanceId":"2","ipAddr":"10.0.0.2","status":"UP","actionType":"DELETED","port":80,"leaseInfo":{"durationInSecs":90,"lastRenewalTimestamp":1000,"evictionTimestamp":91001}}"#;
    let (batch, _) = state.delta(listed("UP_1_", &[("B".into(), expired.into())]), at(20));
    assert_eq!(told(&batch), ["-B Expired"]);
    // Unhealthy: the service stays, empty, for it is registered, and says why.
    assert_eq!(delta(&mut state, "DOWN_1_", &["C/3 DOWN"]).0, ["+C[]"]);
    assert_eq!(delta(&mut state, "UP_1_", &["C/3 UP"]).0, ["+C[3]"]);
}

#[test]
fn every_status_but_up_is_left_out() {
    for status in ["DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN"] {
        let mut state = known("UP_2_", &["A/1", "A/2"]);
        let (said, in_step) = delta(&mut state, &format!("{status}_1_UP_1_"), &[&format!("A/2 {status}")]);
        assert_eq!((said, in_step), (vec!["+A[1]".to_owned()], true), "{status}");
    }
}

#[test]
fn what_a_full_read_says_goes_before_what_it_lacks() {
    let mut state = known("UP_4_", &["A/1", "A/2", "B/3", "C/4"]);
    // A/1 is down, which is said; A/2 and B/3 are missing, which is silence.
    let batch = believe(&mut state, reading("DOWN_1_UP_1_", &["A/1 DOWN", "C/4"]), at(300));
    assert_eq!(told(&batch), ["+A[2]", "=A[] C[4]"]);
}

#[test]
fn a_name_whose_instances_are_all_unhealthy_is_there_with_its_port_and_says_why() {
    let mut state = State::new(rules());
    let batch = believe(&mut state, reading("STARTING_1_UP_1_", &["A/1", "B/2 STARTING"]), at(0));
    assert_eq!(told(&batch), ["=A[1] B[]"]);
    let [Change::Reset { items, .. }] = &batch.0[..] else { panic!() };
    let Item::Service(b) = &items[1] else { panic!() };
    assert_eq!(b.says.service_ports.as_deref(), Some(&[80][..]));
    assert_eq!(&*b.left_out.by_reason()[0].reason, "STARTING");
    // Once it serves, its port follows from its instances, and stays when they go down again.
    for change in ["B/2 UP", "B/2 DOWN"] {
        let (batch, _) = state.delta(answer("", &[change]), at(10));
        let [Change::Upsert(Item::Service(b))] = &batch.0[..] else { panic!() };
        assert_eq!(b.says.service_ports, None);
    }
}

#[test]
fn a_full_read_that_its_own_hash_code_contradicts_is_doubtful_for_good() {
    let mut state = State::new(rules());
    for seconds in [0, 600, 6000] {
        let broken = Reading::new(answer("UP_3_", &["A/1", "A/2"]), Some(NOW));
        let batch = doubt(
            &mut state,
            broken,
            at(seconds),
            "its hash code says \"UP_3_\", what it lists is \"UP_2_\"",
        );
        assert_eq!(told(&batch), ["=?A[1,2]"]);
        assert_eq!(state.plan(at(seconds + 10)), Plan::Full(0));
    }
}

#[test]
fn a_server_restarted_empty_takes_nothing_away() {
    let mut state = known("UP_3_", &["A/1", "A/2", "B/3"]);
    let (said, in_step) = delta(&mut state, "", &[]);
    assert_eq!((said, in_step), (vec![], false));
    let batch = doubt(&mut state, reading("", &[]), at(10), "it knows nothing, as after a restart: 3 of 3");
    assert_eq!(told(&batch), ["=?"]);
    assert!(state.doubt().is_some());
    // One is back on another address of its own, one as it was.
    let back = young("UP_2_", &["A/1", "B/9"], 5);
    let batch = doubt(&mut state, back, at(20), "nothing older than 45s, as after a restart: 2 of 3");
    assert_eq!(told(&batch), ["+B[3,9]", "=?A[1] B[9]"]);
    // All are back, although it is young.
    let batch = believe(&mut state, young("UP_4_", &["A/1", "A/2", "B/3", "B/9"], 25), at(30));
    assert_eq!(told(&batch), ["=A[1,2] B[3,9]"]);
    assert!(state.doubt().is_none());
}

#[test]
fn who_has_not_come_back_when_a_server_has_settled_is_gone_silently() {
    let mut state = known("UP_2_", &["A/1", "B/2"]);
    doubt(&mut state, young("UP_1_", &["A/1"], 20), at(10), "1 of 2");
    let batch = believe(&mut state, young("UP_1_", &["A/1"], 45), at(40));
    assert_eq!(told(&batch), ["=A[1]"]);
}

#[test]
fn a_server_that_stays_empty_is_believed_after_ten_minutes() {
    let mut state = known("UP_2_", &["A/1", "B/2"]);
    doubt(&mut state, reading("", &[]), at(10), "2 of 2");
    doubt(&mut state, reading("", &[]), at(594), "2 of 2");
    assert_eq!(told(&believe(&mut state, reading("", &[]), at(595))), ["="]);
}

#[test]
fn an_instance_that_deregisters_while_its_server_is_doubted_goes_at_once() {
    let mut state = known("UP_3_", &["A/1", "A/2", "B/3"]);
    let mut back = young("UP_2_", &["A/1", "A/2"], 5);
    assert!(back.refine(&answer("UP_1_", &["A/2 UP DELETED"])));
    let batch = doubt(&mut state, back, at(20), "1 of 3");
    assert_eq!(told(&batch), ["+A[1]", "=?A[1]"]);
}

#[test]
fn the_first_read_of_a_server_that_has_just_been_started_is_doubtful() {
    let mut state = State::new(rules());
    assert_eq!(told(&doubt(&mut state, reading("", &[]), at(0), "clients may not be back yet")), ["=?"]);
    // Nothing is said piece by piece: it might replace more that was restored from disk.
    let batch = doubt(&mut state, young("UP_1_", &["A/1"], 10), at(10), "clients may not be back yet");
    assert_eq!(told(&batch), ["=?A[1]"]);
    assert_eq!(told(&believe(&mut state, young("UP_1_", &["A/1"], 46), at(46))), ["=A[1]"]);
}

#[test]
fn a_registry_that_has_always_been_empty_is_believed_once_it_has_settled() {
    let mut state = State::new(rules());
    doubt(&mut state, reading("", &[]), at(0), "it knows nothing");
    assert_eq!(told(&believe(&mut state, reading("", &[]), at(45))), ["="]);
    assert_eq!(told(&believe(&mut state, reading("", &[]), at(345))), ["="]);
}

#[test]
fn where_clients_keep_coming_and_going_a_young_server_is_believed_in_the_end() {
    let mut state = State::new(rules());
    doubt(&mut state, young("UP_1_", &["A/1"], 1), at(0), "nothing older");
    doubt(&mut state, young("UP_1_", &["A/2"], 1), at(134), "nothing older");
    believe(&mut state, young("UP_1_", &["A/3"], 1), at(135));
}

#[test]
fn a_server_without_a_clock_is_believed() {
    let mut state = State::new(rules());
    believe(&mut state, Reading::new(answer("UP_1_", &["A/1"]), None), at(0));
}

#[test]
fn a_service_that_is_silently_gone_is_missing_in_the_reset_and_removed_by_nobody() {
    let mut state = known("UP_2_", &["A/1", "B/2"]);
    assert_eq!(told(&believe(&mut state, reading("UP_1_", &["A/1"]), at(300))), ["=A[1]"]);
}

#[test]
fn another_life_says_everything_again() {
    let mut state = known("UP_1_", &["A/1"]);
    state.begin();
    assert_eq!(state.plan(at(1)), Plan::Full(0));
    assert_eq!(told(&believe(&mut state, reading("UP_1_", &["A/1"]), at(1))), ["=A[1]"]);
}

#[test]
fn a_virtual_address_is_a_name_of_its_own_unless_an_application_has_it() {
    let mut state = State::new(rules());
    let named = |app: &str, id: u32, vip: &str| {
        let json = format!(
            r#"{{"instanceId":"{id}","ipAddr":"10.0.0.{id}","status":"UP","port":80,"vipAddress":"{vip}"}}"#
        );
        (app.to_owned(), json)
    };
    let all = [named("ORDERS", 1, "orders"), named("ORDERS", 2, "Shop,pay"), named("BILLS", 3, "shop")];
    let first = Reading::new(listed("UP_3_", &all), Some(NOW));
    assert_eq!(told(&believe(&mut state, first, at(0))), ["=BILLS[3] ORDERS[1,2] pay[2] Shop[3,2]"]);
    // The application goes, and with it its name; the virtual address of the same name has nobody either.
    let (batch, _) = state.delta(
        listed(
            "UP_1_",
            &all[..2]
                .iter()
                .map(|(app, json)| {
                    (app.clone(), json.replace("\"status\"", "\"actionType\":\"DELETED\",\"status\""))
                })
                .collect::<Vec<_>>(),
        ),
        at(10),
    );
    assert_eq!(told(&batch), ["-ORDERS Deregistered", "-pay Deregistered", "-Shop Deregistered", "+shop[3]"]);
    // Another application says that it answers to the name.
    let (batch, _) = state.delta(listed("UP_2_", &[named("NEW", 4, "orders")]), at(20));
    assert_eq!(told(&batch), ["+NEW[4]", "+orders[4]"]);
    let (batch, _) = state.delta(listed("UP_3_", &[named("ORDERS", 5, "x")]), at(30));
    assert_eq!(told(&batch), ["-orders Deregistered", "+ORDERS[5]", "+x[5]"]);
}

#[test]
fn one_malformed_instance_among_thousands_is_dropped_alone_and_named() {
    let mut all: Vec<(String, String)> =
        (0..3000).map(|n| instance(&format!("A{n}/{}", n % 200), "1", 3600)).collect();
    all[1500].1 = r#"{"instanceId":"bad","status":"UP","ipAddr":"10.0.0.1","port":0}"#.into();
    let mut state = State::new(rules());
    let batch = believe(&mut state, Reading::new(listed("UP_3000_", &all), Some(NOW)), at(0));
    let [Change::Reset { items, .. }] = &batch.0[..] else { panic!() };
    let (good, bad): (Vec<_>, Vec<_>) = items.iter().partition(|i| matches!(i, Item::Service(_)));
    assert_eq!(good.len(), 2999);
    assert_eq!(
        told_item(bad[0]),
        "A1500!no instance of it makes sense: bad: its `port` is 0: nothing can listen there"
    );
    assert_eq!(state.faults().collect::<Vec<_>>(), ["a1500/bad: its `port` is 0: nothing can listen there"]);
}

#[test]
fn an_instance_listed_twice_is_one_and_the_last_counts() {
    let mut state = State::new(rules());
    let twice = [instance("A/1", "old", 3600), instance("A/1", "new", 3600)];
    let batch = believe(&mut state, Reading::new(listed("UP_1_", &twice), Some(NOW)), at(0));
    let [Change::Reset { items, .. }] = &batch.0[..] else { panic!() };
    let [Item::Service(service)] = &items[..] else { panic!() };
    assert_eq!(service.endpoints.len(), 1);
    assert_eq!(service.endpoints[0].labels.get("v"), Some("new"));
}

#[test]
fn a_lease_that_has_run_out_counts_only_where_that_is_asked_for() {
    for (expired, want) in [(ExpiredLeases::Keep, "=A[1,2]"), (ExpiredLeases::Drop, "=A[2]")] {
        let mut rules = rules();
        rules.shape.expired = expired;
        let mut state = State::new(rules);
        let both = [instance("A/1", "1", 3600), instance("A/2", "1", 60)];
        let batch = believe(&mut state, Reading::new(listed("UP_2_", &both), Some(NOW)), at(0));
        assert_eq!(told(&batch), [want]);
        assert_eq!(state.stale(), 1);
        // An entry of before, still in the queue, does not bring it back; a new registration does.
        assert_eq!(told(&state.delta(listed("UP_2_", &both), at(10)).0), Vec::<String>::new());
        let again = state.delta(listed("UP_2_", &[instance("A/1", "2", 0)]), at(20)).0;
        assert_eq!(told(&again), ["+A[1,2]"]);
    }
}

#[test]
fn comparing_a_hundred_thousand_instances_with_the_hash_code_takes_less_than_five_milliseconds() {
    let entries = (0..100_000).map(|n: u32| {
        let (app, id) = (format!("A{}", n / 10), format!("{n}"));
        let facts = Facts {
            ip: "10.0.0.1".parse().ok().map(crate::model::endpoint::Address::Ip),
            host: None,
            plain: Some(80),
            secure: None,
            metadata: crate::model::labels::Labels::EMPTY,
            cloud_zone: None,
        };
        Entry {
            instance: Instance {
                key: InstanceKey { app: app.to_lowercase().into(), id: id.into() },
                app: app.into(),
                status: if n.is_multiple_of(7) { Status::Down } else { Status::Up },
                overridden: Status::Unknown,
                vips: Box::default(),
                secure_vips: Box::default(),
                facts: Ok(facts),
                stale: false,
            },
            action: Action::Put,
            lease: Lease::default(),
        }
    });
    let answer = Applications {
        hash: Some("DOWN_14286_UP_85714_".into()),
        entries: entries.collect(),
        nameless: vec![],
    };
    let mut state = State::new(rules());
    let mut first = Reading::new(answer, None);
    assert!(first.refine(&self::answer("DOWN_14286_UP_85714_", &[])));
    believe(&mut state, first, at(0));
    // The best of some: a busy machine takes its time now and then, whatever the code does.
    let took = (1..=20).map(|n: u32| {
        let delta = self::answer(&format!("DOWN_14286_UP_{}_", 85_714 + n), &[&format!("NEW/{n}")]);
        let began = tokio::time::Instant::now();
        let (batch, in_step) = state.delta(delta, at(10));
        let took = began.elapsed();
        assert!(in_step && batch.0.len() == 1);
        took
    });
    let best = took.min().unwrap();
    assert!(best < Duration::from_millis(5), "{best:?}");
}
