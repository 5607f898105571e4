# The verbs. Each is a script or a command that works without just.

# List them
default:
    @just --list

# Bring everything up on this machine; Ctrl-C ends it
up *args:
    ops/up {{args}}

# Every check, as CI runs them
test:
    ops/test

# Write the code as rustfmt has it
fmt:
    cargo fmt --all

# What the compiler and clippy have to say
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Write what is generated from the catalogue
gen:
    cargo run --locked --package omnibus-schemas --bin gen
    cargo run --locked --package omnibus-auditor --bin compliance-docs

# Figures beside bare loops, in one run: door, latency, work, durable; on demand growth, load, peers, mailer
bench *args:
    cargo run --release --locked --package omnibus-tests --bin bench -- {{args}}

# Load on the HTTP door, up to three times what it can take; then k6
load *args:
    cargo run --release --locked --package omnibus-tests --bin bench -- load {{args}}
    ops/stack tests/load/k6

# Breaks things while commands run, and judges what came of them; `--seed N` plays one round again
chaos *args:
    cargo build --locked --package omnibus-tests --bin chaos --bin shop
    cargo run --quiet --locked --package omnibus-tests --bin chaos -- {{args}}

# Random and damaged input for whatever reads what strangers write, for so many seconds
fuzz seconds="600":
    FUZZ_SECONDS={{seconds}} cargo test --locked --package omnibus-tests --test fuzz
    FUZZ_SECONDS={{seconds}} cargo test --locked --package omnibus-ingest --lib fuzz::
