//! Vouchers, correct: one transaction with a conditional update, the credit, the event and the reply under its key.

use std::{env, error::Error, net::Ipv4Addr};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use deadpool_postgres::{Config, Pool, PoolError, Runtime};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS accounts (id text PRIMARY KEY DEFAULT gen_random_uuid(), open boolean NOT NULL DEFAULT true);
    CREATE TABLE IF NOT EXISTS vouchers (code text PRIMARY KEY DEFAULT gen_random_uuid(), owner text NOT NULL, amount int NOT NULL,
        redeemed_at timestamptz, expires_at timestamptz NOT NULL DEFAULT now() + interval '1 year');
    CREATE TABLE IF NOT EXISTS credits (id bigserial PRIMARY KEY, account text NOT NULL, code text NOT NULL, amount int NOT NULL);
    CREATE TABLE IF NOT EXISTS events (id bigserial PRIMARY KEY, code text NOT NULL, what text NOT NULL);
    CREATE TABLE IF NOT EXISTS replies (owner text, code text, key text, reply text, PRIMARY KEY (owner, code, key))";

enum Failure {
    Refused(StatusCode, &'static str),
    Internal(Box<dyn Error + Send + Sync>),
}

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self::Internal(error.into())
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Internal(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(status, message) => (status, Json(json!({ "error": message }))).into_response(),
            Self::Internal(error) => {
                eprintln!("{error:?}");
                (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "internal error" })))
                    .into_response()
            }
        }
    }
}

type Reply = Result<(StatusCode, Json<Value>), Failure>;

async fn open_account(State(pool): State<Pool>) -> Reply {
    let row = pool.get().await?.query_one("INSERT INTO accounts DEFAULT VALUES RETURNING id", &[]).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": row.get::<_, String>(0) }))))
}

async fn change_account(State(pool): State<Pool>, Path(id): Path<String>, Json(body): Json<Value>) -> Reply {
    let open = body["open"].as_bool().ok_or(Failure::Refused(StatusCode::BAD_REQUEST, "open is missing"))?;
    pool.get().await?.execute("UPDATE accounts SET open = $2 WHERE id = $1", &[&id, &open]).await?;
    Ok((StatusCode::OK, Json(json!({ "open": open }))))
}

async fn issue(State(pool): State<Pool>, headers: HeaderMap) -> Reply {
    let owner = user(&headers)?;
    let insert = "INSERT INTO vouchers (owner, amount) VALUES ($1, 10) RETURNING code";
    let row = pool.get().await?.query_one(insert, &[&owner]).await?;
    Ok((StatusCode::CREATED, Json(json!({ "code": row.get::<_, String>(0) }))))
}

async fn expire(State(pool): State<Pool>, Path(code): Path<String>) -> Reply {
    let update = "UPDATE vouchers SET expires_at = now() - interval '1 day' WHERE code = $1";
    pool.get().await?.execute(update, &[&code]).await?;
    Ok((StatusCode::OK, Json(json!({ "code": code }))))
}

/// The user that a proxy in front of the service has authenticated.
fn user(headers: &HeaderMap) -> Result<&str, Failure> {
    let user = headers.get("x-user").and_then(|value| value.to_str().ok());
    user.ok_or(Failure::Refused(StatusCode::UNAUTHORIZED, "the header X-User is missing"))
}

