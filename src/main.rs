//! The `chandler` program: parses arguments, hands over to the library, exits with its code.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// What is known of a service is many small strings that come and go together.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    chandler::cli::run(std::env::args_os())
}
