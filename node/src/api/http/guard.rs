//! Who may ask over HTTP at all, before anything is looked at: host, origin, token, in this order.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Site;
use super::places::Heard;
use crate::api::rights::Rights;
use crate::api::rpc::{RpcError, response};

/// Sent with every answer: nothing here is to be shown, kept, framed or read by other sites. There
/// is no CORS header.
const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Lets through whoever may ask, with their rights as an extension of the request.
pub(super) async fn check(
    State(site): State<std::sync::Arc<Site>>,
    mut request: Request,
    next: Next,
) -> Response {
    let admitted = match admit(site.address, &request) {
        Ok(Some(token)) => site
            .hub
            .tokens
            .rights(&site.hub.node, &token)
            .await
            .map_err(|e| Refused::token(e.message)),
        Ok(None) => Ok(Rights::default()),
        Err(refused) => Err(refused),
    };
    let mut answer = match admitted {
        Ok(rights) => {
            if !rights.name().is_empty()
                && let Some(heard) = request.extensions().get::<Heard>()
            {
                heard.stays();
            }
            request.extensions_mut().insert(rights);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    for (name, value) in HEADERS {
        answer.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    answer
}

/// The token to look at; `None` where none is needed.
fn admit(own: SocketAddr, request: &Request) -> Result<Option<String>, Refused> {
    let headers = request.headers();
    if !host_is_ours(headers, request.uri(), own) {
        let hint = format!("ask for http://{own}");
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "KLATCH-HTTP-HOST",
            "that is not the name of this host",
            hint,
        ));
    }
    if !origin_is_ours(headers, own) {
        let hint = "pages of other sites may not use this API";
        return Err(Refused::new(
            StatusCode::FORBIDDEN,
            "KLATCH-HTTP-ORIGIN",
            "a foreign page asked",
            hint,
        ));
    }
    // For those who only watch whether it lives. Says nothing about anybody.
    if matches!(request.uri().path(), "/healthz" | "/readyz") {
        return Ok(None);
    }
    match bearer(headers) {
        Some(token) => Ok(Some(token.to_owned())),
        None => Err(Refused::token("a token is needed: `Authorization: Bearer TOKEN`")),
    }
}

/// Exactly one `Host`, parsed, and equal to one of our three names with our port; the request line
/// may only repeat it.
fn host_is_ours(headers: &HeaderMap, uri: &Uri, own: SocketAddr) -> bool {
    let mut all = headers.get_all(HOST).iter();
    let (Some(host), None) = (all.next(), all.next()) else { return false };
    let Some(host) = host.to_str().ok().and_then(|h| h.parse::<Authority>().ok()) else {
        return false;
    };
    is_ours(&host, own) && uri.authority().is_none_or(|a| is_ours(a, own))
}

fn is_ours(authority: &Authority, own: SocketAddr) -> bool {
    let host = authority.host();
    let name = host.eq_ignore_ascii_case("localhost") || matches!(host, "127.0.0.1" | "[::1]");
    let bound = match own.ip() {
        IpAddr::V4(ip) => host == ip.to_string(),
        IpAddr::V6(ip) => host == format!("[{ip}]"),
    };
    // A name with a user before it is not a plain one.
    (name || bound) && authority.port_u16() == Some(own.port()) && !authority.as_str().contains('@')
}

/// None at all (no browser sent it), or a page of our own. Browsers also say so in a header that no
/// page can set.
fn origin_is_ours(headers: &HeaderMap, own: SocketAddr) -> bool {
    let mut all = headers.get_all(ORIGIN).iter();
    let ours = match (all.next(), all.next()) {
        (None, _) => true,
        (Some(origin), None) => {
            origin.to_str().ok().and_then(|o| o.parse::<Uri>().ok()).is_some_and(|uri| {
                let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
                bare && uri.scheme_str() == Some("http")
                    && uri.authority().is_some_and(|a| is_ours(a, own))
            })
        }
        _ => false,
    };
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    ours && site.is_none_or(|s| s == b"same-origin" || s == b"none")
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// A request that is not answered.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    error: RpcError,
}

impl Refused {
    pub(super) fn new(
        status: StatusCode,
        code: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { status, error: RpcError::failed(message, code, hint, 4) }
    }

    fn token(message: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, error: RpcError::unauthorised(message) }
    }

    /// What a method or parameter is refused with.
    pub(super) fn of(status: StatusCode, error: RpcError) -> Self {
        Self { status, error }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut answer = json_answer(self.status, response(&Value::Null, Err(self.error)));
        if self.status == StatusCode::UNAUTHORIZED {
            answer
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

/// An answer in JSON.
pub(super) fn json_answer(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text)
        .into_response()
}

/// What a probe gets.
pub(super) fn probe(ok: bool, why: &Value) -> Response {
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_answer(status, json!({"ok": ok, "why": why}).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8080))
    }

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in list {
            map.append(name, value.parse().unwrap());
        }
        map
    }

    #[test]
    fn a_host_is_parsed_and_must_be_one_of_three_with_the_port() {
        let is =
            |host: &str| host_is_ours(&headers(&[(HOST, host)]), &"/rpc".parse().unwrap(), own());
        for good in ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080", "[::1]:8080"] {
            assert!(is(good), "{good}");
        }
        for bad in [
            "127.0.0.1",
            "127.0.0.1:80",
            "localhost",
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example:8080",
            "127.evil.example:8080",
            "localhost.evil.example:8080",
            "localhost:8080@evil.example",
            "user@localhost:8080",
            "127.0.0.1:8080.evil.example",
            "[::1]",
            "::1:8080",
            "0.0.0.0:8080",
            "",
        ] {
            assert!(!is(bad), "{bad}");
        }
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let ours = headers(&[(HOST, "localhost:8080")]);
        assert!(host_is_ours(&ours, &uri("http://localhost:8080/rpc"), own()));
        assert!(!host_is_ours(&ours, &uri("http://evil.example/rpc"), own()));
        assert!(!host_is_ours(&headers(&[]), &uri("/rpc"), own()));
        let twice = headers(&[(HOST, "localhost:8080"), (HOST, "evil.example")]);
        assert!(!host_is_ours(&twice, &uri("/rpc"), own()));
    }

    #[test]
    fn an_origin_is_absent_or_ours() {
        let is = |origin: &str| origin_is_ours(&headers(&[(ORIGIN, origin)]), own());
        assert!(origin_is_ours(&headers(&[]), own()));
        assert!(is("http://127.0.0.1:8080") && is("http://localhost:8080"));
        for bad in [
            "null",
            "https://evil.example",
            "http://evil.example:8080",
            "https://localhost:8080",
            "http://localhost",
            "http://localhost:8081",
            "http://localhost:8080.evil.example",
            "file://",
            "",
        ] {
            assert!(!is(bad), "{bad}");
        }
        let page = HeaderName::from_static("sec-fetch-site");
        assert!(!origin_is_ours(&headers(&[(page.clone(), "cross-site")]), own()));
        assert!(!origin_is_ours(&headers(&[(page.clone(), "same-site")]), own()));
        assert!(origin_is_ours(&headers(&[(page, "same-origin")]), own()));
    }

    #[test]
    fn a_token_is_taken_from_its_header_only() {
        assert_eq!(bearer(&headers(&[(AUTHORIZATION, "Bearer abc")])), Some("abc"));
        assert_eq!(bearer(&headers(&[(AUTHORIZATION, "bearer  abc ")])), Some("abc"));
        assert_eq!(bearer(&headers(&[(AUTHORIZATION, "Basic abc")])), None);
        assert_eq!(
            bearer(&headers(&[(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer b")])),
            None
        );
        assert_eq!(bearer(&headers(&[])), None);
    }
}
