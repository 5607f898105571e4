//! The presence worker as a process of its own, for the tests to kill.

fn main() -> std::process::ExitCode {
    omnibus_runtime::main(omnibus_presence::worker)
}
