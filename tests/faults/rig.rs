//! All of it, started: registries, Chandler, istiod, Envoy, the eyes, and calls to every service. And what is done with it: a true
//! change, seen through.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::disk::{self, Disk};
use crate::ledger::{Ledger, Seat};
use crate::shared::{MERGE, visible};
use crate::sites::{Kind, MOVING, Site};
use crate::support::{Age, Chandler, Envoy, Istiod, PATIENCE, eventually};
use crate::watch::{self, Calls};

pub(crate) struct Rig {
    pub(crate) sites: BTreeMap<Kind, Site>,
    pub(crate) chandler: Chandler,
    pub(crate) clock: Clock,
    pub(crate) disk: Disk,
    pub(crate) istiod: Istiod,
    _envoy: Envoy,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) calls: Arc<Calls>,
    /// Chandler's further configuration, without the disk's.
    config: String,
    /// None of them ends by itself.
    eyes: JoinSet<()>,
}

/// Something did not become right in its time.
#[derive(Debug)]
pub(crate) struct Late(pub(crate) String);

impl Rig {
    /// Everything is right, and every service is being called. `config` is for Chandler, beside its registries.
    pub(crate) async fn start(kinds: &[Kind], config: &str) -> Self {
        let mut eyes = JoinSet::new();
        eyes.spawn(async { watch::instances().await.expect("the instances' port is free") });
        let sites = join_all(kinds.iter().map(|kind| Site::start(*kind))).await;
        let registries: String = sites.iter().map(Site::config).collect();
        let (clock, disk) = (Clock::make().await, Disk::make().await);
        let builder = Chandler::build().registries(&registries).config(config).config(&disk.config());
        let builder = clock.environment().iter().fold(builder, |b, (name, value)| b.environment(name, value));
        let mut chandler = builder.start().await;
        let sites: BTreeMap<Kind, Site> = sites.into_iter().map(|site| (site.kind, site)).collect();
        let ledger = Arc::new(Ledger::default());
        ledger.will_be(&visible(&registered(&sites)));
        chandler.synced().await;
        let istiod = Istiod::build(Age::V1_18, chandler.grpc).for_plain_envoy().start().await;
        let envoy = Envoy::start(&istiod).await;
        eyes.spawn(watch::wire(chandler.grpc, Arc::clone(&ledger)));
        eyes.spawn(watch::istiod(istiod.grpc_addr(), Arc::clone(&ledger), watch::ISTIOD));
        eyes.spawn(watch::envoy(envoy.admin(), Arc::clone(&ledger)));
        let (calls, config) = (Arc::default(), config.to_owned());
        let mut rig =
            Self { sites, chandler, clock, disk, istiod, _envoy: envoy, ledger, calls, config, eyes };
        rig.right(PATIENCE).await.unwrap_or_else(|late| panic!("not even at the start: {}", late.0));
        rig.call_everything().await;
        // From here on every failure counts; before, listeners were still coming.
        rig.calls.take_failed();
        rig
    }

    /// Every service is called from now on, at its virtual address; each has been answered once.
    async fn call_everything(&mut self) {
        let hosts: BTreeSet<String> =
            self.sites.values().flat_map(Site::present).map(|s| s.host.clone()).collect();
        for host in &hosts {
            let path = format!("/api/v1/resources?collection=serviceentries&name=chandler/{host}");
            let row = self.chandler.api(&path).await;
            let at = row["object"]["spec"]["addresses"][0].as_str().and_then(|at| at.parse().ok());
            let at: Ipv4Addr = at.unwrap_or_else(|| panic!("no virtual address in {row}"));
            let (calls, ledger) = (Arc::clone(&self.calls), Arc::clone(&self.ledger));
            eventually(host, PATIENCE, async || {
                watch::one_call(host, at).await.ok().filter(|said| said.contains(" 200 "))
            })
            .await;
            self.eyes.spawn(watch::call(host.clone(), at, calls, ledger));
        }
    }

    pub(crate) fn site(&mut self, kind: Kind) -> &mut Site {
        self.sites.get_mut(&kind).expect("a registry of this rig")
    }

    /// Who is registered where.
    pub(crate) fn registered(&self) -> BTreeMap<Kind, BTreeSet<Seat>> {
        registered(&self.sites)
    }

