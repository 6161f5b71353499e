//! Templates such as `{service}.service.{domain}` in the configuration.

use crate::convert::naming::Template;
use crate::yaml::{Fault, Node};

/// Reads a template that may name `allowed`.
pub(super) fn read(node: &Node, allowed: &[&str]) -> Result<Template, Fault> {
    Template::parse(node.text()?, allowed).map_err(|e| node.fault(e.to_string()))
}

/// The template with a letter for each placeholder: what is illegal in that is illegal in all that it can become.
pub(super) fn sample(template: &Template) -> String {
    let mut out = String::new();
    let mut rest = template.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        out.push('x');
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    out + rest
}