async fn redeem(
    State(pool): State<Pool>,
    Path(code): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Reply {
    let owner = user(&headers)?;
    let account =
        body["account"].as_str().ok_or(Failure::Refused(StatusCode::BAD_REQUEST, "account is missing"))?;
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok());
    let mut connection = pool.get().await?;
    // Every early return rolls back.
    let transaction = connection.transaction().await?;
    if let Some(key) = key {
        // Waits for a concurrent request with the same key.
        let claim = "INSERT INTO replies (owner, code, key) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        if transaction.execute(claim, &[&owner, &code, &key]).await? == 0 {
            let select = "SELECT reply FROM replies WHERE owner = $1 AND code = $2 AND key = $3";
            let row = transaction.query_one(select, &[&owner, &code, &key]).await?;
            let reply = serde_json::from_str(row.get(0)).map_err(|error| Failure::Internal(error.into()))?;
            return Ok((StatusCode::OK, Json(reply)));
        }
    }
    let redeem = "UPDATE vouchers SET redeemed_at = clock_timestamp() WHERE code = $1 AND owner = $2
        AND redeemed_at IS NULL AND expires_at > clock_timestamp() RETURNING amount";
    let Some(row) = transaction.query_opt(redeem, &[&code, &owner]).await? else {
        let why = "SELECT redeemed_at IS NOT NULL FROM vouchers WHERE code = $1 AND owner = $2";
        return Err(match transaction.query_opt(why, &[&code, &owner]).await?.map(|row| row.get(0)) {
            None => Failure::Refused(StatusCode::NOT_FOUND, "no such voucher"),
            Some(true) => Failure::Refused(StatusCode::CONFLICT, "the voucher was redeemed"),
            Some(false) => Failure::Refused(StatusCode::GONE, "the voucher has expired"),
        });
    };
    let amount: i32 = row.get(0);
    let open = transaction.query_opt("SELECT open FROM accounts WHERE id = $1", &[&account]).await?;
    if !open.is_some_and(|row| row.get(0)) {
        return Err(Failure::Refused(StatusCode::UNPROCESSABLE_ENTITY, "the account is closed"));
    }
    let credit = "INSERT INTO credits (account, code, amount) VALUES ($1, $2, $3)";
    transaction.execute(credit, &[&account, &code, &amount]).await?;
    transaction.execute("INSERT INTO events (code, what) VALUES ($1, 'redeemed')", &[&code]).await?;
    let reply = json!({ "code": code, "amount": amount });
    if let Some(key) = key {
        let store = "UPDATE replies SET reply = $4 WHERE owner = $1 AND code = $2 AND key = $3";
        transaction.execute(store, &[&owner, &code, &key, &reply.to_string()]).await?;
    }
    transaction.commit().await?;
    Ok((StatusCode::OK, Json(reply)))
}

async fn show(State(pool): State<Pool>, Path(code): Path<String>, headers: HeaderMap) -> Reply {
    let owner = user(&headers)?;
    let select = "SELECT redeemed_at IS NOT NULL FROM vouchers WHERE code = $1 AND owner = $2";
    let row = pool.get().await?.query_opt(select, &[&code, &owner]).await?;
    let row = row.ok_or(Failure::Refused(StatusCode::NOT_FOUND, "no such voucher"))?;
    Ok((StatusCode::OK, Json(json!({ "redeemed": row.get::<_, bool>(0) }))))
}

async fn credits(State(pool): State<Pool>, Path(account): Path<String>) -> Reply {
    let rows = pool.get().await?.query("SELECT amount FROM credits WHERE account = $1", &[&account]).await?;
    let credits: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    Ok((StatusCode::OK, Json(json!({ "credits": credits }))))
}

async fn events(State(pool): State<Pool>, Path(code): Path<String>) -> Reply {
    let rows = pool.get().await?.query("SELECT what FROM events WHERE code = $1", &[&code]).await?;
    let events: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok((StatusCode::OK, Json(json!({ "events": events }))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = Config { url: Some(env::var("DATABASE_URL")?), ..Config::default() };
    let pool = config.create_pool(Some(Runtime::Tokio1), NoTls)?;
    pool.get().await?.batch_execute(SCHEMA).await?;
    let app = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/accounts", post(open_account))
        .route("/accounts/{id}", put(change_account))
        .route("/accounts/{id}/credits", get(credits))
        .route("/vouchers", post(issue))
        .route("/vouchers/{code}", get(show))
        .route("/vouchers/{code}/expire", post(expire))
        .route("/vouchers/{code}/redeem", post(redeem))
        .route("/vouchers/{code}/events", get(events))
        .with_state(pool);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, env::var("PORT")?.parse()?)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