    /// Waits until everyone sees exactly what is registered.
    pub(crate) async fn right(&mut self, limit: Duration) -> Result<Duration, Late> {
        self.right_for(&watch::ALL, limit).await
    }

    /// The same, with more who look on.
    pub(crate) async fn right_for(
        &mut self,
        who: &[&'static str],
        limit: Duration,
    ) -> Result<Duration, Late> {
        let since = Instant::now();
        let mut looks = tokio::time::interval(Duration::from_millis(10));
        loop {
            looks.tick().await;
            if self.ledger.settle(who) {
                return Ok(since.elapsed());
            }
            assert!(self.eyes.try_join_next().is_none(), "a watcher has ended");
            if since.elapsed() > limit {
                return Err(Late(format!("after {limit:?}:\n{}", self.ledger.difference())));
            }
        }
    }

    /// One instance takes over from another, in order. Nobody waits for it to be seen.
    pub(crate) async fn change(&mut self, kind: Kind) {
        let (old, new) = self.site(kind).successor();
        self.ledger.arriving(&new);
        self.site(kind).add(&new).await;
        self.ledger.leaving(&old);
        self.site(kind).remove(&old).await;
    }

    /// [`Rig::change`] in every registry.
    pub(crate) async fn change_all(&mut self) {
        let kinds: Vec<Kind> = self.sites.keys().copied().collect();
        for kind in kinds {
            self.change(kind).await;
        }
    }

    /// Another configuration, of which nobody may see anything, has been taken; an even `round` is the one of the start.
    pub(crate) async fn configure(&mut self, round: usize) {
        let registries: String = self.sites.values().map(Site::config).collect();
        let (registries, push, took) = if round.is_multiple_of(2) {
            (registries, "", "1s")
        } else {
            let slower = registries
                .replace("whole: 20s", "whole: 19s")
                .replace("sessionTimeout: 2s", "sessionTimeout: 3s");
            (slower, "push: {topologyQuiet: 900ms}\n", "900ms")
        };
        let further = format!("{push}{}{}", self.config, self.disk.config());
        self.chandler.write_registries(&registries, &further);
        self.taken(|shown| shown["push"]["topologyQuiet"] == took).await;
    }

    /// The same configuration has been taken, but for a registry that is left out; `None`: all of it. Rules about who shares
    /// its hosts with whom go with it.
    pub(crate) async fn configure_without(&mut self, out: Option<Kind>) {
        let left: Vec<&Site> = self.sites.values().filter(|site| Some(site.kind) != out).collect();
        let registries: String = left.iter().map(|site| site.config()).collect();
        let names: Vec<String> = left.iter().map(|site| site.kind.id()).collect();
        let config = if out.is_some() { self.config.replace(MERGE, "") } else { self.config.clone() };
        self.chandler.write_registries(&registries, &format!("{config}{}", self.disk.config()));
        self.taken(|shown| names_of(&shown["registries"]) == names).await;
    }

    /// The same configuration has been taken, but that every registry's name has this at its end.
    pub(crate) async fn configure_names(&mut self, end: &str) {
        let renamed =
            |site: &Site| site.config().replacen(&site.kind.id(), &format!("{}{end}", site.kind.id()), 1);
        let registries: String = self.sites.values().map(renamed).collect();
        self.chandler.write_registries(&registries, &format!("{}{}", self.config, self.disk.config()));
        let names: Vec<String> = self.sites.keys().map(|kind| format!("{}{end}", kind.id())).collect();
        self.taken(|shown| names_of(&shown["registries"]) == names).await;
    }

    /// Waits until there is no registry but those whose names end so: what was configured before is gone.
    pub(crate) async fn only_names(&self, end: &str) {
        let names: Vec<String> = self.sites.keys().map(|kind| format!("{}{end}", kind.id())).collect();
        eventually("the registries of old names to be gone", PATIENCE, async || {
            let rows = self.chandler.api("/api/v1/registries").await;
            (BTreeSet::from_iter(names_of(&rows)) == BTreeSet::from_iter(names.clone())).then_some(())
        })
        .await;
    }

    async fn taken(&self, taken: impl Fn(&Value) -> bool) {
        eventually("the configuration to be taken", PATIENCE, async || {
            taken(&self.chandler.api("/api/v1/config").await).then_some(())
        })
        .await;
    }

    /// Waits until Chandler has looked at its clock since that was stepped.
    pub(crate) async fn clock_shows(&self) {
        eventually("Chandler to see the step of its clock", PATIENCE, async || {
            let metrics = self.chandler.telemetry("/metrics").await.body;
            let lines = metrics
                .lines()
                .filter(|line| line.starts_with("chandler_registry_last_success_timestamp_seconds{"));
            let mut times = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
            times.any(|time| (time - self.clock.now()).abs() < 1_000.0).then_some(())
        })
        .await;
    }

    /// Kills Chandler at once: its state is what was saved up to five seconds ago.
    pub(crate) async fn kill_forgetful(&mut self) {
        self.chandler.kill().await;
        let moving = self.sites.keys().map(|kind| kind.seat(MOVING, 0).host).collect();
        self.ledger.memory_may_be_old(&moving);
    }

    /// Kills Chandler once its state is what it knows.
    pub(crate) async fn kill_saved(&mut self) {
        disk::saved(self).await;
        self.chandler.kill().await;
    }

    /// What the API says of a registry; nothing if nobody answers.
    pub(crate) async fn row(&self, kind: Kind) -> Option<Value> {
        let answer = self.chandler.place().get(self.chandler.admin, "/api/v1/registries").await?;
        let rows: Value = serde_json::from_str(&answer.body).ok()?;
        rows.as_array()?.iter().find(|row| row["name"] == kind.id()).cloned()
    }

    /// Waits until Chandler says that something is wrong with a registry, or holds something of it.
    pub(crate) async fn noticed(&self, kind: Kind) -> Result<(), Late> {
        self.row_where(kind, "notices that something is wrong", |row| {
            row["up"] == false || row["problem"].is_string() || holds(row)
        })
        .await
    }

    /// Waits until Chandler has seen that everything is missing, and does not believe it.
    pub(crate) async fn disbelieved(&self, kind: Kind) -> Result<(), Late> {
        let doubt = |row: &Value| row["problem"].as_str().is_some_and(|why| why.contains("not believed"));
        self.row_where(kind, "disbelieves what it reads", |row| doubt(row) || holds(row)).await
    }

    /// Waits until Chandler holds nothing of it any more: everybody who was missing has been seen again.
    pub(crate) async fn believed(&self, kind: Kind) -> Result<(), Late> {
        self.row_where(kind, "has seen everybody again", |row| !holds(row)).await
    }

    /// Waits until Chandler holds so many endpoints of it.
    pub(crate) async fn holds(&self, kind: Kind, count: usize) -> Result<(), Late> {
        self.row_where(kind, &format!("holds {count} endpoints"), |row| row["heldEndpoints"] == count).await
    }

    /// Waits until Chandler says this of what is wrong with it.
    pub(crate) async fn says(&self, kind: Kind, words: &str) -> Result<(), Late> {
        let says = |row: &Value| row["problem"].as_str().is_some_and(|why| why.contains(words));
        self.row_where(kind, &format!("says {words:?}"), says).await
    }

    async fn row_where(&self, kind: Kind, what: &str, accept: impl Fn(&Value) -> bool) -> Result<(), Late> {
        let since = Instant::now();
        loop {
            let row = self.row(kind).await;
            if row.as_ref().is_some_and(&accept) {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                return Err(Late(format!("nothing shows that Chandler {what} of {}: {row:?}", kind.name())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until something has been spoilt on the way to a registry.
    pub(crate) async fn touched(&mut self, kind: Kind, before: usize) -> Result<(), Late> {
        let since = Instant::now();
        while self.site(kind).touched() == before {
            if since.elapsed() > PATIENCE {
                return Err(Late(format!("nothing passes between Chandler and {}", kind.name())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

fn registered(sites: &BTreeMap<Kind, Site>) -> BTreeMap<Kind, BTreeSet<Seat>> {
    sites.values().map(|site| (site.kind, site.present().clone())).collect()
}

fn names_of(rows: &Value) -> Vec<String> {
    let name = |row: &Value| row["name"].as_str().unwrap_or_default().to_owned();
    rows.as_array().into_iter().flatten().map(name).collect()
}

fn holds(row: &Value) -> bool {
    row["heldEndpoints"].as_u64().is_some_and(|held| held > 0)
}
