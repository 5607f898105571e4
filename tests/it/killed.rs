//! `kill -9` of the worker, of nats-server, of PostgreSQL: at every named point, twice on the way, at random. Afterwards
//! every accepted command has ended once; [`omnibus_tests::referee`] says what that means.

mod calls;
mod campaign;
mod case;
mod clocks;
mod points;
mod rollout;
mod twice;
