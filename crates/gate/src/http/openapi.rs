//! The OpenAPI description: generated from the handlers and from the table of problems.
//!
//! A route is described and served from one place ([`route`]), so that neither is without the other.

use std::collections::BTreeMap;

use axum::{handler::Handler, routing::MethodRouter};
use utoipa::{
    __dev::SchemaReferences,
    IntoResponses, OpenApi, PartialSchema,
    openapi::{
        ContentBuilder, InfoBuilder, OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder,
        header::HeaderBuilder,
        path::Paths,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{PathItemExt, router::UtoipaMethodRouter};

use super::problem::{ProblemBody, TABLE};

/// A route: the handler, at the path and under the method that its description `P` says.
pub(super) fn route<P, H, T, S>(handler: H) -> UtoipaMethodRouter<S>
where
    P: utoipa::Path + SchemaReferences,
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    let mut schemas = Vec::new();
    P::schemas(&mut schemas);
    let methods = P::methods();
    let serve = |router: MethodRouter<S>, method: &utoipa::openapi::HttpMethod| {
        router.on(method.to_method_filter(), handler.clone())
    };
    let router = methods.iter().fold(MethodRouter::new(), serve);
    let mut paths = Paths::new();
    paths.add_path_operation(P::path(), methods, P::operation());
    (schemas, paths, router)
}

/// The description of the surface as a whole.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(components(schemas(ProblemBody<'static>)))]
    struct Shared;
    let info = InfoBuilder::new()
        .title("countersign")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A single-use approval gate for deployments."))
        .license(Some(utoipa::openapi::License::new(env!("CARGO_PKG_LICENSE"))))
        .build();
    let mut shared = OpenApiBuilder::from(Shared::openapi()).info(info).build();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("HS256; claims team, email, plan, admin, exp"))
        .build();
    shared.components.get_or_insert_default().add_security_scheme("bearer", SecurityScheme::Http(bearer));
    shared
}

/// The problems of these codes, one response for each status.
fn problems(codes: &[&str], as_page: bool) -> BTreeMap<String, RefOr<Response>> {
    let mut of_status: BTreeMap<u16, Vec<(&str, &str)>> = BTreeMap::new();
    for code in codes {
        let row = TABLE.iter().find(|row| row.code == *code);
        debug_assert!(row.is_some(), "{code} has no row in the table");
        if let Some(row) = row {
            of_status.entry(row.status).or_default().push((row.code, row.title));
        }
    }
    let describe = |rows: &[(&str, &str)]| {
        let each: Vec<_> = rows.iter().map(|(code, title)| format!("{title} (`{code}`)")).collect();
        each.join("; ")
    };
    let response = |status: u16, rows: &[(&str, &str)]| {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let mut response =
            ResponseBuilder::new().description(describe(rows)).content("application/problem+json", body);
        if as_page {
            response =
                response.content("text/html", ContentBuilder::new().schema(Some(String::schema())).build());
        }
        for (name, of) in
            [("WWW-Authenticate", 401), ("Allow", 405), ("Retry-After", 429), ("Retry-After", 503)]
        {
            if of == status {
                response = response.header(name, HeaderBuilder::new().schema(Some(String::schema())).build());
            }
        }
        response.build()
    };
    of_status.iter().map(|(status, rows)| (status.to_string(), response(*status, rows).into())).collect()
}

/// Codes of any route; those after the first few need a body or a session.
const ANY: &[&str] = &["too_many_requests", "internal", "timed_out", "overloaded"];
const WITH_SESSION: &[&str] = &["unauthorized", "lookup_failed", "store_failed"];
const WITH_BODY: &[&str] = &[
    "body_too_large",
    "unsupported_media_type",
    "body_too_slow",
    "invalid_body",
    "invalid_env",
    "env_look_alike",
];
const PROTECTED: &[&str] =
    &["protected_environment", "admin_required", "invalid_break_glass", "missing_email"];
