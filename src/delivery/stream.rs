//! The only stream loop.
//!
//! It decides nothing about content. It reads requests all the time, also while a response waits for the client (a client
//! that is not read from stops writing, and its acknowledgements are what lets us go on), and it makes a response only
//! once the one before it has been handed to the connection: a client that never reads costs one message, and that is
//! shared. Requests that are there already are read before anything is answered: what a control plane asks for first
//! comes in one go, and may decide how all of it is answered. A stream that is ended with an error has lived about a second
//! at least: Pilot 1.6 to 1.8 comes back at once, thousands of times a second.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status, Streaming};

use crate::delivery::body::{Outlet, RequestDecoder};
use crate::delivery::client::Client;
use crate::delivery::ending::{End, is_broken, leaving, refusal, time_to_leave};
use crate::delivery::grants::Grants;
use crate::delivery::held::HOLD;
use crate::delivery::line::Share;
use crate::delivery::metrics::{Limit, Reason};
use crate::delivery::oversize::Load;
use crate::delivery::pace::Pace;
use crate::delivery::patience::{Overdue, Patience};
use crate::delivery::{Deps, Protocol, StreamSettings};
use crate::limit::{Charged, EXCESS, Limits, PeerKey, Seat, Throttle};
use crate::resource::snapshot::Snapshot;
use crate::security::peer::Peer;
use crate::session::message::{Request, Target};
use crate::session::{Event, ProtocolError, Session};

/// One open stream.
pub(super) struct Stream<P: Protocol> {
    requests: Streaming<P::In>,
    outlet: Outlet,
    client: Client,
    session: Session,
    /// What the session was told last.
    snapshot: Arc<Snapshot>,
    grants: Grants,
    throttle: Throttle,
    patience: Patience,
    pace: Pace,
    load: Load,
    limits: Limits,
    opened: Instant,
    deps: Deps,
}

/// What a client sends, message by message.
pub(super) fn requests<P: Protocol>(body: tonic::body::Body, settings: &StreamSettings) -> Streaming<P::In> {
    let limit = Some(settings.limits.message_size);
    Streaming::new_request(RequestDecoder::<P::In>::default(), body, None, limit)
}

/// The same where we have dialled, and it comes as an answer.
pub(super) fn answers<P: Protocol>(
    response: http::Response<tonic::body::Body>,
    settings: &StreamSettings,
) -> Streaming<P::In> {
    let (limit, code) = (Some(settings.limits.message_size), response.status());
    Streaming::new_response(RequestDecoder::<P::In>::default(), response.into_body(), code, None, limit)
}

impl<P: Protocol> Stream<P> {
    /// A stream that says into `outlet` what it has to say.
    pub(super) fn new(
        deps: &Deps,
        settings: &StreamSettings,
        requests: Streaming<P::In>,
        outlet: Outlet,
        peer: Peer,
        throttle: Throttle,
    ) -> Self {
        let (status, metrics) = (Arc::clone(&deps.status), Arc::clone(&deps.metrics));
        let limits = settings.limits;
        let mut pace = Pace::new(settings.full_state_interval);
        let load = Load::new(Arc::clone(&deps.oversize), PeerKey::of(&peer), P::RECEIVES);
        if let Some(pause) = load.pause() {
            pace.hold(load.receives(), pause);
        }
        Self {
            requests,
            outlet,
            client: Client::new(status, metrics, &peer, P::WIRE),
            session: P::session(settings),
            snapshot: deps.store.current(),
            grants: Grants::new(Arc::clone(&deps.access), peer),
            throttle,
            patience: Patience::new(limits.first_request_timeout),
            pace,
            load,
            limits,
            opened: Instant::now(),
            deps: deps.clone(),
        }
    }

    /// Serves the stream from its first request until nothing of it is left; then `seat` is free again. `share`: of the
    /// connection, which is cut if the client does not read and nobody else is on it.
    pub(super) async fn serve(mut self, seat: Seat, share: Share) {
        let end = self.converse().await;
        let Self { requests, outlet, client, session, snapshot, limits, load, opened, deps, .. } = self;
        // The end may take a while, and these are large.
        drop((requests, session, snapshot));
        let stalled = match end {
            End::Gone => {
                load.gone();
                client.closed("the client went", outlet.is_busy().then_some(Code::Unavailable));
                return;
            }
            End::Stalled => {
                client.closed("the client does not read", Some(Code::DeadlineExceeded));
                true
            }
            End::Status(status) => {
                let why = if status.message().is_empty() { "done" } else { status.message() };
                client.closed(why, None);
                // Who is told why at once asks the same again at once.
                if status.code() != Code::Ok && !deps.shutdown.is_draining() {
                    tokio::select! {
                        () = outlet.closed() => {}
                        () = deps.shutdown.draining() => {}
                        () = sleep_until(opened + HOLD) => {}
                    }
                }
                outlet.end(status);
                // The end stands behind what was sent, and takes as long.
                tokio::select! {
                    biased;
                    () = outlet.closed() => false,
                    () = outlet.stalled(limits.read_timeout) => true,
                }
            }
        };
        if stalled {
            share.stuck();
            outlet.closed().await;
        }
        drop(seat);
    }

