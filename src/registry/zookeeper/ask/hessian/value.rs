//! What was read: values, and the heap of those that others may refer to.

/// One value. Compound ones live in the [`Heap`], because others may refer to them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// None.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A number without a fraction.
    Int(i64),
    /// A text.
    Text(String),
    /// Data, a date or a number with a fraction: it was there.
    Skipped,
    /// A list, a map or an object.
    Compound(usize),
}

/// A list, a map or an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Compound {
    /// What is in it was dropped.
    List,
    Map(Vec<(Value, Value)>),
    Object {
        class: usize,
        fields: Vec<Value>,
    },
}

/// Everything compound that was read.
#[derive(Debug, Default)]
pub(crate) struct Heap {
    all: Vec<Compound>,
    /// The names of the fields of each class.
    classes: Vec<Vec<String>>,
}

impl Heap {
    /// Adds `compound`; its place.
    pub(super) fn add(&mut self, compound: Compound) -> usize {
        self.all.push(compound);
        self.all.len() - 1
    }

    /// Puts `compound` in the place of what is there.
    pub(super) fn set(&mut self, at: usize, compound: Compound) {
        if let Some(place) = self.all.get_mut(at) {
            *place = compound;
        }
    }

    /// How many compound values there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Adds a class with these fields.
    pub(super) fn add_class(&mut self, fields: Vec<String>) {
        self.classes.push(fields);
    }

    /// How many fields objects of a class have; `None`: there is no such class.
    pub(super) fn fields_of(&self, class: usize) -> Option<usize> {
        self.classes.get(class).map(Vec::len)
    }

    /// The field or the entry `name` of `value`.
    pub(crate) fn get(&self, value: &Value, name: &str) -> Option<&Value> {
        let Value::Compound(at) = value else { return None };
        match self.all.get(*at)? {
            Compound::List => None,
            Compound::Map(pairs) => pairs.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, v)| v),
            Compound::Object { class, fields } => {
                let nth = self.classes.get(*class)?.iter().position(|field| field == name)?;
                fields.get(nth)
            }
        }
    }

    /// The entries of `value` where it is a map.
    pub(crate) fn entries(&self, value: &Value) -> &[(Value, Value)] {
        match value {
            Value::Compound(at) => match self.all.get(*at) {
                Some(Compound::Map(pairs)) => pairs,
                _ => &[],
            },
            _ => &[],
        }
    }
}

impl Value {
    /// As a text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As a number.
    pub(crate) fn number(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }
}
