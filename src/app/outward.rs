//! All that goes out, as the configuration in force has it: streams, control planes that are dialled, sinks, and what of all
//! that is published goes to the wires.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::dial::Dials;
use crate::app::settings;
use crate::app::sinks::Sinks;
use crate::config::Config;
use crate::delivery::Deps;
use crate::runtime::supervise::Critical;
use crate::store::StoreReader;
use crate::store::view::{LeftOut, View};

/// What a later configuration may change about what goes out.
pub(super) struct Outward {
    streams: Deps,
    dials: Dials,
    sinks: Sinks,
    left_out: watch::Sender<LeftOut>,
}

impl Outward {
    /// All of it as `config` says.
    pub(super) async fn start(
        config: &Config,
        streams: Deps,
        sinks: Sinks,
        left_out: watch::Sender<LeftOut>,
    ) -> Self {
        let mut outward = Self { dials: Dials::new(streams.clone()), streams, sinks, left_out };
        outward.dials.configure(&config.server.dial);
        outward.sinks.configure(&config.sinks).await;
        outward
    }

    /// The same, from now on as `next` says.
    pub(super) async fn configure(&mut self, next: &Config) {
        self.streams.configure(settings::of_streams(next));
        self.dials.configure(&next.server.dial);
        self.left_out.send_replace(left_out_of(next));
        self.sinks.configure(&next.sinks).await;
    }

    /// Ends what it had begun.
    pub(super) async fn stop(self) {
        self.dials.stop().await;
        self.sinks.stop().await;
    }
}

/// What of `whole` goes to the wires, and who may change that. Once its writer is gone the last of it stays until `stop`: it
/// is the writer's end that is to be told.
pub(super) fn wires(
    mut whole: StoreReader,
    config: &Config,
    stop: CancellationToken,
    tasks: &mut Critical,
) -> (StoreReader, watch::Sender<LeftOut>) {
    let (sender, mut left_out) = watch::channel(left_out_of(config));
    let mut view = View::default();
    let share = view.reader();
    tasks.spawn("the view of the wires", async move {
        view.follow(whole.current(), &left_out.borrow_and_update());
        loop {
            let next = tokio::select! {
                next = whole.next() => next,
                Ok(()) = left_out.changed() => Some(whole.current()),
            };
            let Some(next) = next else {
                stop.cancelled().await;
                return Ok::<(), String>(());
            };
            view.follow(next, &left_out.borrow_and_update());
        }
    });
    (share, sender)
}

fn left_out_of(config: &Config) -> LeftOut {
    config.sinks.off_the_wires().cloned().collect()
}
