//! A run of neighbouring resources of one collection: what a change rebuilds and what clients share.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::resource::encoded::{Encoded, ResourceName};
use crate::resource::legacy::{self, Needs, Pilot};
use crate::resource::wire::{Flavour, render};

/// Below this many bytes a rebuilt block joins its neighbour. Smaller frames cost CPU for every client
/// (measured: 64 KiB 1.7 ms, 4 KiB 2.6 ms per 5 MB).
pub const MIN_BYTES: usize = 64 << 10;
/// Above this many bytes a rebuilt block is split, so that one change renders little.
pub const MAX_BYTES: usize = 256 << 10;
/// What it is split into: room to grow and to shrink before the next split or join.
pub const SPLIT_BYTES: usize = 128 << 10;
/// About what the envelope adds to a body: type URLs, name, version, time, annotations.
const ENVELOPE_BYTES: usize = 256;

/// What each Pilot gets of a block, once one has asked; `None`: nothing.
type Fit = [OnceLock<Option<Arc<Block>>>; Pilot::ALL.len()];

/// Sorted resources, immutable. Its bytes on a wire are rendered at most once per flavour, when first needed.
pub struct Block {
    resources: Vec<Arc<Encoded>>,
    bytes: usize,
    share: u128,
    needs: Needs,
    rendered: [OnceLock<Bytes>; Flavour::COUNT],
    /// What Pilots that do not take all of it get; empty where all of them do.
    fit: OnceLock<Box<Fit>>,
}

impl Block {
    /// A block of `resources`, which are sorted by name and not empty.
    #[must_use]
    pub fn new(resources: Vec<Arc<Encoded>>) -> Self {
        let bytes = resources.iter().map(|r| weight(r)).sum();
        let share = resources.iter().fold(0_u128, |sum, r| sum.wrapping_add(r.share()));
        let needs = resources.iter().map(|r| r.fitness).collect();
        let rendered = [const { OnceLock::new() }; Flavour::COUNT];
        Self { resources, bytes, share, needs, rendered, fit: OnceLock::new() }
    }

    /// Its resources, sorted by name.
    #[must_use]
    pub fn resources(&self) -> &[Arc<Encoded>] {
        &self.resources
    }

    /// About how many bytes it takes on a wire.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The wrapping sum of its resources' shares in the collection's version.
    #[must_use]
    pub fn share(&self) -> u128 {
        self.share
    }

    /// Who takes what of it.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// What `pilot` gets of it, `None` if nothing: the block itself, or one that is made once for all snapshots that
    /// share this one.
    #[must_use]
    pub fn fit_for(self: &Arc<Self>, pilot: Pilot) -> Option<Arc<Self>> {
        if self.needs.all_fit(pilot) {
            return Some(Arc::clone(self));
        }
        let pilot = self.needs.oldest_like(pilot);
        let make = || {
            let resources: Vec<_> = self.resources.iter().filter_map(|r| legacy::fit_for(r, pilot)).collect();
            (!resources.is_empty()).then(|| Arc::new(Self::new(resources)))
        };
        let slots = self.fit.get_or_init(|| Box::new([const { OnceLock::new() }; Pilot::ALL.len()]));
        slots.get(pilot.index())?.get_or_init(make).clone()
    }

    /// The name of its first resource.
    #[must_use]
    pub fn first(&self) -> Option<&ResourceName> {
        self.resources.first().map(|r| &r.id.name)
    }

    /// Its bytes on a wire; rendered by whoever asks first, shared by all.
    #[must_use]
    pub fn rendered(&self, flavour: Flavour) -> Bytes {
        let Some(slot) = self.rendered.get(flavour.index()) else { return Bytes::new() };
        let fill = || {
            let mut out = Vec::with_capacity(self.bytes);
            for r in &self.resources {
                render(r, flavour, &mut out);
            }
            // The capacity was a guess; what is kept for ever is not.
            out.shrink_to_fit();
            Bytes::from(out)
        };
        slot.get_or_init(fill).clone()
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Block({} from {:?}, {} bytes)", self.resources.len(), self.first(), self.bytes)
    }
}

/// About how many bytes `r` takes on a wire.
#[must_use]
pub fn weight(r: &Encoded) -> usize {
    let pairs: usize = [&r.labels, &r.annotations]
        .into_iter()
        .flat_map(|l| l.iter())
        .map(|(k, v)| k.len() + v.len() + 6)
        .sum();
    r.body.len() + r.id.name.as_str().len() + pairs + ENVELOPE_BYTES
}
