//! What is to be done if this process dies before it can do it.
//!
//! A shell reads a pipe that only this process can write to. When the process is gone, however it went, the pipe ends,
//! and the shell ends the servers and removes the temporary folders. (`PR_SET_PDEATHSIG` would need `unsafe`, exists
//! on Linux only, and fires when the *thread* that started the child ends, which in a test binary is at once.)

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::Signal;

/// Reads `end SIGNAL pid`, `forget pid`, `remove folder` and `keep folder`, one to a line.
const SHELL: &str = r#"
trap '' INT TERM HUP QUIT
set -f
servers= folders=
newline='
'
while IFS=' ' read -r verb first rest; do
    case $verb in
    end) servers="$servers $first:$rest" ;;
    forget)
        others=
        for server in $servers; do [ "${server#*:}" = "$first" ] || others="$others $server"; done
        servers=$others ;;
    remove) folders="$folders$first${rest:+ $rest}$newline" ;;
    keep)
        others=
        IFS=$newline
        for folder in $folders; do [ "$folder" = "$first${rest:+ $rest}" ] || others="$others$folder$newline"; done
        unset IFS
        folders=$others ;;
    esac
done
for server in $servers; do kill -s "${server%%:*}" "${server#*:}"; done
for server in $servers; do
    tries=100
    while [ $tries -gt 0 ] && kill -0 "${server#*:}"; do sleep 0.1; tries=$((tries - 1)); done
    kill -s KILL "${server#*:}"
done
IFS=$newline
for folder in $folders; do rm -rf -- "$folder" || { sleep 1; rm -rf -- "$folder"; }; done
"#;

static PIPE: Mutex<Option<ChildStdin>> = Mutex::new(None);

/// `pid` gets `signal` when this process is gone, and `SIGKILL` ten seconds later.
pub(super) fn end(pid: u32, signal: Signal) {
    let name = signal.as_str();
    say(&format!("end {} {pid}", name.strip_prefix("SIG").unwrap_or(name)));
}

/// `pid` is no longer ours.
pub(super) fn forget(pid: u32) {
    say(&format!("forget {pid}"));
}

/// `folder` is removed when this process is gone.
pub(super) fn remove(folder: &Path) {
    say(&format!("remove {}", folder.display()));
}

/// `folder` has been removed already.
pub(super) fn keep(folder: &Path) {
    say(&format!("keep {}", folder.display()));
}

fn say(line: &str) {
    if line.contains('\n') {
        return; // A path with a line break in it: left behind rather than misread.
    }
    let mut pipe = PIPE.lock().unwrap_or_else(PoisonError::into_inner);
    let written = match &mut *pipe {
        Some(pipe) => writeln!(pipe, "{line}"),
        empty => listen().and_then(|stdin| writeln!(empty.insert(stdin), "{line}")),
    };
    if let Err(error) = written {
        tracing::warn!(%error, "servers started here will outlive this process if it is killed");
    }
}

fn listen() -> std::io::Result<ChildStdin> {
    let mut shell = Command::new("/bin/sh")
        .args(["-c", SHELL, "omnibus-afterlife"])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0) // Ctrl-C is for us, and we tell it.
        .spawn()?;
    Ok(shell.stdin.take().expect("stdin was asked to be a pipe"))
}
