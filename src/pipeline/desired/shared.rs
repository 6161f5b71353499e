//! Hosts that several registries share: all their services are converted as one, and one of them that cannot be served so
//! leaves the others as they are.
//!
//! Who is to blame is only asked where the whole is refused: then they are added one by one, in their order. Whoever is
//! refused keeps the form in which it was served last, if there is one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Candidate, Claimants, Desired, HostState, Owner, Verdict};
use crate::convert::memory::Memory;
use crate::convert::naming;
use crate::convert::service_entry::{self, Context, Converted, Merged, Part, Share};
use crate::model::admitted::Admitted;
use crate::model::catalog::Catalog;
use crate::model::host::Host;
use crate::model::merging::Mode;
use crate::model::service::{RegistryName, Says, Service};
use crate::model::time::Moment;
use crate::resource::collection::Collection;
use crate::resource::encoded::ResourceId;

/// One of those that share a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sharer {
    /// Its registry.
    pub registry: RegistryName,
    /// The registry's own name of it.
    pub service: Arc<str>,
    /// What it contributes.
    pub share: Share,
}

/// A form of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Good {
    service: Arc<Service>,
    admitted: Arc<Admitted>,
}

/// What is wrong with one that shares a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blame {
    /// Its registry's key of it.
    item: Arc<str>,
    pub(super) why: Arc<str>,
}

/// What came of a candidate and those that share the host with it.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) converted: Converted,
    /// Empty: it has the host alone.
    pub(super) shares: Vec<Sharer>,
    /// Why the first is not served as it says now.
    pub(super) first: Option<Arc<str>>,
    /// Those of the others that are not served as they say now.
    pub(super) others: Vec<(Owner, Blame)>,
}

/// All that a conversion is told besides whose services it is about.
#[derive(Clone, Copy)]
struct Task<'a> {
    host: &'a Host,
    mode: Mode,
    now: Moment,
    catalog: &'a Catalog,
}

impl Desired {
    /// Converts the candidate at `place` as the first, with those after it that share the host. What they remember is as it
    /// was where that fails and it is not alone.
    pub(super) fn make(
        &self,
        host: &Host,
        claimants: &Claimants<'_>,
        place: usize,
        now: Moment,
        (memory, good): (&mut Memory, &mut BTreeMap<Owner, Good>),
        catalog: &Catalog,
    ) -> Result<Made, Arc<str>> {
        let sharing = claimants.candidates.get(place..claimants.sharing.max(place + 1)).unwrap_or_default();
        let task = Task { host, mode: claimants.mode, now, catalog };
        let Some((first, others)) = sharing.split_first() else { return Err("nobody claims it".into()) };
        if others.is_empty() && good.is_empty() {
            let merged = self.convert(task, first, &[], memory)?;
            return Ok(Made {
                converted: merged.converted,
                shares: Vec::new(),
                first: None,
                others: Vec::new(),
            });
        }
        let mut fresh = memory.clone();
        let made = match self.convert(task, first, others, &mut fresh) {
            Ok(merged) => {
                good.clear();
                let forms = sharing.iter().map(|c| (c.owner(), Good::of(c)));
                good.extend(forms.filter(|_| !others.is_empty()));
                Made {
                    shares: sharers(sharing, merged.shares),
                    converted: merged.converted,
                    first: None,
                    others: Vec::new(),
                }
            }
            Err(_) => {
                fresh = memory.clone();
                self.one_by_one(task, first, others, &mut fresh, good)?
            }
        };
        *memory = fresh;
        Ok(made)
    }