const WITH_KEY: &[&str] = &["invalid_idempotency_key", "idempotency_key_reused", "idempotency_key_in_flight"];
const ADMISSION: &[&str] = &[
    "plan_required",
    "not_found",
    "invalid_target",
    "env_mismatch",
    "missing_email",
    "self_approval_forbidden",
    "approval_closed",
    "too_many_pending_approvals",
];
const APPROVAL: &[&str] = &[
    "invalid_approval_id",
    "approval_not_found",
    "approval_not_approved",
    "approval_mismatch",
    "approval_expired",
    "approval_payload_mismatch",
    "lease_failed",
    "approval_already_executed",
    "lease_lost",
    "execute_failed",
    "enqueue_failed",
];

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident $(($page:literal))? = [$($codes:expr),+ $(,)?];)+) => {$(
        $(#[doc = $doc])+
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let codes: Vec<&str> = [$(&$codes[..]),+].concat();
                problems(&codes, false $(|| $page)?)
            }
        }
    )+};
}

refusals! {
    /// Codes of a route that only reads.
    ReadRefusals = [ANY, WITH_SESSION, ["not_found"]];
    /// Of a route that changes what is there.
    WriteRefusals = [ANY, WITH_SESSION, WITH_BODY, PROTECTED, ["not_found"]];
    /// Of a route that creates something.
    CreateRefusals = [ANY, WITH_SESSION, WITH_BODY, PROTECTED, ["deployment_limit_reached"]];
    /// Of a stack's promote.
    PromoteRefusals = [ANY, WITH_SESSION, WITH_BODY, WITH_KEY, ADMISSION, APPROVAL, [
        "fetch_failed", "no_services", "missing_image_ref", "deployment_limit_reached", "create_failed",
        "update_failed", "env_load_failed", "vault_ref_failed", "target_changed",
    ]];
    /// Codes of a twin's.
    TwinRefusals = [ANY, WITH_SESSION, WITH_BODY, WITH_KEY, ADMISSION, APPROVAL, ["twin_exists", "provision_failed"]];
    /// Codes of a route about one approval.
    ApprovalRefusals = [ANY, WITH_SESSION, ["invalid_approval_id", "approval_not_found", "invalid_query"]];
    /// Codes of the administrator's list.
    ListRefusals = [ANY, WITH_SESSION, [
        "admin_required", "invalid_status", "invalid_limit", "invalid_cursor", "invalid_query",
    ]];
    /// Of the list of direct changes.
    BreakGlassRefusals = [ANY, WITH_SESSION, ["admin_required"]];
    /// Codes of a decision with a session.
    PersonRefusals = [ANY, WITH_SESSION, WITH_BODY, [
        "invalid_approval_id", "approval_not_found", "missing_email", "self_approval_forbidden",
        "not_an_approver", "not_pending", "approval_not_approved",
    ]];
    /// Of giving up on a deploy.
    GiveUpRefusals = [ANY, WITH_SESSION, [
        "admin_required", "invalid_id", "missing_email", "not_found", "approval_not_executed", "deploy_ended",
    ]];
    /// Codes of a rejection.
    RejectRefusals = [ANY, WITH_SESSION, WITH_BODY, [
        "admin_required", "invalid_id", "missing_email", "not_found", "not_pending",
    ]];
    /// Codes of the approval's page.
    PageRefusals (true) = [ANY, ["not_found", "not_an_approver", "approval_gone", "lookup_failed"]];
    /// Codes of a decision on it.
    DecisionRefusals (true) = [ANY, [
        "not_found", "approval_gone", "lookup_failed", "store_failed", "invalid_body",
        "body_too_large", "unsupported_media_type", "body_too_slow", "unauthorized", "cross_site",
        "self_approval_forbidden", "not_an_approver", "approval_not_approved",
    ]];
    /// Codes of the probes.
    ProbeRefusals = [ANY];
}
