//! The one task that owns the catalog: changes in, snapshots out, questions answered in between.
//!
//! Everything it decides is in [`engine`]; here are its clock and its channels, and nothing else.

pub mod answers;
pub mod debounce;
pub mod desired;
pub mod engine;
pub mod guard;
pub mod image;
pub mod intake;
pub mod metrics;
pub mod reading;
pub mod report;
mod speak;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::model::service::RegistryName;
use crate::model::time::Moment;
use crate::pipeline::engine::{Engine, Restored, Settings};
use crate::pipeline::image::Image;
use crate::pipeline::intake::{Changes, Delivery, Generation, ReadAgain};
use crate::pipeline::metrics::PipelineMetrics;
use crate::pipeline::report::{Query, Questions};
use crate::store::disk::keeper::Outbox;
use crate::store::{Store, StoreReader};

/// Hosts that are converted before anybody else gets a turn: some milliseconds.
const SLICE: usize = 512;
/// The state on disk is written anew after this time even if nothing changed: its age says how long ago we were there.
const REFRESH: Duration = Duration::from_secs(300);
/// What was saved may be seconds older than what was served last: registries that can be reached are given this long to be
/// read before it is served, so that nobody is told of a past that is over. Where none can be, a restart still answers within a
/// second.
const FRESH: Duration = Duration::from_millis(500);
/// Questions that may wait; more askers wait themselves.
const QUESTIONS: usize = 16;

/// The task and its ends of all channels.
#[derive(Debug)]
pub struct Pipeline {
    engine: Engine,
    store: Store,
    metrics: Arc<PipelineMetrics>,
    deliveries: mpsc::Receiver<Delivery>,
    questions: mpsc::Receiver<Query>,
    pings: mpsc::Receiver<oneshot::Sender<()>>,
    settings: mpsc::Receiver<Settings>,
    read_again: watch::Sender<ReadAgain>,
    started: Instant,
    /// The time at which it started: that of a process with which it goes on, or none.
    start: Moment,
    saving: Option<Saving>,
    /// Until then nothing is published, unless all that was restored has been read before.
    fresh_until: Option<Instant>,
    /// When the oldest batch arrived that has not been published.
    waiting_since: Option<Instant>,
}

/// To whom what changes is handed, and when.
#[derive(Debug)]
struct Saving {
    outbox: Outbox<image::News>,
    /// Not before that …
    from: Instant,
    /// … and even without news by then.
    until: Instant,
}

/// The other ends. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    deliveries: mpsc::Sender<Delivery>,
    settings: mpsc::Sender<Settings>,
    read_again: watch::Receiver<ReadAgain>,
    /// Asks the pipeline.
    pub questions: Questions,
}

impl Handle {
    /// A registry's way to speak.
    #[must_use]
    pub fn changes(&self, registry: RegistryName, generation: Generation) -> Changes {
        Changes::new(registry, generation, self.deliveries.clone()).heeding(self.read_again.clone())
    }

    /// Hands new settings over.
    ///
    /// # Errors
    /// The pipeline has ended.
    pub async fn configure(&self, settings: Settings) -> Result<(), intake::Closed> {
        self.settings.send(settings).await.map_err(|_| intake::Closed)
    }
}

impl Pipeline {
    /// The task, its handle, and a reader of what it publishes.
    #[must_use]
    pub fn new(settings: Settings, metrics: Arc<PipelineMetrics>) -> (Self, Handle, StoreReader) {
        let (delivery_in, deliveries) = mpsc::channel(intake::CAPACITY);
        let (question_in, questions) = mpsc::channel(QUESTIONS);
        let (ping_in, pings) = mpsc::channel(QUESTIONS);
        let (settings_in, settings_out) = mpsc::channel(1);
        let (again_in, again_out) = watch::channel(ReadAgain::new());
        let store = Store::default();
        let reader = store.reader();
        let pipeline = Self {
            engine: Engine::new(settings),
            store,
            metrics,
            deliveries,
            questions,
            pings,
            settings: settings_out,
            read_again: again_in,
            started: Instant::now(),
            start: Moment::START,
            saving: None,
            fresh_until: None,
            waiting_since: None,
        };
        let questions = Questions::new(question_in, ping_in);
        let handle =
            Handle { deliveries: delivery_in, settings: settings_in, read_again: again_out, questions };
        (pipeline, handle, reader)
    }

    /// Goes on with what an earlier process saved `age` ago, as far as that is no older than `max_age`; to be called before it
    /// runs.
    pub fn restore(&mut self, image: Image, age: Duration, max_age: Duration) -> Restored {
        self.start = image.now;
        let restored = self.engine.restore(image, age, max_age);
        self.fresh_until = (restored.registries > 0).then(|| Instant::now() + FRESH);
        restored
    }

