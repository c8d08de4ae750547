//! The `swarmrt` program.

mod flags;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match flags::run(&arguments) {
        Ok(code) => ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1)),
        Err(message) => {
            eprintln!("swarmrt: {message}");
            ExitCode::from(2)
        }
    }
}
