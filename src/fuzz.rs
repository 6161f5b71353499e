//! Doors for the fuzzer (`tests/fuzz`): everything that reads what arrives from outside, as functions of bytes. They panic
//! where a rule is broken. The corpus that the fuzzer has grown is replayed by the tests here.
#![allow(clippy::panic, reason = "how a fuzzer learns of a fault")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::convert::mapping::Mapping;
use crate::convert::naming::Template;
use crate::convert::validate::Release;
use crate::model::change::{Batch, Change, Trust};
use crate::model::service::{Protocol, RegistryName, Scope};
use crate::model::time::Moment;
use crate::pipeline::debounce::Cadence;
use crate::pipeline::desired::Terms;
use crate::pipeline::engine::{Engine, Settings};
use crate::pipeline::image::codec;
use crate::pipeline::intake::{Delivery, Generation};
use crate::pipeline::reading::{Identity, RegistrySettings, Startup};
use crate::resource::collection::Collection;
use crate::store::disk;

pub use crate::delivery::fuzz::conversation;

/// A configuration file.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text, "fuzz.yaml", Path::new("/")) {
        Ok(config) => drop(config.shown()),
        Err(errors) => assert!(!errors.to_string().is_empty(), "a refusal has words"),
    }
}

/// A services file, through decoder, naming, conversion and validation: what comes out, Istio takes.
pub fn files(bytes: &[u8]) {
    let Ok(Some(items)) = crate::registry::files::fuzz::decode(bytes) else { return };
    let mut engine = Engine::new(settings());
    let change = Change::Reset { scope: Scope::new("files"), items, trust: Trust::Complete };
    let registry = RegistryName::new("fuzz");
    engine
        .deliver(Delivery { registry, generation: Generation(1), batch: Batch(vec![change]) }, Moment::START);
    while engine.work(1024, Moment::START) {}
    let Some(snapshot) = engine.flush(Moment::START) else { return };
    for collection in [Collection::ServiceEntry, Collection::WorkloadEntry] {
        for resource in snapshot.get(collection).into_iter().flat_map(|c| c.iter()) {
            let verdict = crate::convert::validate::check(resource, Release::new(1, 9));
            assert!(verdict.is_accepted(), "{resource:?} is served: {verdict:?}");
        }
    }
}

/// An answer of an Eureka server, through decoder, ledger and composition.
#[cfg(feature = "eureka")]
pub fn eureka(bytes: &[u8]) {
    match crate::registry::eureka::fuzz::services(bytes) {
        Ok(services) => drop(services),
        Err(why) => assert!(!why.is_empty(), "a refusal has words"),
    }
}

/// The state on disk: as a file, and as what stands in one of its frames, past the checksum. Whatever is read is served
/// without a panic, and written again it is the same.
pub fn state(bytes: &[u8]) {
    drop(disk::read(bytes));
    let (image, _) = codec::decode([&head()[..], bytes]);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let put = |frame: &[u8]| {
        frames.push(frame.to_vec());
        Ok::<_, std::convert::Infallible>(())
    };
    let Ok(()) = codec::encode(&image, put);
    let (again, faults) = codec::decode(frames.iter().map(Vec::as_slice));
    assert!(again == image && faults.is_empty(), "{faults:?}\n{image:?}\n{again:?}");
    let (mut engine, now) = (Engine::new(settings()), image.now);
    engine.keep_news();
    engine.restore(image, Duration::ZERO, Duration::MAX);
    while engine.work(1024, now) {}
    drop(engine.flush(now));
    drop(engine.take_news(now));
}

/// A frame without which no other counts.
fn head() -> Vec<u8> {
    use prost::Message;
    let head = crate::proto::state::Head::default();
    let part = Some(crate::proto::state::part::Part::Head(head));
    crate::proto::state::Part { part }.encode_to_vec()
}

/// What an instance of Dubbo answers to who asks what it provides, or the data of its node in ZooKeeper.
#[cfg(feature = "zookeeper")]
pub fn dubbo(bytes: &[u8]) {
    for why in crate::registry::zookeeper::fuzz::read(bytes) {
        assert!(
            !why.is_empty() && why.len() < 400,
            "a refusal has words, and not a stranger's in any number: {why}"
        );
    }
}

/// An answer of Consul, to whatever it was asked.
#[cfg(feature = "consul")]
pub fn consul(bytes: &[u8]) {
    match crate::registry::consul::fuzz::read(bytes) {
        Ok(_) => {}
        Err(why) => assert!(!why.is_empty(), "a refusal has words"),
    }
}

fn settings() -> Settings {
    let template = |text| Template::parse(text, &["service"]).unwrap_or_else(|e| panic!("{e}"));
    let mapping = Mapping::new(Vec::new(), template("chandler"), Protocol::Auto);
    let registry = RegistrySettings {
        name: RegistryName::new("fuzz"),
        generation: Generation(1),
        policy: Arc::new(mapping.into()),
        startup: Startup::default(),
        scopes: vec![Scope::new("files")],
        feeds: vec![Collection::ServiceEntry, Collection::WorkloadEntry],
        identity: Identity::default(),
    };
    Settings {
        registries: vec![registry],
        merging: crate::model::merging::Merging::default(),
        virtual_ranges: "244.0.0.0/6".parse().into_iter().collect(),
        pins: BTreeMap::new(),
        terms: Terms { oldest: Release::new(1, 9) },
        cadence: Cadence::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every input that the fuzzer found worth keeping, and what people would write.
    fn replay(target: &str, door: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
        let inputs = std::fs::read_dir(corpus).unwrap().map(|e| e.unwrap().path());
        let inputs: Vec<_> = inputs.filter(|p| p.is_file()).collect();
        assert!(inputs.len() >= 3, "no corpus for {target}");
        for input in inputs {
            door(&std::fs::read(input).unwrap());
        }
    }

    #[test]
    fn no_configuration_of_the_corpus_panics() {
        replay("config", config);
    }

    #[test]
    fn what_any_file_of_the_corpus_says_is_served_only_if_istio_takes_it() {
        replay("files", files);
    }

    #[cfg(feature = "eureka")]
    #[test]
    fn no_answer_of_eureka_of_the_corpus_panics() {
        replay("eureka", eureka);
    }

    #[cfg(feature = "zookeeper")]
    #[test]
    fn nothing_of_dubbo_of_the_corpus_panics() {
        replay("dubbo", dubbo);
    }

    #[test]
    fn no_state_of_the_corpus_panics_and_each_is_written_as_it_was_read() {
        replay("state", state);
    }

    #[cfg(feature = "consul")]
    #[test]
    fn no_answer_of_consul_of_the_corpus_panics() {
        replay("consul", consul);
    }

    #[test]
    fn no_conversation_of_the_corpus_breaks_off_in_a_panic() {
        replay("conversation", conversation);
    }
}
