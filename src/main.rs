//! The command `relgraph`.

mod cli;
mod render;

fn main() -> std::process::ExitCode {
    cli::main()
}
