//! From a text to trees. One pass over the event stream with a stack of what is still open; never recursive.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, Span, Tag};

use super::words::shown;
use super::{Entry, Fault, Map, Node, Position, Scalar, Value, narrow, syntax};

/// How deep lists and maps may nest. Istio's deepest resource needs some 20.
pub const DEPTH: usize = 64;

/// What a text holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Its documents in order; one of comments alone is null. After a fault of syntax those that ended before it.
    pub documents: Vec<Node>,
    /// All that is wrong with it; each key that was refused is missing in its map.
    pub faults: Vec<Fault>,
}

impl Parsed {
    /// The documents of a text without faults.
    ///
    /// # Errors
    /// All faults, in the order of the text.
    pub fn complete(self) -> Result<Vec<Node>, Vec<Fault>> {
        if self.faults.is_empty() { Ok(self.documents) } else { Err(self.faults) }
    }
}

/// Reads all documents of `text`, which may have `max` bytes (with its aliases expanded: as many again).
#[must_use]
pub fn parse(text: &str, max: usize) -> Parsed {
    let mut builder = Builder { room: max, ..Builder::default() };
    if text.len() > max {
        let words = format!("{} bytes are too many: at most {max} are read; split the file", text.len());
        builder.out.faults.push(Fault::new(Position::NOWHERE, words));
        return builder.out;
    }
    for next in Parser::new_from_str_with_options(text, options()) {
        let step = match next {
            Ok((event, span)) => builder.event(event, span),
            Err(e) => Err(syntax::fault(&e)),
        };
        if let Err(fault) = step {
            builder.out.faults.push(fault);
            break;
        }
    }
    builder.out.faults.sort_by_key(|f| f.at);
    builder.out
}

fn options() -> Options {
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.flow_nesting_limit = DEPTH;
    options.block_nesting_limit = DEPTH;
    options
}

pub(super) fn too_deep() -> String {
    format!("nested deeper than {DEPTH} levels")
}

/// A list or a map that has begun and not ended.
#[derive(Debug)]
struct Open {
    at: Position,
    anchor: usize,
    body: Body,
}

#[derive(Debug)]
enum Body {
    List(Vec<Node>),
    Map(Vec<Entry>, Key),
}

/// What a map waits for.
#[derive(Debug)]
enum Key {
    /// A key.
    Awaited,
    /// The value of a key.
    Read(Box<str>, Position),
    /// A value that belongs to a key that was refused.
    Refused,
}

#[derive(Debug, Default)]
struct Builder {
    out: Parsed,
    open: Vec<Open>,
    /// A document that may be complete: it counts once its end was seen.
    root: Option<Node>,
    /// What aliases of this document stand for, by the parser's number.
    anchors: BTreeMap<usize, Node>,
    /// How much aliases may still add, in bytes as if it were written out.
    room: usize,
}

