//! The door through which a fuzzer hands over what Dubbo writes and answers.

use super::ask;
use super::layout::dubbo::metadata::Metadata;
use super::layout::dubbo::{By, Dubbo, DubboSettings};
use super::layout::{Layout, Unit};
use super::scope;
use super::tree::Tree;

/// Reads these bytes as a frame of Dubbo's protocol, as hessian2, as a report and as an instance's data; why each of these
/// says nothing, where it does not.
pub fn read(bytes: &[u8]) -> Vec<String> {
    let mut reasons: Vec<String> = ask::read(bytes).into_iter().filter_map(Result::err).collect();
    reasons.extend(Metadata::from_json(bytes).err().map(String::from));
    let mut tree = Tree::default();
    tree.put_data("/services/app/10.0.0.1:1", bytes);
    let mut layout = Dubbo::new(DubboSettings::usual(By::Both), scope());
    layout.restart(&tree);
    let units: Vec<Unit> = layout.settle(&tree);
    reasons.extend(units.into_iter().flat_map(|unit| unit.faults));
    reasons
}
