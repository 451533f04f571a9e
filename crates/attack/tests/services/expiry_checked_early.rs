//! Password resets: a link is valid for a while and sets one new password.

use std::{env, error::Error, net::Ipv4Addr};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use deadpool_postgres::{Config, Pool, PoolError, Runtime};
use serde_json::{Value, json};
use tokio_postgres::NoTls;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS resets (token text PRIMARY KEY DEFAULT gen_random_uuid(), email text NOT NULL,
        state text NOT NULL DEFAULT 'sent',
        expires_at timestamptz NOT NULL DEFAULT now() + interval '1 hour');
    CREATE TABLE IF NOT EXISTS passwords (id bigserial PRIMARY KEY, token text NOT NULL, password text NOT NULL)";

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

async fn send_link(State(pool): State<Pool>, Json(body): Json<Value>) -> Reply {
    let email =
        body["email"].as_str().ok_or(Failure::Refused(StatusCode::BAD_REQUEST, "email is missing"))?;
    let insert = "INSERT INTO resets (email) VALUES ($1) RETURNING token";
    let row = pool.get().await?.query_one(insert, &[&email]).await?;
    Ok((StatusCode::CREATED, Json(json!({ "token": row.get::<_, String>(0) }))))
}

async fn expire(State(pool): State<Pool>, Path(token): Path<String>) -> Reply {
    let update = "UPDATE resets SET expires_at = now() - interval '1 minute' WHERE token = $1";
    pool.get().await?.execute(update, &[&token]).await?;
    Ok((StatusCode::OK, Json(json!({ "token": token }))))
}

async fn set_password(State(pool): State<Pool>, Path(token): Path<String>, Json(body): Json<Value>) -> Reply {
    let password =
        body["password"].as_str().ok_or(Failure::Refused(StatusCode::BAD_REQUEST, "password is missing"))?;
    let mut connection = pool.get().await?;
    let valid = "SELECT state = 'sent', expires_at > clock_timestamp() FROM resets WHERE token = $1";
    let Some(row) = connection.query_opt(valid, &[&token]).await? else {
        return Err(Failure::Refused(StatusCode::NOT_FOUND, "no such link"));
    };
    if !row.get::<_, bool>(0) {
        return Err(Failure::Refused(StatusCode::CONFLICT, "the link was used"));
    }
    if !row.get::<_, bool>(1) {
        return Err(Failure::Refused(StatusCode::GONE, "the link has expired"));
    }
    let transaction = connection.transaction().await?;
    // Fix: … AND expires_at > clock_timestamp()
    let update = "UPDATE resets SET state = 'used' WHERE token = $1 AND state = 'sent'";
    if transaction.execute(update, &[&token]).await? == 0 {
        return Err(Failure::Refused(StatusCode::CONFLICT, "the link was used"));
    }
    let insert = "INSERT INTO passwords (token, password) VALUES ($1, $2)";
    transaction.execute(insert, &[&token, &password]).await?;
    transaction.commit().await?;
    Ok((StatusCode::OK, Json(json!({ "changed": true }))))
}

async fn show(State(pool): State<Pool>, Path(token): Path<String>) -> Reply {
    let select = "SELECT state FROM resets WHERE token = $1";
    let row = pool.get().await?.query_opt(select, &[&token]).await?;
    let row = row.ok_or(Failure::Refused(StatusCode::NOT_FOUND, "no such link"))?;
    Ok((StatusCode::OK, Json(json!({ "state": row.get::<_, String>(0) }))))
}

async fn changes(State(pool): State<Pool>, Path(token): Path<String>) -> Reply {
    let count = "SELECT count(*) FROM passwords WHERE token = $1";
    let row = pool.get().await?.query_one(count, &[&token]).await?;
    Ok((StatusCode::OK, Json(json!({ "changes": row.get::<_, i64>(0) }))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = Config { url: Some(env::var("DATABASE_URL")?), ..Config::default() };
    let pool = config.create_pool(Some(Runtime::Tokio1), NoTls)?;
    pool.get().await?.batch_execute(SCHEMA).await?;
    let app = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/resets", post(send_link))
        .route("/resets/{token}", get(show).post(set_password))
        .route("/resets/{token}/expire", post(expire))
        .route("/resets/{token}/changes", get(changes))
        .with_state(pool);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, env::var("PORT")?.parse()?)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
