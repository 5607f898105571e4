//! A refusal reaches its caller also while the caller still writes the body.
//!
//! What answers before it has read a body to its end (no key, too many, too large) leaves bytes on their way. If the
//! connection were closed over them, the caller's system would throw the answer away with it, and the caller would see
//! a broken connection instead of the reason. So what is left of a body is read and thrown away for a while.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header;
use futures_util::{Stream, StreamExt};

/// How much is thrown away; beyond it the connection is left standing for the rest of the time, so that a caller who
/// reads while writing sees the answer.
const MOST: usize = 16 << 20;
const LONGEST: Duration = Duration::from_secs(3);

/// The request with a body that is thrown away if it is not read.
pub(crate) fn over(request: Request) -> Request {
    // Who asks first whether the body is wanted has not sent it, and sends none if nobody reads.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return request;
    }
    request.map(|body| Body::from_stream(Lingering(Some(body.into_data_stream()))))
}

struct Lingering(Option<BodyDataStream>);

impl Stream for Lingering {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let next = ready!(body.poll_next_unpin(cx));
        if !matches!(next, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(next)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        tokio::spawn(tokio::time::timeout(LONGEST, async move {
            let mut left = MOST;
            while let Some(Ok(bytes)) = body.next().await {
                match left.checked_sub(bytes.len()) {
                    Some(less) => left = less,
                    None => std::future::pending().await,
                }
            }
        }));
    }
}