    async fn converse(&mut self) -> End {
        self.session.on_snapshot(Arc::clone(&self.snapshot));
        let (mut store, shutdown) = (self.deps.store.clone(), self.deps.shutdown.clone());
        let mut leave = std::pin::pin!(time_to_leave(&shutdown));
        // Whether a response may be due.
        let mut due = true;
        loop {
            let read_on = !self.patience.is_half_closed() && !self.throttle.is_waiting();
            let went_well = tokio::select! {
                // In this order, so that requests that are there are read before anything is answered.
                biased;
                () = self.outlet.closed() => Err(End::Gone),
                () = &mut leave => Err(End::Status(leaving())),
                () = self.outlet.stalled(self.limits.read_timeout) => {
                    self.deps.metrics.reached(Limit::ReadTimeout);
                    Err(End::Stalled)
                }
                overdue = self.patience.over() => Err(self.give_up(&overdue)),
                snapshot = store.next() => {
                    due = true;
                    self.take_over(snapshot)
                }
                () = self.throttle.over() => Ok(()),
                request = self.requests.message(), if read_on => {
                    due = true;
                    self.read(request)
                }
                () = self.pace.over() => {
                    self.session.waited();
                    due = true;
                    Ok(())
                }
                () = self.client.late(self.limits.acknowledge_warning) => Ok(()),
                room = self.outlet.room(), if due => self.answer(room, &mut due),
            };
            if let Err(end) = went_well {
                return end;
            }
        }
    }

    /// Takes in what is served from now on; `None`: nothing will be any more.
    fn take_over(&mut self, snapshot: Option<Arc<Snapshot>>) -> Result<(), End> {
        self.snapshot = snapshot.ok_or_else(|| End::Status(leaving()))?;
        self.grants.may_go_on(&self.snapshot).map_err(|status| self.denied(status))?;
        self.session.on_snapshot(Arc::clone(&self.snapshot));
        Ok(())
    }

    /// Takes in what the client said.
    fn read(&mut self, request: Result<Option<P::In>, Status>) -> Result<(), End> {
        match request {
            Ok(Some(message)) => {
                self.patience.heard();
                let request = P::decode(message).map_err(refusal)?;
                if !self.take_in(request)? {
                    self.charge()?;
                }
                Ok(())
            }
            Ok(None) => {
                self.patience.half_closed(self.limits.read_timeout);
                Ok(())
            }
            Err(status) => {
                self.deps.metrics.not_received(status.code());
                if status.code() == Code::OutOfRange {
                    self.deps.metrics.reached(Limit::MessageSize);
                }
                Err(if is_broken(&status) { End::Gone } else { End::Status(status) })
            }
        }
    }

    /// Takes in a request; whether it is free: it settles what was sent.
    fn take_in(&mut self, request: Request) -> Result<bool, End> {
        self.client.requested(request.node.as_ref());
        let (asked, target) = (Arc::clone(&request.asked), request.target);
        let first = !self.session.watches(&asked);
        if let (true, Target::Known(collection)) = (first, target) {
            self.grants.may_read(collection, &self.snapshot).map_err(|status| self.denied(status))?;
        }
        let event = self.session.on_request(request).map_err(|error| {
            if matches!(error, ProtocolError::TooMuch(_)) {
                let unknown = first && target == Target::Unknown;
                let limit = if unknown { Limit::UnknownCollections } else { Limit::Subscriptions };
                self.deps.metrics.reached(limit);
            }
            refusal(error)
        })?;
        if first && matches!(target, Target::Known(_)) && self.session.watches(&asked) {
            self.patience.owes(Arc::clone(&asked));
        }
        let settles = matches!(event, Event::Acknowledged { .. } | Event::Refused { .. });
        self.load.happened(&event);
        self.client.happened(&asked, target, event);
        Ok(settles)
    }

    fn charge(&mut self) -> Result<(), End> {
        let metrics = &self.deps.metrics;
        match self.throttle.charge() {
            Charged::Paid => {}
            Charged::Stream => metrics.reached(Limit::RequestsPerSecond),
            Charged::Peer => metrics.reached(Limit::RequestsPerSecondPerPeer),
            Charged::Excess => {
                metrics.reached(Limit::RequestsPerSecond);
                let rate = self.limits.requests.map_or(0, crate::limit::Rate::per_second);
                let seconds = EXCESS.as_secs();
                return Err(End::Status(Status::resource_exhausted(format!(
                    "more than {rate} requests a second for {seconds} seconds: ask for what you need once"
                ))));
            }
        }
        Ok(())
    }

    /// Sends the next response if there is one, now that there is room.
    fn answer(&mut self, room: OwnedSemaphorePermit, due: &mut bool) -> Result<(), End> {
        let Some(response) = self.session.next_response(self.pace.largest()) else {
            *due = false;
            if self.session.is_waiting() {
                self.pace.settle();
            }
            // What was asked before the client closed its half is still answered.
            let done = self.patience.is_done() && !self.pace.is_waiting();
            return if done { Err(End::Status(Status::ok(""))) } else { Ok(()) };
        };
        if let Target::Known(collection) = response.target {
            self.grants.may_read(collection, &self.snapshot).map_err(|status| self.denied(status))?;
        }
        let frames = P::encode(&response).map_err(|error| {
            self.deps.metrics.not_sent(Code::OutOfRange);
            End::Status(Status::out_of_range(error.to_string()))
        })?;
        self.patience.answered(&response.asked);
        self.pace.sent(frames.bytes());
        self.client.sent(&response, frames.bytes());
        self.load.sent(&response, frames.bytes(), self.deps.metrics.legacy());
        self.outlet.send(frames, room);
        Ok(())
    }

    /// The peer may not read what it asked for.
    fn denied(&self, status: Status) -> End {
        let unknown = status.code() == Code::Unauthenticated;
        let reason = if unknown { Reason::Unauthenticated } else { Reason::Forbidden };
        self.deps.gate.note(&self.deps, reason, self.grants.peer(), P::WIRE, status.message());
        End::Status(status)
    }

    fn give_up(&self, overdue: &Overdue) -> End {
        self.deps.metrics.reached(match overdue {
            Overdue::Request => Limit::FirstRequestTimeout,
            Overdue::Answers(_) => Limit::ReadTimeout,
        });
        End::Status(overdue.status())
    }
}
