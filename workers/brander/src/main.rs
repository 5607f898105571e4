//! The brander as a process of its own.

fn main() -> std::process::ExitCode {
    omnibus_runtime::main(omnibus_brander::worker)
}
