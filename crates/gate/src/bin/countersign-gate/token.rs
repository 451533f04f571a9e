//! `countersign-gate token`: a bearer token, and nothing else.

use countersign::store::{Clock, Plan};
use countersign_gate::{
    http::{ClaimedPlan, Claims, mint},
    instance::system_clock::SystemClock,
};

use crate::{args::TokenArgs, serve::secrets};
use countersign_terminal::{BadInput, Exit, print_line};

pub(crate) fn run(args: &TokenArgs) -> Result<Exit, BadInput> {
    let secret = match (&args.secret, &args.secret_file) {
        (Some(secret), _) => secret.clone(),
        (None, Some(path)) => secrets::from_file(path)?,
        (None, None) => unreachable!("one of the two is required"),
    };
    let now_s = SystemClock.now().0 / 1000;
    let claims = Claims {
        team: args.team,
        email: Some(args.email.0.clone()),
        plan: args.plan.map(|plan| match plan {
            Plan::Free => ClaimedPlan::Free,
            Plan::Pro => ClaimedPlan::Pro,
            Plan::Enterprise => ClaimedPlan::Enterprise,
        }),
        admin: args.admin,
        exp: now_s.saturating_add(args.ttl.as_secs()),
        nbf: None,
        iat: Some(now_s),
    };
    print_line!("{}", mint(secret.as_bytes(), &claims));
    Ok(Exit::Expected)
}
