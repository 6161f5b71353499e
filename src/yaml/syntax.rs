//! What is no YAML, in words that say what to do. The parser's own speak of its insides.

use serde_saphyr::granit_parser::{ErrorKind, ScanError};

use super::parse::too_deep;
use super::{Fault, Position, narrow};

/// The fault that ends the reading of a text.
pub(super) fn fault(e: &ScanError) -> Fault {
    let mark = e.marker();
    let at = Position { line: narrow(mark.line()), column: narrow(mark.col() + 1), width: 1 };
    Fault::new(at, words(e))
}

fn words(e: &ScanError) -> String {
    let why = match e.kind() {
        ErrorKind::UnknownAnchor => {
            return "no anchor (`&name`) of this name stands before this alias".into();
        }
        ErrorKind::RecursionLimitExceeded => return too_deep(),
        ErrorKind::UnclosedFlowCollection { open } => return format!("this `{open}` is never closed"),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => {
            "a tab stands where YAML allows spaces only: indent with spaces"
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            "expected `key: value`; is a colon, or a space after it, missing?"
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::InvalidIndentation
        | ErrorKind::InvalidFlowScalarIndent
        | ErrorKind::InvalidBlockScalarIndent => {
            "this does not belong to what stands above; is the indentation right?"
        }
        ErrorKind::ExpectedBlockSequenceEntry | ErrorKind::BlockSequenceEntryNotAllowed => {
            "a list and something else share an indentation; is it right?"
        }
        ErrorKind::MappingValueNotAllowed | ErrorKind::MappingKeyNotAllowed => {
            "no `key: value` can stand here; is the indentation right? A text with `: ` in it needs quotes"
        }
        ErrorKind::ExpectedFlowSequenceSeparator | ErrorKind::ExpectedFlowMappingSeparator => {
            "expected a comma or the closing bracket; a text with brackets or braces in it needs quotes"
        }
        ErrorKind::MisplacedFlowCollectionEnd | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            "this bracket closes nothing that is open"
        }
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent
        | ErrorKind::DocumentIndicatorInQuotedScalar => "a quoted text is not closed before this place",
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            "a quoted text ends before this place: put all of it in quotes"
        }
        ErrorKind::UnknownQuotedScalarEscape => {
            "no escape that YAML knows: write the backslash twice, or use single quotes"
        }
        ErrorKind::UnexpectedCharacter { .. } => "a text cannot begin with this character: put it in quotes",
        _ => return format!("not valid YAML: {}", e.info()),
    };
    format!("not valid YAML: {why}")
}
