//! The door through which a fuzzer hands over files.

use crate::model::change::Item;
use crate::registry::files::decode::Decoder;
use crate::registry::files::scan::SourceName;
use crate::registry::files::{DEFAULT_NAMESPACE, scope};

/// What a file of these bytes says.
///
/// # Errors
/// Why it says nothing.
pub fn decode(bytes: &[u8]) -> Result<Option<Vec<Item>>, String> {
    let decoder = Decoder { scope: scope(), namespace: DEFAULT_NAMESPACE.into() };
    decoder.decode(&SourceName::new("fuzz.yaml"), "fuzz.yaml", bytes)
}
