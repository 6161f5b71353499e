//! What a registry's adapter that fails does to everything else: nothing.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::app::settings;
use crate::config::Config;
use crate::model::change::{Batch, Change, Item, Trust};
use crate::model::endpoint::{Address, Endpoint, EndpointPorts};
use crate::model::host::Host;
use crate::model::service::{ItemKind, Scope, Service, ServiceKey};
use crate::pipeline::Pipeline;
use crate::pipeline::intake::Changes;
use crate::registry::{BoxFuture, Registry, RegistryError};
use crate::resource::collection::Collection;
use crate::store::StoreReader;

/// What the lives of an adapter do, one after the other; the last for ever.
#[derive(Debug, Clone, Copy)]
enum Life {
    /// It says what it has, and panics.
    ReadsAndPanics,
    /// It cannot even be made.
    IsNotMade,
    /// It says what it has, and lives.
    Reads,
}

struct Fake {
    name: &'static str,
    lives: &'static [Life],
    lived: AtomicU64,
}

impl Factory for Fake {
    fn scopes(&self) -> Vec<Scope> {
        vec![Scope::new("all")]
    }

    fn feeds(&self) -> &'static [Collection] {
        &[Collection::ServiceEntry]
    }

    fn registry(&self) -> Box<dyn Registry> {
        let life = usize::try_from(self.lived.fetch_add(1, Ordering::SeqCst)).unwrap();
        let what = *self.lives.get(life).unwrap_or(self.lives.last().unwrap());
        assert!(!matches!(what, Life::IsNotMade), "a bug in the factory");
        Box::new(One { name: self.name, life, what })
    }
}

struct One {
    name: &'static str,
    life: usize,
    what: Life,
}

impl Registry for One {
    fn run(
        self: Box<Self>,
        changes: Changes,
        stop: CancellationToken,
    ) -> BoxFuture<Result<(), RegistryError>> {
        Box::pin(async move {
            // Each life reads an endpoint of its own, beside the first.
            let endpoints = [1, self.life + 1].map(|n| {
                Endpoint::at(Address::parse(&format!("10.0.0.{n}")).unwrap(), EndpointPorts::One(80))
            });
            let key =
                ServiceKey { kind: ItemKind::Service, name: self.name.into(), scope: Scope::new("all") };
            let hosts = vec![Host::parse(&format!("{}.test", self.name)).unwrap()];
            let service = Service { hosts, endpoints: endpoints.into(), ..Service::new(key, self.name) };
            let items = vec![Item::Service(Arc::new(service))];
            let read = Change::Reset { scope: Scope::new("all"), items, trust: Trust::Complete };
            changes.send(Batch(vec![read])).await?;
            assert!(!matches!(self.what, Life::ReadsAndPanics), "a bug in the adapter");
            stop.cancelled().await;
            Ok(())
        })
    }
}

async fn served(reader: &mut StoreReader, name: &str) -> crate::resource::encoded::Version {
    loop {
        if let Some(found) = reader.current().get(Collection::ServiceEntry).and_then(|c| c.get(name)) {
            return found.version;
        }
        reader.next().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_one_adapter_restarts_that_adapter_alone_and_its_state_is_served_meanwhile() {
    let text = "registries: [{name: bad, files: {path: x}}, {name: good, files: {path: y}}]";
    let config = Config::parse(text, "c.yaml", Path::new("")).unwrap();
    let status = Arc::new(Status::default());
    let mut registries = Registries::new(Arc::clone(&status));
    let prepared = registries.prepare(&config.registries);
    let lives: [(&str, &'static [Life]); 2] = [
        ("bad", &[Life::ReadsAndPanics, Life::IsNotMade, Life::IsNotMade, Life::Reads]),
        ("good", &[Life::Reads]),
    ];
    let mut settings = settings::of(&config, prepared);
    for (name, lives) in lives {
        let fake = Arc::new(Fake { name, lives, lived: AtomicU64::new(0) });
        registries.running.get_mut(&RegistryName::new(name)).unwrap().factory = fake;
    }
    settings.registries.iter_mut().for_each(|r| r.scopes = vec![Scope::new("all")]);
    let (pipeline, handle, mut reader) = Pipeline::new(settings, Arc::default());
    let stop = CancellationToken::new();
    let running = Owned::spawn({
        let stop = stop.clone();
        async move { pipeline.run(stop).await.unwrap() }
    });
    registries.start(&handle);
    // Both are served, although one has panicked by then, or will.
    let (bad, good) = ("chandler/bad.test", "chandler/good.test");
    let first = (served(&mut reader, bad).await, served(&mut reader, good).await);
    // Until its fourth life has read.
    while served(&mut reader, bad).await == first.0 {
        reader.next().await.unwrap();
    }
    let rows = status.registries();
    let row = |name: &str| rows[&RegistryName::new(name)].clone();
    assert_eq!((row("bad").failures, row("bad").up), (3, true));
    assert_eq!((row("good").failures, row("good").up), (0, true));
    assert_eq!(served(&mut reader, good).await, first.1);
    registries.stop().await;
    stop.cancel();
    running.ended().await;
}
