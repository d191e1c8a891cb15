//! The `snakepit` command: argument parsing, then one module for each command. Everything it does is
//! done through the library's public API.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
