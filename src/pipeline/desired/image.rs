//! What hosts remember, for the state on disk.

use super::shared::Good;
use super::{Desired, HostState};
use crate::model::host::Host;
use crate::pipeline::debounce::Lane;
use crate::pipeline::image::{HostImage, SharingImage};
use crate::resource::snapshot::Snapshot;

impl Desired {
    /// What is to be remembered of `host`; `None`: nothing.
    #[must_use]
    pub fn image(&self, host: &Host, published: &Snapshot) -> Option<HostImage> {
        let addresses = self.addresses.get(host).to_vec();
        let Some(state) = self.hosts.get(host) else {
            return (!addresses.is_empty()).then(|| HostImage { addresses, ..HostImage::default() });
        };
        let kept = state.refused.as_ref().zip(state.id.as_ref()).and_then(|(why, id)| {
            let resource = match self.pending.get(id) {
                Some((_, waits)) => waits.as_ref(),
                None => published.get(id.collection)?.get(id.name.as_str()),
            };
            Some((resource?.clone(), why.clone()))
        });
        let (owner, memory) = (state.owner.clone(), state.memory.clone());
        let refused = state.refused.is_some() || !state.others_refused.is_empty();
        let forms = state.good.iter().filter(|_| refused);
        let good = forms.map(|((registry, _), form)| form.image(registry)).collect();
        Some(HostImage { owner, memory, addresses, kept, sharing: SharingImage { mode: state.mode, good } })
    }

    /// Takes over what was remembered of `host`, which is claimed; the caller touches it afterwards.
    pub fn restore(&mut self, host: &Host, image: HostImage) {
        let HostImage { owner, memory, addresses: _, kept, sharing } = image;
        let SharingImage { mode, good } = sharing;
        let good = good.into_iter().map(Good::of_image).collect();
        let mut state = HostState { owner, memory, mode, good, ..HostState::default() };
        if let Some((resource, why)) = kept {
            state.id = Some(resource.id.clone());
            state.refused = Some(why);
            self.pending.insert(resource.id.clone(), (Lane::Topology, Some(resource)));
        }
        let left = state.memory.left_addresses().collect();
        self.note_left(host, &mut state, left);
        self.hosts.insert(host.clone(), state);
    }
}
