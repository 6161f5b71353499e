//! Both levels and the rules together: what an interface or an application offers, each provider once.
//!
//! What is registered at both levels is one provider: the interface level's, whose URL says all there is. The other one
//! stands in as soon as it goes. An instance of which nothing is known but its ports counts where nothing else does.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Dubbo;
use super::applications::Unknown;
use super::assemble::Offer;
use super::folders::interface_in;
use super::governance::Rules;
use super::provider::Provider;
use crate::model::endpoint::Address;
use crate::registry::zookeeper::layout::Unit;
use crate::registry::zookeeper::layout::question::Question;
use crate::registry::zookeeper::tree::{Tree, join};

/// What makes two providers of one interface the same.
type Same = (Option<Arc<str>>, Option<Arc<str>>, Arc<str>, Address, u16);

fn same(provider: &Provider) -> Same {
    let Provider { group, version, port_name, address, port, .. } = provider;
    (group.clone(), version.clone(), Arc::clone(port_name), address.clone(), *port)
}

impl Offer {
    fn add(&mut self, id: &Arc<str>, mut provider: Provider, rules: &Rules<'_>) {
        rules.apply(&mut provider, &mut self.not_applied);
        self.providers.push((Arc::clone(id), provider));
    }
}

impl Dubbo {
    /// All that is offered of the interface whose folder is, or would be, `folder`; by `only` this application.
    fn offer(&self, tree: &Tree, folder: &str, only: Option<&Arc<str>>) -> Offer {
        let mut offer = Offer::default();
        let interface: Arc<str> = interface_in(folder).into();
        let node = tree.get(&join(&self.settings.root, folder));
        let rules = self.central.for_interface(node, &interface);
        offer.not_applied.extend(rules.routers());
        for read in self.folders.of(folder) {
            match &read.provider {
                Ok(provider) if only.is_none() || provider.application.as_ref() == only => {
                    offer.add(&read.id, provider.clone(), &rules);
                }
                Ok(_) => {}
                Err(fault) => offer.faults.push((Arc::clone(&read.id), fault)),
            }
        }
        let declaring: Vec<&Arc<str>> = match only {
            Some(application) => vec![application],
            None => self.applications.declaring(&interface).collect(),
        };
        let mut seen: BTreeSet<Same> = BTreeSet::new();
        if !declaring.is_empty() {
            seen.extend(offer.providers.iter().map(|(_, p)| same(p)));
        }
        for application in declaring {
            for (id, provider) in self.declared(application, &interface, only.is_none()) {
                if seen.insert(same(&provider)) {
                    offer.add(&id, provider, &rules);
                }
            }
        }
        offer
    }

    /// What `application`'s instances provide of `interface`, `guessed` by a mapping too.
    fn declared(
        &self,
        application: &Arc<str>,
        interface: &Arc<str>,
        guessed: bool,
    ) -> Vec<(Arc<str>, Provider)> {
        let mut found = self.applications.known(application, interface);
        let guesses = if guessed { self.applications.guessed(application, interface) } else { Vec::new() };
        if !guesses.is_empty() {
            // Who stands at the interface level has said what it provides.
            let told = self.told(application);
            found.extend(guesses.into_iter().filter(|(_, p)| !told.contains(&(p.address.clone(), p.port))));
        }
        found
    }

    /// Where `application` provides anything at the interface level.
    fn told(&self, application: &Arc<str>) -> BTreeSet<(Address, u16)> {
        self.folders.provided(application).map(|p| (p.address.clone(), p.port)).collect()
    }

    /// The unit of the interface whose folder is, or would be, `folder`.
    pub(super) fn interface_unit(&self, tree: &Tree, folder: &Arc<str>) -> Unit {
        let mut unit =
            Unit { name: format!("interface {folder}").into(), services: Vec::new(), faults: Vec::new() };
        let path = join(&self.settings.root, folder);
        let fault = |id: &str, why: &str| format!("{path}: {id}: {why}");
        if self.settings.by.interface() {
            let offer = self.offer(tree, folder, None);
            unit.faults.extend(offer.faults.iter().map(|(id, why)| fault(id, why)));
            unit.services = self.assembler.interfaces(&interface_in(folder), &offer);
            return unit;
        }
        for read in self.folders.of(folder) {
            match &read.provider {
                Err(why) => unit.faults.push(fault(&read.id, why)),
                Ok(provider) if provider.application.is_none() => {
                    unit.faults.push(fault(&read.id, "it names no application"));
                }
                Ok(_) => {}
            }
        }
        unit
    }

