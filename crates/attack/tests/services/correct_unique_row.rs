//! Bonus codes, correct: a unique row decides who gets the points; every other request gets 409.

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
    CREATE TABLE IF NOT EXISTS codes (code text PRIMARY KEY DEFAULT gen_random_uuid(), points int NOT NULL, blocked boolean NOT NULL DEFAULT false);
    CREATE TABLE IF NOT EXISTS redemptions (code text PRIMARY KEY REFERENCES codes, customer text NOT NULL);
    CREATE TABLE IF NOT EXISTS bookings (id bigserial PRIMARY KEY, code text NOT NULL, points int NOT NULL)";

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

async fn create(State(pool): State<Pool>, Json(body): Json<Value>) -> Reply {
    let points = body["points"].as_i64().and_then(|points| i32::try_from(points).ok());
    let points = points.ok_or(Failure::Refused(StatusCode::BAD_REQUEST, "points are missing"))?;
    let insert = "INSERT INTO codes (points) VALUES ($1) RETURNING code";
    let row = pool.get().await?.query_one(insert, &[&points]).await?;
    Ok((StatusCode::CREATED, Json(json!({ "code": row.get::<_, String>(0) }))))
}

async fn block(State(pool): State<Pool>, Path(code): Path<String>) -> Reply {
    set_blocked(&pool, &code, true).await
}

async fn unblock(State(pool): State<Pool>, Path(code): Path<String>) -> Reply {
    set_blocked(&pool, &code, false).await
}

async fn set_blocked(pool: &Pool, code: &str, blocked: bool) -> Reply {
    pool.get().await?.execute("UPDATE codes SET blocked = $2 WHERE code = $1", &[&code, &blocked]).await?;
    Ok((StatusCode::OK, Json(json!({ "blocked": blocked }))))
}

async fn redeem(State(pool): State<Pool>, Path(code): Path<String>, Json(body): Json<Value>) -> Reply {
    let customer =
        body["customer"].as_str().ok_or(Failure::Refused(StatusCode::BAD_REQUEST, "customer is missing"))?;
    let mut connection = pool.get().await?;
    let transaction = connection.transaction().await?;
    let select = "SELECT points, blocked FROM codes WHERE code = $1";
    let Some(row) = transaction.query_opt(select, &[&code]).await? else {
        return Err(Failure::Refused(StatusCode::NOT_FOUND, "no such code"));
    };
    let (points, blocked): (i32, bool) = (row.get(0), row.get(1));
    if blocked {
        return Err(Failure::Refused(StatusCode::UNPROCESSABLE_ENTITY, "the code is blocked"));
    }
    let insert = "INSERT INTO redemptions (code, customer) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    if transaction.execute(insert, &[&code, &customer]).await? == 0 {
        return Err(Failure::Refused(StatusCode::CONFLICT, "the code was used"));
    }
    let insert = "INSERT INTO bookings (code, points) VALUES ($1, $2)";
    transaction.execute(insert, &[&code, &points]).await?;
    transaction.commit().await?;
    Ok((StatusCode::OK, Json(json!({ "points": points }))))
}

async fn show(State(pool): State<Pool>, Path(code): Path<String>) -> Reply {
    let select =
        "SELECT EXISTS (SELECT FROM redemptions r WHERE r.code = c.code) FROM codes c WHERE code = $1";
    let row = pool.get().await?.query_opt(select, &[&code]).await?;
    let row = row.ok_or(Failure::Refused(StatusCode::NOT_FOUND, "no such code"))?;
    Ok((StatusCode::OK, Json(json!({ "used": row.get::<_, bool>(0) }))))
}

async fn bookings(State(pool): State<Pool>, Path(code): Path<String>) -> Reply {
    let rows = pool.get().await?.query("SELECT points FROM bookings WHERE code = $1", &[&code]).await?;
    let points: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    Ok((StatusCode::OK, Json(json!({ "bookings": points }))))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = Config { url: Some(env::var("DATABASE_URL")?), ..Config::default() };
    let pool = config.create_pool(Some(Runtime::Tokio1), NoTls)?;
    pool.get().await?.batch_execute(SCHEMA).await?;
    let app = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/codes", post(create))
        .route("/codes/{code}", get(show))
        .route("/codes/{code}/block", post(block))
        .route("/codes/{code}/unblock", post(unblock))
        .route("/codes/{code}/redeem", post(redeem))
        .route("/codes/{code}/bookings", get(bookings))
        .with_state(pool);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, env::var("PORT")?.parse()?)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
