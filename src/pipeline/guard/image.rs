//! What a guard knows, for the state on disk.

use super::{Guard, View};
use crate::model::service::ServiceKey;
use crate::pipeline::image::{EmptyImage, ItemImage};

impl Guard {
    /// Adds what is known of an item.
    pub fn note_in(&self, key: &ServiceKey, item: &mut ItemImage) {
        item.held = self.held.get(key).cloned();
        item.empty = self.empty.image(key);
        item.grown = self.growth.image(key);
    }

    /// Takes over what was known of an item, which is in the catalog by now.
    pub fn restore(&mut self, view: &View<'_>, key: &ServiceKey, item: &ItemImage) {
        if let Some(held) = item.held.as_ref().filter(|held| !held.parts.is_empty()) {
            self.held_endpoints += held.endpoints();
            self.wake_for(view, held);
            self.held.insert(key.clone(), held.clone());
        }
        if let Some(EmptyImage { at, until }) = item.empty {
            self.empty.restore(key, at, until);
        }
        if let Some((came, at)) = item.grown {
            self.growth.restore(key, came, at);
        }
    }

    /// The items of which something else is known than at the last call.
    pub fn take_noted(&mut self) -> impl Iterator<Item = ServiceKey> + use<> {
        std::mem::take(&mut self.noted).into_iter()
    }

    /// Every item of which anything is held.
    pub fn held_keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.held.keys()
    }
}