impl Builder {
    /// An error ends the reading; what is merely wrong becomes a fault.
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = position(span);
        match event {
            Event::DocumentStart(..) => {
                self.anchors.clear();
                self.open.clear();
                Ok(())
            }
            Event::DocumentEnd => {
                self.out.documents.extend(self.root.take());
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = self.scalar(&text, style, tag.as_deref(), span);
                self.finished(Node { at, value: Value::Scalar(scalar) }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(at, anchor, Body::List(Vec::new()), tag.as_deref())
            }
            Event::MappingStart(_, anchor, tag) => {
                self.begin(at, anchor, Body::Map(Vec::new(), Key::Awaited), tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => self.alias(id, at),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, at: Position, anchor: usize, body: Body, tag: Option<&Tag>) -> Result<(), Fault> {
        if self.open.len() >= DEPTH {
            return Err(Fault::new(at, too_deep()));
        }
        self.check_tag(tag, at);
        // A map's or list's extent is no word to underline.
        self.open.push(Open { at: Position { width: 1, ..at }, anchor, body });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(Open { at, anchor, body }) = self.open.pop() else { return Ok(()) };
        let value = match body {
            Body::List(items) => Value::List(items),
            Body::Map(entries, _) => Value::Map(self.map(entries)),
        };
        self.finished(Node { at, value }, anchor)
    }

    /// Refuses repeated keys and resolves `<<`; what is written wins over what is merged.
    fn map(&mut self, entries: Vec<Entry>) -> Map {
        let mut first = BTreeMap::new();
        let mut kept = Vec::with_capacity(entries.len());
        let mut merged = Vec::new();
        for entry in entries {
            if &*entry.key == MERGE {
                merged.push(entry.value);
                continue;
            }
            if let Some(line) = first.insert(entry.key.clone(), entry.at.line) {
                let words = format!(
                    "`{}` stands here twice, first in line {line}: keep one of them",
                    shown(&entry.key)
                );
                self.out.faults.push(Fault::new(entry.at, words));
                first.insert(entry.key, line);
                continue;
            }
            kept.push(entry);
        }
        if !merged.is_empty() {
            let mut known: BTreeSet<Box<str>> = first.into_keys().collect();
            for source in merged {
                self.merge(source, &mut kept, &mut known);
            }
        }
        Map { entries: kept }
    }

    fn merge(&mut self, source: Node, into: &mut Vec<Entry>, known: &mut BTreeSet<Box<str>>) {
        let sources = match source.value {
            Value::List(list) => list,
            _ => vec![source],
        };
        for source in sources {
            let at = source.at;
            let Value::Map(map) = source.value else {
                self.out
                    .faults
                    .push(Fault::new(at, "`<<` merges maps: write `<<: *name` of an anchored map"));
                continue;
            };
            into.extend(map.entries.into_iter().filter(|e| known.insert(e.key.clone())));
        }
    }

    fn alias(&mut self, id: usize, at: Position) -> Result<(), Fault> {
        let Some(node) = self.anchors.get(&id) else {
            return Err(Fault::new(at, "this alias stands inside of what it stands for"));
        };
        let Some(room) = self.room.checked_sub(weight(node)) else {
            return Err(Fault::new(at, "the aliases (`*name`) expand to too much: write less with them"));
        };
        self.room = room;
        let node = node.clone();
        self.finished(node, 0)
    }

    /// Puts a value that is complete where it belongs.
    fn finished(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { body: Body::List(items), .. }) => items.push(node),
            Some(Open { body: Body::Map(entries, key), .. }) => match std::mem::replace(key, Key::Awaited) {
                Key::Refused => {}
                Key::Read(name, at) => {
                    // Nothing has no place of its own.
                    let value = if node.is_null() { Node { at, ..node } } else { node };
                    entries.push(Entry { key: name, at, value });
                }
                Key::Awaited => match node.value {
                    Value::Scalar(s) => *key = Key::Read(s.as_str().into(), node.at),
                    _ => {
                        *key = Key::Refused;
                        self.out.faults.push(node.expected("a key"));
                    }
                },
            },
        }
        Ok(())
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Scalar {
        let plain = style == ScalarStyle::Plain;
        // Where nothing is written the parser says `~` of no extent.
        let text = if plain && span.start == span.end { Scalar::NULL } else { text };
        let as_text = tag.is_some_and(|t| t.core_suffix() == Some("str") || is_bare(t));
        self.check_tag(tag, position(span));
        Scalar::new(text, plain && !as_text)
    }

    fn check_tag(&mut self, tag: Option<&Tag>, at: Position) {
        if let Some(tag) = tag.filter(|t| t.core_suffix().is_none() && !is_bare(t)) {
            let name = format!("{}{}", tag.original_handle(), tag.suffix());
            let words = format!("the tag `{}` means nothing here: write the value without it", shown(&name));
            self.out.faults.push(Fault::new(at, words));
        }
    }
}

/// YAML 1.1's merge key, which Kubernetes' tools know as well.
const MERGE: &str = "<<";

/// `!` alone, which says "text".
fn is_bare(tag: &Tag) -> bool {
    matches!((tag.handle(), tag.suffix()), ("", "!") | ("!", ""))
}

/// How long a tree is, roughly, if it is written out.
fn weight(node: &Node) -> usize {
    // What surrounds a value: an indentation, a dash, a line's end; and never nothing.
    const AROUND: usize = 8;
    AROUND
        + match &node.value {
            Value::Scalar(s) => s.as_str().len(),
            Value::List(l) => l.iter().map(weight).sum(),
            Value::Map(m) => m.entries.iter().map(|e| e.key.len() + weight(&e.value)).sum(),
        }
}

fn position(span: Span) -> Position {
    let (start, end) = (span.start, span.end);
    let width = if start.line() == end.line() { end.col().saturating_sub(start.col()).max(1) } else { 1 };
    Position { line: narrow(start.line()), column: narrow(start.col() + 1), width: narrow(width) }
}
