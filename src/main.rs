//! The `chandler` program: parses arguments, hands over to the library, exits with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    chandler::cli::run(std::env::args_os())
}
