//! The one binary of Hilum.

fn main() -> std::process::ExitCode {
    hilum::main()
}
