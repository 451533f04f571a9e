//! A route of axum that redeems a coupon: 200 for one request, 409 for every other one.
//!
//! Without an argument it calls itself twice; with an address, as in `127.0.0.1:8080`, it listens there.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{Request, StatusCode},
    routing::post,
};
use countersign::{
    Gate, Item, Outcome, RandomIds, SystemClock,
    store::sqlite::{SqliteOptions, SqliteStore},
};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

type Coupons = Gate<Arc<SqliteStore>>;

async fn redeem(State(coupons): State<Coupons>, Path(code): Path<Uuid>) -> (StatusCode, Json<Value>) {
    match coupons.redeem(code, &coupon()).await {
        Outcome::Succeeded { .. } => (StatusCode::OK, Json(json!({ "paid_out": 10 }))),
        Outcome::Refused { refusal, .. } | Outcome::Unknown { refusal } => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Json(json!({ "code": refusal.code() })))
        }
    }
}

/// A real shop takes the owner from the session, and the idempotency key from a header.
fn coupon() -> Item {
    Item::new("alice@example.com", "10 € off an order above 50 €")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let ids = Arc::new(RandomIds::new());
    let file = SqliteStore::IN_MEMORY;
    let store = SqliteStore::open(file, Arc::new(SystemClock), ids, SqliteOptions::default())?;
    let coupons: Coupons = Gate::builder(Arc::new(store)).build()?;
    let path = format!("/coupons/{}/redeem", coupons.issue(&coupon()).await?);
    let app = Router::new().route("/coupons/{code}/redeem", post(redeem)).with_state(coupons);

    if let Some(address) = std::env::args().nth(1) {
        println!("curl -X POST http://{address}{path}");
        return Ok(axum::serve(tokio::net::TcpListener::bind(address).await?, app).await?);
    }
    for _ in 0..2 {
        let request = Request::post(path.as_str()).body(Body::empty())?;
        println!("POST /coupons/…/redeem: {}", app.clone().oneshot(request).await?.status());
    }
    Ok(())
}
