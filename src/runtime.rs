//! What keeps tasks running and lets people see how they are.

pub mod shutdown;
pub mod status;
pub mod supervise;
