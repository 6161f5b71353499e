//! `server.limits`: how much one peer may take of what all share.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::units::{positive_duration, show_duration, show_size, size};
use crate::limit::{Limits, Rate};
use crate::yaml::fields::Fields;
use crate::yaml::{Fault, Node};

/// What stands for no limit.
const OFF: &str = "off";
/// Beyond it a limit limits nothing.
const MANY: u32 = 1_000_000;
/// A stream that may watch more would not be told so by this limit: 128 watches of any kind are the most.
const MOST_UNKNOWN: usize = 100;

/// The two keys of a rate.
type Keys = [&'static str; 2];

const OPENS: Keys = ["streamOpensPerSecond", "streamOpensBurst"];
const REQUESTS: Keys = ["requestsPerSecond", "burst"];
const REQUESTS_PER_PEER: Keys = ["requestsPerSecondPerPeer", "burstPerPeer"];

pub(super) fn decode(mut f: Fields<'_, '_>) -> Limits {
    let d = Limits::default();
    let count = |n: &Node| n.integer(1, MANY as usize);
    Limits {
        streams: f.or("streams", d.streams, count),
        streams_per_identity: f.or("streamsPerIdentity", d.streams_per_identity, |n| or_off(n, count)),
        stream_opens: rate(&mut f, OPENS, d.stream_opens),
        requests: rate(&mut f, REQUESTS, d.requests),
        requests_per_peer: rate(&mut f, REQUESTS_PER_PEER, d.requests_per_peer),
        // Less than the smallest would refuse what istiod sends; gRPC's own length has 32 bits.
        message_size: f
            .get("messageSize", |n| size(n, 64 << 10, 1 << 30))
            .and_then(|s| usize::try_from(s).ok())
            .unwrap_or(d.message_size),
        unknown_collections: f
            .or("unknownCollections", d.unknown_collections, |n| n.integer(0, MOST_UNKNOWN)),
        read_timeout: f.or("readTimeout", d.read_timeout, time_or_off),
        first_request_timeout: f.or("firstRequestTimeout", d.first_request_timeout, time_or_off),
        acknowledge_warning: f.or("acknowledgeWarning", d.acknowledge_warning, time_or_off),
    }
}

/// In the form in which it is written.
pub(super) fn shown(limits: &Limits) -> Value {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.into(), value);
    put("streams", json!(limits.streams));
    put("streamsPerIdentity", limits.streams_per_identity.map_or(json!(OFF), |n| json!(n)));
    let rates = [
        (OPENS, limits.stream_opens),
        (REQUESTS, limits.requests),
        (REQUESTS_PER_PEER, limits.requests_per_peer),
    ];
    for ([per_second, burst], rate) in rates {
        put(per_second, rate.map_or(json!(OFF), |r| json!(r.per_second())));
        if let Some(rate) = rate {
            put(burst, json!(rate.burst()));
        }
    }
    put("messageSize", json!(show_size(limits.message_size as u64)));
    put("unknownCollections", json!(limits.unknown_collections));
    let time = |time: Option<Duration>| json!(time.map_or(OFF.into(), show_duration));
    put("readTimeout", time(limits.read_timeout));
    put("firstRequestTimeout", time(limits.first_request_timeout));
    put("acknowledgeWarning", time(limits.acknowledge_warning));
    Value::Object(out)
}

fn rate(f: &mut Fields<'_, '_>, [per_second, burst]: Keys, default: Option<Rate>) -> Option<Rate> {
    let number = |n: &Node| n.integer(1, MANY);
    let rate = f.or(per_second, default.map(Rate::per_second), |n| or_off(n, number));
    let node = f.take(burst);
    let most = node.and_then(|n| f.findings().note(number(n)));
    if let (None, Some(node)) = (rate, node) {
        let words = format!("means nothing while `{per_second}` is off: leave it out");
        f.findings().push(node.fault(words));
    }
    Rate::new(rate?, most.or(default.map(Rate::burst))?)
}

fn time_or_off(node: &Node) -> Result<Option<Duration>, Fault> {
    or_off(node, positive_duration)
}

/// `off`, or what `read` makes of it.
fn or_off<T>(node: &Node, read: impl Fn(&Node) -> Result<T, Fault>) -> Result<Option<T>, Fault> {
    if node.text().is_ok_and(|text| text == OFF) {
        return Ok(None);
    }
    read(node).map(Some).map_err(|f| Fault { message: format!("{}, or `{OFF}`", f.message), ..f })
}
