//! Texts with placeholders, checked when the configuration is read.

use std::sync::Arc;

use crate::convert::naming::NamingError;
use crate::model::service::Service;

/// A text with placeholders: `{service}` is the service's name, `{domain}` one of its variables; `{group?}` may be
/// absent, and a label of the text from which only absent values remain vanishes together with its dot.
///
/// ```text
/// {interface}.{group?}.{version?}.dubbo    without a group:  org-foo-bar.1-0.dubbo
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: Arc<str>,
    /// What stands between the dots of the text.
    labels: Vec<Vec<Part>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Value { name: Arc<str>, optional: bool },
}

/// Why a text is no template. Columns count characters and begin with 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that this kind of registry does not have.
    #[error("unknown placeholder {{{name}}} at character {column}{} There is {}", hint(.nearest.as_deref()), braced(.allowed))]
    Unknown {
        /// Where its brace stands.
        column: usize,
        /// What was written.
        name: String,
        /// What there is instead.
        allowed: Vec<String>,
        /// What was probably meant.
        nearest: Option<String>,
    },
    /// `{` without `}`.
    #[error("the brace at character {column} is not closed: write {{name}}")]
    Unclosed {
        /// Where it stands.
        column: usize,
    },
    /// `}` without `{`.
    #[error("the brace at character {column} was not opened: write {{name}}")]
    Unopened {
        /// Where it stands.
        column: usize,
    },
    /// `{}`.
    #[error("the placeholder at character {column} needs a name; there is {}", braced(.allowed))]
    Nameless {
        /// Where its brace stands.
        column: usize,
        /// What there is.
        allowed: Vec<String>,
    },
    /// Nothing.
    #[error("a template must not be empty")]
    Empty,
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|n| format!(": did you mean {{{n}}}?")).unwrap_or_else(|| ".".into())
}

fn braced(names: &[String]) -> String {
    names.iter().map(|n| format!("{{{n}}}")).collect::<Vec<_>>().join(", ")
}

impl Template {
    /// Reads a template that may name `allowed`, and no other, each with or without a `?`.
    ///
    /// # Errors
    /// Unknown placeholders and unbalanced braces, with their column.
    pub fn parse(text: &str, allowed: &[&str]) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let (mut labels, mut label, mut plain) = (Vec::new(), Vec::new(), String::new());
        let mut rest = text.chars().enumerate().map(|(at, c)| (at + 1, c));
        while let Some((column, c)) = rest.next() {
            if c != '{' && c != '.' {
                if c == '}' {
                    return Err(TemplateError::Unopened { column });
                }
                plain.push(c);
                continue;
            }
            if !plain.is_empty() {
                label.push(Part::Text(std::mem::take(&mut plain)));
            }
            if c == '.' {
                labels.push(std::mem::take(&mut label));
            } else {
                label.push(placeholder(column, &mut rest, allowed)?);
            }
        }
        if !plain.is_empty() {
            label.push(Part::Text(plain));
        }
        labels.push(label);
        Ok(Self { text: text.into(), labels })
    }

    /// The text as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text with the values of `service` in it; nothing is made legal here.
    ///
    /// # Errors
    /// A placeholder without `?` for which the service has no value.
    pub fn expand(&self, service: &Service) -> Result<String, NamingError> {
        let mut labels = Vec::with_capacity(self.labels.len());
        for parts in &self.labels {
            let (mut label, mut may_vanish) = (String::new(), false);
            for part in parts {
                match part {
                    Part::Text(text) => label.push_str(text),
                    Part::Value { name, optional } => {
                        let value = value(service, name);
                        if value.is_empty() && !optional {
                            return Err(self.no_value(service, name));
                        }
                        may_vanish |= optional;
                        label.push_str(value);
                    }
                }
            }
            if !(label.is_empty() && may_vanish) {
                labels.push(label);
            }
        }
        Ok(labels.join("."))
    }

    fn no_value(&self, service: &Service, variable: &Arc<str>) -> NamingError {
        NamingError::NoValue {
            service: Arc::clone(&service.name),
            variable: Arc::clone(variable),
            template: Arc::clone(&self.text),
        }
    }
}

fn value<'a>(service: &'a Service, name: &str) -> &'a str {
    if name == "service" { &service.name } else { service.variables.get(name).unwrap_or_default() }
}

/// Reads on behind an opening brace at `column`.
fn placeholder(
    column: usize,
    rest: &mut impl Iterator<Item = (usize, char)>,
    allowed: &[&str],
) -> Result<Part, TemplateError> {
    let mut name = String::new();
    loop {
        match rest.next() {
            None | Some((_, '{')) => return Err(TemplateError::Unclosed { column }),
            Some((_, '}')) => break,
            Some((_, c)) => name.push(c),
        }
    }
    let (name, optional) = match name.strip_suffix('?') {
        Some(name) => (name, true),
        None => (name.as_str(), false),
    };
    // Lists may mark what is usually absent; it is the same name.
    let known = || allowed.iter().map(|a| a.strip_suffix('?').unwrap_or(a));
    if name.is_empty() {
        return Err(TemplateError::Nameless { column, allowed: known().map(str::to_owned).collect() });
    }
    if !known().any(|k| k == name) {
        return Err(TemplateError::Unknown {
            column,
            name: name.to_owned(),
            allowed: known().map(str::to_owned).collect(),
            nearest: nearest(name, known()),
        });
    }
    Ok(Part::Value { name: name.into(), optional })
}

/// The candidate that is at most a third of its letters away from `name`.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<String> {
    let name = name.to_lowercase();
    candidates
        .map(|c| (distance(&name, &c.to_lowercase()), c))
        .filter(|(d, c)| *d <= c.chars().count().div_ceil(3))
        .min()
        .map(|(_, c)| c.to_owned())
}

/// Letters to change, add or take away (Levenshtein's distance), one row of the table at a time.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, cb) in row.iter_mut().skip(1).zip(b.chars()) {
            let best = (corner + usize::from(ca != cb)).min(*cell + 1).min(left + 1);
            corner = std::mem::replace(cell, best);
            left = best;
        }
    }
    row.last().copied().unwrap_or_default()
}
