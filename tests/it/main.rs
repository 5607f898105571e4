//! One binary, so that linking is paid once.

mod deciding;
