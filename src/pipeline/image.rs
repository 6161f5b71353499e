//! What of the pipeline's state outlives the process: what each registry holds, is held of it and is refused; what hosts
//! remember; virtual addresses; what is frozen. Bytes are derived from it, but for resources that cannot be: the last good
//! ones of hosts whose present service is refused.
//!
//! Plain data, cheap to take: everything large is shared with the catalog. The pipeline hands over only what changed
//! ([`News`]); whoever keeps it puts it together ([`Image`]). [`codec`] makes bytes of it and back.

pub mod codec;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::convert::memory::Memory;
use crate::model::admitted::Admitted;
use crate::model::catalog::Known;
use crate::model::host::Host;
use crate::model::merging::Mode;
use crate::model::service::{RegistryName, Service, ServiceKey};
use crate::model::time::Moment;
use crate::pipeline::guard::HeldItem;
use crate::pipeline::guard::freeze::Area;
use crate::pipeline::reading::Identity;
use crate::resource::encoded::Encoded;
use crate::store::disk::Frames;
use crate::store::disk::keeper::Mirror;

/// All that is saved.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Image {
    /// The pipeline's time; every other moment in here is to be seen from it.
    pub now: Moment,
    /// The registries that have been read or restored, as far as they are configured.
    pub registries: BTreeMap<RegistryName, RegistryImage>,
    /// Every host of which anything is to be remembered.
    pub hosts: BTreeMap<Host, HostImage>,
    /// What is frozen by hand.
    pub frozen: BTreeSet<Area>,
}

/// One registry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegistryImage {
    /// The settings under which it was read.
    pub identity: Identity,
    /// How old it was already: nothing, unless it had been restored itself and not been read since.
    pub age: Duration,
    /// Its items. None: it was read, and is empty.
    pub items: BTreeMap<ServiceKey, ItemImage>,
}

/// One item of a registry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemImage {
    /// What is served of it; absent: nothing, it is refused and never was good.
    pub known: Option<Known>,
    /// Why that is not what its registry says.
    pub refused: Option<RefusedImage>,
    /// What of it is held.
    pub held: Option<HeldItem>,
    /// It is empty.
    pub empty: Option<EmptyImage>,
    /// How many endpoints came lately, and when the last did.
    pub grown: Option<(usize, Moment)>,
}

/// Why an item is refused.
#[derive(Debug, Clone, PartialEq)]
pub struct RefusedImage {
    /// For people.
    pub why: Arc<str>,
    /// What the registry says, where another policy may take it.
    pub service: Option<Arc<Service>>,
}

/// Since when a service is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmptyImage {
    /// Its last endpoint went then.
    pub at: Moment,
    /// It goes then; absent: its registry still names it.
    pub until: Option<Moment>,
}

/// One host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostImage {
    /// Whose service is served: its registry, and that one's name of it.
    pub owner: Option<(RegistryName, Arc<str>)>,
    /// What follows from what that service was.
    pub memory: Memory,
    /// Its virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Its last good resource, where the present service is refused, and why that is.
    pub kept: Option<(Arc<Encoded>, Arc<str>)>,
    /// How several registries share it.
    pub sharing: SharingImage,
}

/// How several registries share a host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SharingImage {
    /// How; that it was so decides what the next owner goes on from.
    pub mode: Mode,
    /// The last forms with which the host could be served, where some cannot be served as they are now.
    pub good: Vec<(RegistryName, Arc<Service>, Arc<Admitted>)>,
}

/// What changed since the last news.
#[derive(Debug, Default)]
pub struct News {
    /// The pipeline's time.
    pub now: Moment,
    /// Every registry that is to be in the image, with its age; what the image has of others goes.
    pub registries: Vec<(RegistryName, Identity, Duration)>,
    /// Items as they are now; `None`: gone.
    pub items: BTreeMap<(RegistryName, ServiceKey), Option<ItemImage>>,
    /// Hosts as they are now; `None`: there is nothing to remember.
    pub hosts: BTreeMap<Host, Option<HostImage>>,
    /// All that is frozen.
    pub frozen: BTreeSet<Area>,
}

impl Image {
    /// Puts `news` in; what is of registries that are not to be in it is left out.
    pub fn absorb(&mut self, news: News) {
        (self.now, self.frozen) = (news.now, news.frozen);
        let named: BTreeSet<&RegistryName> = news.registries.iter().map(|(name, ..)| name).collect();
        self.registries.retain(|name, _| named.contains(name));
        for (name, identity, age) in news.registries {
            let registry = self.registries.entry(name).or_default();
            (registry.identity, registry.age) = (identity, age);
        }
        for ((name, key), item) in news.items {
            let Some(registry) = self.registries.get_mut(&name) else { continue };
            match item {
                Some(item) => drop(registry.items.insert(key, item)),
                None => drop(registry.items.remove(&key)),
            }
        }
        for (host, image) in news.hosts {
            match image {
                Some(image) => drop(self.hosts.insert(host, image)),
                None => drop(self.hosts.remove(&host)),
            }
        }
    }
}

impl Mirror for Image {
    type News = News;

    fn absorb(&mut self, news: News) {
        Self::absorb(self, news);
    }

    fn write(&self, out: &mut Frames<'_>) -> io::Result<()> {
        codec::encode(self, |frame| out.put(frame))
    }
}

impl ItemImage {
    /// Whether nothing is to be remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_none() && self.refused.is_none()
    }
}
