//! Around every request: its place in a trace, one line in the log, its time, and what a handler cannot answer itself.
//!
//! **The log has no address of a request in it.** It names the route's template, and never a path or a query: the
//! approval's link has a secret in its path.

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tracing::Instrument;

use super::{App, Backend, Problem, problem::Code};
use countersign::service::Deployer;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Sees a request through.
pub(super) async fn observed<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    request: Request,
    next: Next,
) -> Response {
    let begun = app.now();
    let _in_flight = app.metrics().begin();
    let template = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let template = template.unwrap_or_else(|| "unmatched".to_owned());
    let method = request.method().clone();
    let trace = Trace::of(request.headers().get(TRACEPARENT), || app.ids().next().into_bytes());
    let span = tracing::info_span!(
        "request",
        method = %method,
        path = %template,
        trace_id = %trace.id,
        span_id = %trace.span,
    );
    let answer = async {
        // A caller who hangs up drops this future; work that must complete runs in a separate task.
        match tokio::time::timeout(app.settings().request_time, next.run(request)).await {
            Ok(response) => response,
            Err(_) => Problem::new(Code::TimedOut).into_response(),
        }
    };
    let mut response = answer.instrument(span.clone()).await;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && response.extensions().get::<Problem>().is_none()
    {
        let allow = response.headers().get(header::ALLOW).cloned();
        response = Problem::new(Code::MethodNotAllowed).allow(allow).into_response();
    }
    if let Ok(traceparent) = HeaderValue::from_str(&trace.header()) {
        response.headers_mut().insert(TRACEPARENT, traceparent);
    }
    let ms = app.now().0.saturating_sub(begun.0);
    let status = response.status().as_u16();
    // A duration in milliseconds fits many times over.
    app.metrics().answered(method.as_str(), &template, status, ms as f64 / 1000.0);
    let code = response.extensions().get::<Problem>().map(Problem::code).unwrap_or_default();
    span.in_scope(|| {
        if status >= 500 {
            tracing::warn!(target: "countersign::access", status, code, ms, "answered");
        } else {
            tracing::info!(target: "countersign::access", status, code, ms, "answered");
        }
    });
    response
}

/// A handler has panicked. What it was about stays untold.
pub(super) fn panicked(_: Box<dyn std::any::Any + Send + 'static>) -> Response {
    tracing::error!("a handler panicked");
    Problem::new(Code::Internal).into_response()
}

/// There is nothing at this address.
pub(super) async fn no_such_path() -> Problem {
    Problem::new(Code::NoSuchPath)
}

/// A request's place in a trace, as W3C's trace context has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trace {
    id: String,
    span: String,
    flags: String,
}

impl Trace {
    /// The caller's trace with a span of our own, or else a trace of our own.
    fn of(sent: Option<&HeaderValue>, random: impl Fn() -> [u8; 16]) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let span = hex(&random()[8..]);
        match sent.and_then(|sent| sent.to_str().ok()).and_then(parse) {
            Some((id, flags)) => Self { id, span, flags },
            None => Self { id: hex(&random()), span, flags: "00".to_owned() },
        }
    }

    fn header(&self) -> String {
        format!("00-{}-{}-{}", self.id, self.span, self.flags)
    }
}

/// The trace's id and its flags.
fn parse(traceparent: &str) -> Option<(String, String)> {
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |text: &str, length: usize| is_hex(text, length) && text.bytes().any(|byte| byte != b'0');
    let mut parts = traceparent.split('-');
    let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // A later version may have more to say.
    let is_whole = version != "00" || parts.next().is_none();
    let is_known =
        is_hex(version, 2) && version != "ff" && is_id(id, 32) && is_id(parent, 16) && is_hex(flags, 2);
    (is_known && is_whole).then(|| (id.to_owned(), flags.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_callers_trace_goes_on_with_a_span_of_our_own() {
        let trace = Trace::of(Some(&HeaderValue::from_static(SENT)), || [7; 16]);
        assert_eq!(trace.header(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0707070707070707-01");
    }

    #[test]
    fn what_is_no_trace_begins_one() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert!(parse(SENT).is_some());
        assert!(parse(&SENT.replace("00-4b", "01-4b")).is_some());
    }
}
