//! What the pipeline tells people: what was read, what is refused, ignored, held or too much, and what no longer is. Each thing
//! once, and never a line for each of a thousand services.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::bounds::Bounds;
use crate::model::catalog::Counts;
use crate::pipeline::Pipeline;
use crate::pipeline::engine::{Crowding, Guarded};
use crate::pipeline::guard::News;

/// People are told of so many services at a time: one mistake may stand in a thousand.
const AT_A_TIME: usize = 20;

impl Pipeline {
    /// Tells people what was read, what was refused and what no longer is.
    pub(super) fn speak(&mut self) {
        for registry in self.engine.take_read() {
            let Counts { services, left_out, endpoints, objects } = self.engine.catalog().counts(&registry);
            tracing::info!(%registry, services, left_out, endpoints, objects, "registry read");
        }
        self.speak_of_the_late();
        self.speak_of_ignored();
        self.speak_of_held();
        self.speak_of_crowding();
        let collisions = self.engine.desired().addresses().collisions();
        self.metrics.collisions.inc_by(collisions.saturating_sub(self.metrics.collisions.get()));
        for complaint in self.engine.take_complaints() {
            tracing::warn!("{complaint}");
        }
        let verdicts = self.engine.take_verdicts();
        for v in verdicts.iter().take(AT_A_TIME) {
            let host = v.host.as_ref().map(tracing::field::display);
            match &v.refused {
                Some(why) => tracing::warn!(
                    registry = %v.registry, item = %v.item, host,
                    "refused, what was known of it stays: {why}"
                ),
                None => tracing::info!(registry = %v.registry, item = %v.item, host, "no longer refused"),
            }
        }
        if let Some(more) = verdicts.len().checked_sub(AT_A_TIME).filter(|more| *more > 0) {
            tracing::warn!("{more} more are refused, or no longer are: /api/v1/services names all that are");
        }
    }

    fn speak_of_the_late(&mut self) {
        for registry in self.engine.take_overdue() {
            let Some((_, reading)) = self.engine.readings().find(|(name, _)| **name == registry) else {
                continue;
            };
            let wait = reading.startup().wait;
            if reading.is_restored() {
                tracing::warn!(%registry, ?wait, "not read in time: what was saved of it is served until it is");
            } else if reading.startup().optional {
                tracing::warn!(%registry, ?wait, "not read in time and optional: the mesh is served without it until it is");
            } else {
                tracing::warn!(
                    %registry, ?wait,
                    "not read in time: what it feeds is not answered until it is (`startup.optional: true` would do without it)"
                );
            }
        }
    }

    fn speak_of_ignored(&mut self) {
        let ignored = self.engine.take_ignored();
        for i in ignored.iter().take(AT_A_TIME) {
            tracing::warn!(registry = %i.registry, item = %i.item, "ignored what its owner says: {}", i.what.join("; "));
        }
        if let Some(more) = ignored.len().checked_sub(AT_A_TIME).filter(|more| *more > 0) {
            tracing::warn!("ignored what the owners of {more} more services say: /api/v1/services names all");
        }
    }

    fn speak_of_crowding(&mut self) {
        for Crowding { registry, outside, bounds } in self.engine.take_crowding() {
            let Bounds { services, endpoints } = bounds;
            if outside > 0 {
                tracing::warn!(
                    %registry, outside, services, endpoints,
                    "it holds more than `limits` allows: what is newest is not taken, what is served stays"
                );
            } else {
                tracing::info!(%registry, services, endpoints, "it holds no more than `limits` allows");
            }
        }
    }

    /// Tells what is held and why, and what no longer is: a line for each reason, with the first names.
    fn speak_of_held(&mut self) {
        const NAMED: usize = 5;
        for Guarded { registry, news } in self.engine.take_guarded() {
            let mut lines: BTreeMap<News, (usize, Vec<Arc<str>>)> = BTreeMap::new();
            for ((news, service), count) in news {
                let line = lines.entry(news).or_default();
                line.0 += count;
                line.1.push(service);
            }
            for (news, (count, services)) in lines {
                let named: Vec<&str> = services.iter().take(NAMED).map(AsRef::as_ref).collect();
                let (named, services) = (named.join(", "), services.len());
                match news {
                    News::Held(why) => tracing::warn!(
                        %registry, services, "kept {count} endpoints or objects that it does not show any more ({named}): {why}"
                    ),
                    News::Gone => {
                        tracing::info!(%registry, services, "let go {count} that were held ({named})")
                    }
                    News::Back => {
                        tracing::info!(%registry, services, "{count} that were held are back ({named})")
                    }
                }
            }
        }
    }
}
