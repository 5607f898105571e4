//! The numbers that clients act upon: errors in replies, and closes. 3000 to 3499 and the reasons of 2500 and above ask
//! the client to come back, the others tell it not to.

use axum::extract::ws::{CloseFrame, Utf8Bytes};

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) message: &'static str,
    /// The same command may succeed later.
    pub(crate) temporary: bool,
}

const fn refusal(code: u16, message: &'static str, temporary: bool) -> Refusal {
    Refusal { code, message, temporary }
}

pub(crate) const INTERNAL: Refusal = refusal(100, "internal server error", true);
pub(crate) const UNKNOWN_CHANNEL: Refusal = refusal(102, "unknown channel", false);
pub(crate) const PERMISSION_DENIED: Refusal = refusal(103, "permission denied", false);
pub(crate) const METHOD_NOT_FOUND: Refusal = refusal(104, "method not found", false);
pub(crate) const ALREADY_SUBSCRIBED: Refusal = refusal(105, "already subscribed", false);
pub(crate) const LIMIT_EXCEEDED: Refusal = refusal(106, "limit exceeded", false);
/// All of a user's places are taken, some perhaps by sockets that have gone and are not missed yet.
pub(crate) const TOO_MANY_CONNECTIONS: Refusal = refusal(106, "limit of connections exceeded", true);
pub(crate) const BAD_REQUEST: Refusal = refusal(107, "bad request", false);
pub(crate) const NOT_AVAILABLE: Refusal = refusal(108, "not available", false);
pub(crate) const TOKEN_EXPIRED: Refusal = refusal(109, "token expired", false);
pub(crate) const TOO_MANY_REQUESTS: Refusal = refusal(111, "too many requests", true);
pub(crate) const UNRECOVERABLE: Refusal = refusal(112, "unrecoverable position", false);

/// Why a socket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
}

const fn close(code: u16, reason: &'static str) -> Close {
    Close { code, reason }
}

pub(crate) const NORMAL: Close = close(1000, "");
pub(crate) const TOO_BIG: Close = close(1009, "message too big");
pub(crate) const SHUTDOWN: Close = close(3001, "shutdown");
pub(crate) const SERVER_ERROR: Close = close(3004, "internal server error");
pub(crate) const EXPIRED: Close = close(3005, "connection expired");
pub(crate) const SLOW: Close = close(3008, "slow");
pub(crate) const NO_PONG: Close = close(3012, "no pong");
pub(crate) const INVALID_TOKEN: Close = close(3500, "invalid token");
pub(crate) const MALFORMED: Close = close(3501, "bad request");
pub(crate) const STALE: Close = close(3502, "stale");
pub(crate) const NOT_TEXT: Close = close(3506, "inappropriate protocol");
pub(crate) const FORBIDDEN: Close = close(3507, "permission denied");

/// A subscription ends: the user has left the room.
pub(crate) const LEFT: Close = close(2000, "left");
/// A subscription ends: the credential does not allow it any more.
pub(crate) const NOT_ALLOWED: Close = close(2000, "permission denied");
/// A subscription ends: what it follows can't be vouched for any more. The client subscribes again, and is told whether
/// it has missed anything.
pub(crate) const INSUFFICIENT_STATE: Close = close(2500, "insufficient state");

impl Close {
    pub(crate) fn frame(self) -> CloseFrame {
        CloseFrame { code: self.code, reason: Utf8Bytes::from_static(self.reason) }
    }
}
