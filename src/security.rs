//! Who is at the other end, and what they may read. Decides; it neither listens nor speaks.

pub mod access;
pub mod authorizer;
pub mod door;
mod farewell;
mod kept;
pub mod peer;
pub mod secret;
pub mod tls;

pub use kept::Keeper;