    /// The unit of `application`. Where services are made by interface, it only says what is wrong.
    pub(super) fn application_unit(&self, tree: &Tree, application: &Arc<str>) -> Unit {
        let mut unit = Unit {
            name: format!("application {application}").into(),
            services: Vec::new(),
            faults: self.untold(application),
        };
        if self.settings.by.application() {
            let offers = self.application_offers(tree, application);
            unit.services.extend(self.assembler.application(application, &offers));
        }
        let odd = self.applications.odd(application);
        match unit.services.first_mut() {
            Some(service) => odd.into_iter().for_each(|(id, why)| service.left_out.add(why, id)),
            None => unit.faults.extend(odd.iter().map(|(id, why)| format!("{application}: {id}: {why}"))),
        }
        unit
    }

    fn application_offers(&self, tree: &Tree, application: &Arc<str>) -> Vec<Offer> {
        let folders = self.folders_of(application);
        let mut offers: Vec<Offer> =
            folders.iter().map(|folder| self.offer(tree, folder, Some(application))).collect();
        let told = offers.iter().flat_map(|offer| &offer.providers);
        let told: BTreeSet<(Address, u16)> = told.map(|(_, p)| (p.address.clone(), p.port)).collect();
        let mut rest = Offer::default();
        rest.not_applied.extend(self.central.routers_of(application));
        let rules = self.central.for_interface(None, "");
        for (id, bare) in self.applications.bare(application) {
            if !told.contains(&(bare.address.clone(), bare.port)) {
                rest.add(&id, bare, &rules);
            }
        }
        offers.push(rest);
        offers
    }

    /// Whether `unknown` has an instance of which the interface level says nothing.
    fn matters(&self, unknown: &Unknown<'_>, told: &BTreeSet<(Address, u16)>) -> bool {
        let is_told = |port: u16, address: &Address| told.contains(&(address.clone(), port));
        unknown.instances.iter().any(|i| !i.endpoints.iter().all(|(_, port)| is_told(*port, &i.address)))
    }

    /// Notes what is to be asked about `application`. Where every interface counts, what is registered at both levels is
    /// asked for as well, so that nothing is missing once the interface level goes.
    pub(super) fn ask_about(&mut self, application: &Arc<str>) {
        let unknown = self.applications.unknown(application);
        let told = if unknown.is_empty() { BTreeSet::new() } else { self.told(application) };
        let by_interface = self.settings.by.interface();
        let one = |u: &Unknown<'_>| {
            let matters = self.matters(u, &told);
            (by_interface || matters).then(|| Question {
                report: self.places.report(application, &u.key.revision),
                targets: if self.settings.ask { u.targets.clone() } else { Vec::new() },
                is_missed: by_interface && matters,
                key: u.key.clone(),
            })
        };
        let questions: Vec<Question> = unknown.iter().filter_map(one).collect();
        if questions.is_empty() {
            self.questions.remove(application);
        } else {
            self.questions.insert(Arc::clone(application), questions);
        }
    }

    /// Of which revisions nobody tells what they provide, where that is missed.
    fn untold(&self, application: &Arc<str>) -> Vec<String> {
        let unknown = self.applications.unknown(application);
        let told = if unknown.is_empty() { BTreeSet::new() } else { self.told(application) };
        let missed = if self.settings.by.interface() {
            "its interfaces are not known"
        } else {
            "its weights, tags and versions are not known"
        };
        let words = |u: &Unknown<'_>| {
            let why = u.why.filter(|_| self.matters(u, &told))?;
            Some(format!("{application}: revision {}: {missed}: {why}", u.key.revision))
        };
        unknown.iter().filter_map(words).collect()
    }
}
