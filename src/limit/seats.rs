//! How many streams are open: in all, and of each identity.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limit::Limits;
use crate::security::peer::{Identity, Peer};

/// Counts open streams.
#[derive(Debug, Default)]
pub struct Seats {
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Only who has any.
    of: BTreeMap<Identity, usize>,
}

/// The right to one open stream; given back when it goes.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    of: Option<Identity>,
}

/// There is no place for another stream; the number is the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// For nobody.
    All(usize),
    /// For this identity.
    Identity(usize),
}

impl Seats {
    /// A place for a stream of `peer`, who counts by the first of its verified identities.
    ///
    /// # Errors
    /// There is none.
    pub fn take(self: &Arc<Self>, limits: &Limits, peer: &Peer) -> Result<Seat, Full> {
        let mut taken = self.lock();
        if taken.all >= limits.streams {
            return Err(Full::All(limits.streams));
        }
        // Counted with and without a limit: one may be set while streams are open.
        let of = peer.identities.first().cloned();
        if let Some(identity) = &of {
            let count = taken.of.get(identity).copied().unwrap_or(0);
            if let Some(limit) = limits.streams_per_identity.filter(|limit| count >= *limit) {
                return Err(Full::Identity(limit));
            }
            taken.of.insert(identity.clone(), count + 1);
        }
        taken.all += 1;
        Ok(Seat { seats: Arc::clone(self), of })
    }

    /// How many are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.lock().all
    }

    /// How many identities have any.
    #[must_use]
    pub fn identities(&self) -> usize {
        self.lock().of.len()
    }

    /// The data is plain, so a panic of another holder leaves nothing half-done.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        taken.all = taken.all.saturating_sub(1);
        let Some(identity) = &self.of else { return };
        if let Some(count) = taken.of.get_mut(identity) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.of.remove(identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Peer {
        let mut peer = Peer::anonymous("10.0.0.1:1".parse().unwrap());
        peer.identities = [Identity::Uri(name.into())].into();
        peer
    }

    #[test]
    fn seats_are_given_back() {
        let (seats, limits) = (Arc::new(Seats::default()), Limits { streams: 2, ..Limits::default() });
        let first = seats.take(&limits, &named("a")).unwrap();
        let second = seats.take(&limits, &named("a")).unwrap();
        assert_eq!(seats.take(&limits, &named("b")).unwrap_err(), Full::All(2));
        drop(first);
        let third = seats.take(&limits, &named("b")).unwrap();
        drop((second, third));
        assert_eq!((seats.taken(), seats.identities()), (0, 0));
    }

    #[test]
    fn an_identity_has_its_own_limit_and_who_has_none_does_not_meet_it() {
        let limits = Limits { streams_per_identity: Some(1), ..Limits::default() };
        let seats = Arc::new(Seats::default());
        let nobody = Peer::anonymous("10.0.0.1:1".parse().unwrap());
        let _open =
            [&named("a"), &named("b"), &nobody, &nobody].map(|peer| seats.take(&limits, peer).unwrap());
        assert_eq!(seats.take(&limits, &named("a")).unwrap_err(), Full::Identity(1));
        assert_eq!((seats.taken(), seats.identities()), (4, 2), "what is refused is not counted");
    }
}
