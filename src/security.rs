//! Who is at the other end, and what they may read. Decides; it neither listens nor speaks.

pub mod authorizer;
mod kept;
pub mod peer;
pub mod tls;

pub use kept::Keeper;
