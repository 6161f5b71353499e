//! The door through which a fuzzer hands over answers.

use std::time::Duration;

use super::compose::Shape;
use super::decode::decode;
use super::ledger::Names;
use super::reading::Reading;
use super::state::{Rules, State, Verdict};
use crate::model::change::{Change, Item};
use crate::model::time::Moment;

/// The services that a full read of these bytes would be.
///
/// # Errors
/// Why it says nothing.
pub fn services(bytes: &[u8]) -> Result<Vec<Item>, String> {
    let names = Names { app: true, vip: true, secure_vip: true };
    let (settle, full_every) = (Duration::ZERO, Duration::from_secs(300));
    let mut state = State::new(Rules { names, shape: Shape::default(), settle, full_every });
    let read = decode(bytes).map_err(|e| e.to_string())?;
    let reading = Reading::new(read, None);
    let batch = state.full(reading, Verdict::Believed, 0, Moment::START);
    let reset = batch
        .0
        .into_iter()
        .find_map(|c| if let Change::Reset { items, .. } = c { Some(items) } else { None });
    Ok(reset.unwrap_or_default())
}