    /// From now on hands what changes to `outbox`; to be called before [`Pipeline::restore`].
    pub fn save_to(&mut self, outbox: Outbox<image::News>) {
        self.engine.keep_news();
        let now = Instant::now();
        self.saving = Some(Saving { outbox, from: now, until: now + REFRESH });
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// All registries and the application have let go of it, which is a bug.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), &'static str> {
        loop {
            let busy = self.step();
            let alarm = self.alarm();
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    self.save_last();
                    return Ok(());
                }
                Some(to) = self.pings.recv() => {
                    let _gone = to.send(()).is_err();
                    if !busy {
                        self.hear();
                    }
                }
                Some(query) = self.questions.recv() => {
                    let now = self.now();
                    answers::answer(&mut self.engine, query, now);
                    // Whoever asks without end must not hold up what registries say.
                    if !busy {
                        self.hear();
                    }
                }
                Some(settings) = self.settings.recv() => self.engine.configure(settings, self.now()),
                () = tokio::task::yield_now(), if busy => {}
                delivery = self.deliveries.recv(), if !busy => match delivery {
                    Some(delivery) => self.deliver(delivery),
                    None => return Err("nobody is left who could say anything"),
                },
                () = tokio::time::sleep_until(alarm), if !busy => {}
            }
        }
    }

    /// Works for a slice and publishes what is due. Whether there is more to work on.
    fn step(&mut self) -> bool {
        let now = self.now();
        let busy = self.engine.work(SLICE, now);
        self.speak();
        self.ask_for_reads();
        if self.waits_for_reads() {
            return busy;
        }
        if let Some(snapshot) = self.engine.flush(now) {
            self.store.publish(snapshot);
            self.metrics.snapshots.inc();
            if let Some(since) = self.waiting_since.take() {
                self.metrics.propagation.observe(since.elapsed().as_secs_f64());
            }
        } else if !busy && self.engine.desired().is_empty() {
            self.waiting_since = None; // what came changed nothing
        }
        if !busy {
            self.save();
        }
        busy
    }

    /// Whether it would still be the past that is published.
    fn waits_for_reads(&mut self) -> bool {
        let restored = || self.engine.readings().any(|(_, reading)| reading.is_restored());
        let waits = self.fresh_until.is_some_and(|until| Instant::now() < until) && restored();
        if !waits {
            self.fresh_until = None;
        }
        waits
    }

    /// Hands over what has changed, when it is time for that.
    fn save(&mut self) {
        let now = self.now();
        let Some(saving) = &mut self.saving else { return };
        let instant = Instant::now();
        let due = instant >= saving.from && self.engine.has_news() || instant >= saving.until;
        if !due || !saving.outbox.is_idle() {
            return;
        }
        saving.from = instant + saving.outbox.pause();
        saving.until = instant + REFRESH.max(saving.outbox.pause());
        if !saving.outbox.send(self.engine.take_news(now)) {
            tracing::error!(
                "nothing is saved any more: the thread that saves has ended (a bug, please report it)"
            );
            self.saving = None;
        }
    }

    /// Hands over what nobody has seen yet, and lets go of the outbox: what is saved last says when we ended.
    fn save_last(&mut self) {
        let now = self.now();
        if let Some(saving) = self.saving.take() {
            saving.outbox.send(self.engine.take_news(now));
        }
    }

    /// When to look after [`Pipeline::save`]; absent: nobody saves.
    fn save_at(&self) -> Option<Instant> {
        let saving = self.saving.as_ref()?;
        let at = if self.engine.has_news() { saving.from } else { saving.until };
        // Nobody says when a slow disk is done.
        Some(if saving.outbox.is_idle() { at } else { at.max(Instant::now() + Duration::from_secs(1)) })
    }

    /// Takes in one thing that waits. Settings come first: what follows from them may be among the deliveries.
    fn hear(&mut self) {
        if let Ok(settings) = self.settings.try_recv() {
            self.engine.configure(settings, self.now());
        } else if let Ok(delivery) = self.deliveries.try_recv() {
            self.deliver(delivery);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        self.waiting_since.get_or_insert_with(Instant::now);
        self.engine.deliver(delivery, self.now());
    }

    /// Lets adapters know which registries are to be read again, and how often.
    fn ask_for_reads(&self) {
        let wanted = self.engine.read_again();
        self.read_again.send_if_modified(|asked| {
            let news = *asked != wanted;
            if news {
                *asked = wanted;
            }
            news
        });
    }

    fn now(&self) -> Moment {
        self.start.plus(self.started.elapsed())
    }

    /// When there is something to do although nobody says anything.
    fn alarm(&self) -> Instant {
        /// Without a deadline any far moment will do.
        const FAR: Duration = Duration::from_secs(3600);
        if let Some(until) = self.fresh_until {
            return until; // what is due before waits for it
        }
        let deadline = self.engine.deadline().map(|at| self.started + at.since(self.start));
        let first = deadline.into_iter().chain(self.save_at()).min();
        first.unwrap_or_else(|| Instant::now() + FAR)
    }
}

#[cfg(test)]
mod tests;
