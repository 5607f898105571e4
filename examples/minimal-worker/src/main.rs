//! The greeter as a process of its own.

fn main() -> std::process::ExitCode {
    omnibus_runtime::main(minimal_worker::worker)
}