    /// Adds those that share a host one after the other, each as it says now or else as it was served last.
    fn one_by_one(
        &self,
        task: Task<'_>,
        first: &Candidate<'_>,
        others: &[Candidate<'_>],
        memory: &mut Memory,
        good: &mut BTreeMap<Owner, Good>,
    ) -> Result<Made, Arc<str>> {
        let last = good.clone();
        let before = |candidate: &Candidate<'_>| last.get(&candidate.owner());
        let mut fresh = memory.clone();
        let alone = self.convert(task, first, &[], &mut fresh);
        let (lead, blamed, mut merged) = match (alone, before(first)) {
            (Ok(merged), _) => (*first, None, merged),
            (Err(why), None) => return Err(why),
            (Err(why), Some(form)) => {
                fresh = memory.clone();
                let lead = form.instead_of(first);
                (lead, Some(why), self.convert(task, &lead, &[], &mut fresh)?)
            }
        };
        let (mut kept, mut left_out, mut refused): (Vec<Candidate<'_>>, Vec<_>, Vec<_>) = Default::default();
        for other in others {
            let forms = std::iter::once(*other).chain(before(other).map(|form| form.instead_of(other)));
            let mut why = None;
            let fits = forms.into_iter().find_map(|form| {
                let (with, mut next) = ([&kept[..], &[form]].concat(), memory.clone());
                match self.convert(task, &lead, &with, &mut next) {
                    Ok(made) => Some((with, next, made)),
                    Err(e) => {
                        why.get_or_insert(e);
                        None
                    }
                }
            });
            if let Some(why) = &why {
                let item = Arc::clone(&other.service.key.name);
                refused.push((other.owner(), Blame { item, why: Arc::clone(why) }));
            }
            match fits {
                Some(better) => (kept, fresh, merged) = better,
                None => left_out.extend(why.map(|why| (other.owner(), why))),
            }
        }
        *memory = fresh;
        let served = [&[lead], &kept[..]].concat();
        *good = served.iter().map(|c| (c.owner(), Good::of(c))).collect();
        let mut shares = sharers(&served, merged.shares);
        shares.extend(left_out.into_iter().map(|((registry, service), why)| Sharer {
            registry,
            service,
            share: Share { endpoints: Vec::new(), left_out: Some(why) },
        }));
        Ok(Made { converted: merged.converted, shares, first: blamed, others: refused })
    }

    fn convert(
        &self,
        task: Task<'_>,
        first: &Candidate<'_>,
        others: &[Candidate<'_>],
        memory: &mut Memory,
    ) -> Result<Merged, Arc<str>> {
        let says = |c: &Candidate<'_>| -> Says { c.admitted.says(c.service).into_owned() };
        let lead_says: Cow<'_, Says> = first.admitted.says(first.service);
        let other_says: Vec<Says> = others.iter().map(says).collect();
        let namespace = naming::namespace(first.service, first.mapping).map_err(|e| e.to_string())?;
        let name = naming::resource_name(&namespace, task.host);
        let id = ResourceId { collection: Collection::ServiceEntry, name };
        if let Some((_, object)) = task.catalog.object(&id) {
            return Err(format!("an object of the same name is served instead: {}", object.origin).into());
        }
        let lead = self.part(task, first, &lead_says);
        let parts: Vec<Part<'_>> =
            others.iter().zip(&other_says).map(|(c, says)| self.part(task, c, says)).collect();
        service_entry::convert_merged(&lead, &parts, task.mode, task.host, memory)
            .map_err(|e| e.to_string().into())
    }

    fn part<'a>(&'a self, task: Task<'a>, candidate: &Candidate<'a>, says: &'a Says) -> Part<'a> {
        let Candidate { registry, mapping, select, service, empty_service_ttl, .. } = *candidate;
        let addresses = self.addresses.get(task.host);
        let release = self.terms.oldest;
        let context =
            Context { registry, mapping, select, says, addresses, now: task.now, empty_service_ttl, release };
        Part { service, context }
    }

    /// Notes which of those that share the host, but for the first, are not served as they say now.
    pub(super) fn note_others(
        &mut self,
        host: &Host,
        state: &mut HostState,
        refused: Vec<(Owner, Blame)>,
    ) -> Vec<Verdict> {
        let now: BTreeMap<_, _> = refused.into_iter().collect();
        let before = std::mem::take(&mut state.others_refused);
        let verdict = |(registry, _): &Owner, item: &Arc<str>, refused: Option<Arc<str>>| Verdict {
            registry: registry.clone(),
            item: Arc::clone(item),
            host: Some(host.clone()),
            refused,
        };
        let gone = before.iter().filter(|(owner, _)| !now.contains_key(*owner));
        let mut news: Vec<Verdict> = gone.map(|(owner, was)| verdict(owner, &was.item, None)).collect();
        let fresh = now.iter().filter(|(owner, what)| before.get(*owner) != Some(*what));
        news.extend(fresh.map(|(owner, is)| verdict(owner, &is.item, Some(Arc::clone(&is.why)))));
        self.refused.extend(now.keys().map(|(registry, _)| (registry.clone(), host.clone())));
        state.others_refused = now;
        news
    }
}

impl Good {
    fn of(candidate: &Candidate<'_>) -> Self {
        Self { service: Arc::clone(candidate.service), admitted: Arc::clone(candidate.admitted) }
    }

    /// As it is saved.
    pub(super) fn image(&self, registry: &RegistryName) -> (RegistryName, Arc<Service>, Arc<Admitted>) {
        (registry.clone(), Arc::clone(&self.service), Arc::clone(&self.admitted))
    }

    /// As it was saved, and whose it is.
    pub(super) fn of_image(image: (RegistryName, Arc<Service>, Arc<Admitted>)) -> (Owner, Self) {
        let (registry, service, admitted) = image;
        ((registry, Arc::clone(&service.name)), Self { service, admitted })
    }

    fn instead_of<'a>(&'a self, candidate: &Candidate<'a>) -> Candidate<'a> {
        Candidate { service: &self.service, admitted: &self.admitted, ..*candidate }
    }
}

fn sharers(served: &[Candidate<'_>], shares: Vec<Share>) -> Vec<Sharer> {
    let sharer = |(c, share): (&Candidate<'_>, Share)| {
        let (registry, service) = c.owner();
        Sharer { registry, service, share }
    };
    served.iter().zip(shares).map(sharer).collect()
}
