//! The `chandler` program. Its commands come with the application.

fn main() {}
