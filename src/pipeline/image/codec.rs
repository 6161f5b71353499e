//! An image as frames of protobuf (`proto/chandler/state/v1`), and back: pure.
//!
//! Every frame stands for itself, so that damage to one does not reach far: addresses are read whatever else is lost, and a
//! registry is read if all of its parts are there, or not at all. What an image does not say is skipped; what it says and
//! nobody understands makes its registry unreadable, which is told.

mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::model::service::RegistryName;
use crate::pipeline::image::Image;
use crate::proto::state as pb;

/// Frames are about that large: few enough to be quick, and small enough to be put together in memory.
const FRAME: usize = 1 << 20;

/// Why something that was saved cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No protobuf, or not ours.
    #[error("a part is not what it should be: {0}")]
    Frame(String),
    /// A registry of which parts are missing or make no sense; it has to be read before it is served.
    #[error("registry {registry}: {why}")]
    Registry {
        /// Which.
        registry: String,
        /// What is wrong.
        why: String,
    },
    /// A host of which nothing can be remembered.
    #[error("host {host}: {why}")]
    Host {
        /// Which.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// The part that says at which time it was saved and what is frozen.
    #[error("nothing says at which time it was saved, so that of no registry anything can be used")]
    Head,
}

/// Hands every frame of `image` to `out`, in order: equal images are equal frames.
///
/// # Errors
/// Those of `out`.
pub fn encode<E>(image: &Image, mut out: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let mut put = |part| out(&pb::Part { part: Some(part) }.encode_to_vec());
    put(pb::part::Part::Head(write::head(image)))?;
    let hosts = image.hosts.iter().map(|(host, image)| write::host(host, image));
    for hosts in batches(hosts) {
        put(pb::part::Part::Hosts(pb::Hosts { hosts }))?;
    }
    for (name, registry) in &image.registries {
        let mut items = batches(registry.items.iter().map(|(key, item)| write::item(key, item))).peekable();
        let mut part = 0;
        loop {
            let batch = items.next().unwrap_or_default();
            let last = items.peek().is_none();
            put(pb::part::Part::Registry(write::registry(name, registry, part, last, batch)))?;
            if last {
                break;
            }
            part += 1;
        }
    }
    Ok(())
}

/// What `frames` say, as far as they can be read, and what is wrong with the others.
pub fn decode<'a>(frames: impl IntoIterator<Item = &'a [u8]>) -> (Image, Vec<Unreadable>) {
    let (mut image, mut faults) = (Image::default(), Vec::new());
    let mut head = false;
    let mut registries: BTreeMap<String, Vec<pb::Registry>> = BTreeMap::new();
    let mut words = read::Words::default();
    for frame in frames {
        match pb::Part::decode(frame).map(|p| p.part) {
            Ok(Some(pb::part::Part::Head(part))) => {
                head = true;
                (image.now, image.frozen) = read::head(part);
            }
            Ok(Some(pb::part::Part::Hosts(part))) => {
                for host in part.hosts {
                    let name = host.host.clone();
                    match read::host(host, &mut words) {
                        Ok((host, seen)) => drop(image.hosts.insert(host, seen)),
                        Err(why) => faults.push(Unreadable::Host { host: name, why }),
                    }
                }
            }
            Ok(Some(pb::part::Part::Registry(part))) => {
                registries.entry(part.name.clone()).or_default().push(part);
            }
            Ok(None) => {}
            Err(e) => faults.push(Unreadable::Frame(e.to_string())),
        }
    }
    for (registry, parts) in registries {
        match whole(parts).and_then(|parts| read::registry(parts, &mut words)) {
            Ok(read) => drop(image.registries.insert(RegistryName::new(&registry), read)),
            Err(why) => faults.push(Unreadable::Registry { registry, why }),
        }
    }
    if !head {
        // Moments mean nothing without the time that they are of.
        let (registries, frozen) = (BTreeMap::new(), BTreeSet::new());
        let addresses = |mut host: super::HostImage| {
            host.memory = crate::convert::memory::Memory::default();
            host
        };
        let hosts = image.hosts.into_iter().map(|(name, host)| (name, addresses(host))).collect();
        image = Image { registries, frozen, hosts, ..Image::default() };
        faults.push(Unreadable::Head);
    }
    (image, faults)
}

/// The parts in order, if none is missing.
fn whole(mut parts: Vec<pb::Registry>) -> Result<Vec<pb::Registry>, String> {
    parts.sort_by_key(|p| p.part);
    let in_order = parts.iter().enumerate().all(|(n, p)| u32::try_from(n) == Ok(p.part));
    let ends = parts.last().is_some_and(|p| p.last);
    if in_order && ends { Ok(parts) } else { Err("not all of it is there".into()) }
}

/// Messages in groups of about the size of a frame.
fn batches<M: Message>(messages: impl Iterator<Item = M>) -> impl Iterator<Item = Vec<M>> {
    let mut messages = messages.peekable();
    std::iter::from_fn(move || {
        messages.peek()?;
        let (mut batch, mut size) = (Vec::new(), 0);
        while size < FRAME
            && let Some(next) = messages.next()
        {
            size += next.encoded_len();
            batch.push(next);
        }
        Some(batch)
    })
}

#[cfg(test)]
mod tests;
