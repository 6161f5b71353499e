//! What a clock that was stepped between two processes costs: nothing.

use std::path::Path;
use std::time::SystemTime;

use super::*;
use crate::config::Config;
use crate::model::admitted::Admitted;
use crate::model::catalog::Known;
use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
use crate::model::host::Host;
use crate::model::service::{ItemKind, RegistryName, Scope, Service, ServiceKey};
use crate::pipeline::image::{ItemImage, RegistryImage};
use crate::pipeline::metrics::PipelineMetrics;
use crate::resource::collection::Collection;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The wall clock in seconds, and how long the boot of that name lasts.
fn at(wall: u64, boot: &str, up: u64) -> Now {
    let wall = SystemTime::UNIX_EPOCH + YEAR * 50 + Duration::from_secs(wall);
    Now { wall, boot: Some((boot.into(), Duration::from_secs(up))) }
}

fn saved() -> Now {
    at(0, "one", 1_000)
}

/// A registry with one service.
fn image() -> Image {
    let key = ServiceKey { kind: ItemKind::Service, name: "web".into(), scope: Scope::new("files") };
    let endpoint = Endpoint::at(Address::parse("10.0.0.1").unwrap(), EndpointPorts::One(80));
    let service = Service { endpoints: vec![endpoint], ..Service::new(key.clone(), "web") };
    let admitted = Admitted::claiming(vec![Host::parse("web.test").unwrap()]);
    let known = Some(Known::Service(service.into(), admitted.into()));
    let items = [(key, ItemImage { known, ..ItemImage::default() })].into();
    let registry = RegistryImage { items, ..RegistryImage::default() };
    Image { registries: [(RegistryName::new("a"), registry)].into(), ..Image::default() }
}

/// Whether a process that starts by that clock serves what was saved.
async fn is_served(dir: &Path, clock: fn() -> Now) -> bool {
    let text =
        format!("registries: [{{name: a, files: {{path: nowhere}}}}]\nstate: {{dir: '{}'}}", dir.display());
    let config = Config::parse(&text, "c.yaml", dir).unwrap();
    let (parts, mut pipeline) = crate::app::parts(&config, PipelineMetrics::default());
    let kept = config.state.kept().unwrap();
    let state = State::open(kept, DiskMetrics::default(), clock, &mut pipeline).unwrap();
    let (stop, mut reader) = (parts.shutdown.stopped(), parts.reader.clone());
    let mut running = tokio::task::JoinSet::new();
    running.spawn(pipeline.run(stop));
    let registries = parts.handle.questions.registries().await.unwrap();
    let restored = registries[0].restored_seconds.is_some();
    // A collection that nobody feeds comes with the first snapshot.
    let snapshot = loop {
        let next = reader.next().await.unwrap();
        if next.get(Collection::Gateway).is_some() {
            break next;
        }
    };
    assert_eq!(snapshot.get(Collection::ServiceEntry).is_some_and(|c| c.len() == 1), restored);
    parts.shutdown.stop();
    while running.join_next().await.is_some() {}
    state.close().await;
    restored
}

#[tokio::test]
async fn a_wall_clock_that_is_stepped_loses_nothing() {
    let clocks: [(fn() -> Now, bool); 6] = [
        (|| at(60, "one", 1_060), true),
        // Stepped, forth and back, while the machine is up.
        (|| at(40 * 365 * 86_400, "one", 1_060), true),
        (|| Now { wall: SystemTime::UNIX_EPOCH, ..at(0, "one", 1_060) }, true),
        // Another boot: back is new; forth cannot be told from a long time.
        (|| Now { wall: SystemTime::UNIX_EPOCH, ..at(0, "two", 5) }, true),
        (|| at(86_000, "two", 5), true),
        (|| at(2 * 86_400, "two", 5), false),
    ];
    for (n, (clock, served)) in clocks.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let mut directory = Directory::new(dir.path());
        let stamp = saved().stamp("test");
        directory.write(&stamp, |out| codec::encode(&image(), |frame| out.put(frame))).unwrap();
        drop(directory);
        assert_eq!(is_served(dir.path(), clock).await, served, "case {n}");
        // Whatever is served, saving goes on.
        let bytes = Directory::new(dir.path()).read().unwrap().unwrap();
        assert_eq!(
            disk::read(&bytes).stamp,
            Some(clock().stamp(concat!("chandler ", env!("CARGO_PKG_VERSION"))))
        );
    }
}
