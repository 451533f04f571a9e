//! Encoding of a statement's values, in both directions.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::{
    Row as WireRow,
    types::{FromSql, IsNull, ToSql, Type, to_sql_checked},
};
use uuid::Uuid;

use crate::store::sql::{Row, Value};

/// A value that the type of its column cannot hold, or a column of a type that no statement should have.
#[derive(Debug)]
struct Mismatch(Type);

impl std::fmt::Display for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a value that is no {}", self.0)
    }
}

impl Error for Mismatch {}

/// The prefix of a binary `jsonb`: its format version.
const JSONB_VERSION: u8 = 1;

impl ToSql for Value {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (self, kind) {
            (Self::Null, _) => Ok(IsNull::Yes),
            (Self::Bool(value), &Type::BOOL) => value.to_sql(kind, out),
            (Self::Int(value), &Type::INT8) => value.to_sql(kind, out),
            (Self::Int(value), &Type::INT4) => i32::try_from(*value)?.to_sql(kind, out),
            (Self::Int(value), &Type::INT2) => i16::try_from(*value)?.to_sql(kind, out),
            (Self::Text(value), &Type::TEXT | &Type::VARCHAR | &Type::JSON) => {
                out.extend_from_slice(value.as_bytes());
                Ok(IsNull::No)
            }
            (Self::Text(value), &Type::JSONB) => {
                out.extend_from_slice(&[JSONB_VERSION]);
                out.extend_from_slice(value.as_bytes());
                Ok(IsNull::No)
            }
            (Self::Bytes(value), &Type::BYTEA) => value.to_sql(kind, out),
            (Self::Id(value), &Type::UUID) => value.to_sql(kind, out),
            (Self::Bool(_) | Self::Int(_) | Self::Text(_) | Self::Bytes(_) | Self::Id(_), _) => {
                Err(Box::new(Mismatch(kind.clone())))
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(match *kind {
            Type::BOOL => Self::Bool(bool::from_sql(kind, raw)?),
            Type::INT8 => Self::Int(i64::from_sql(kind, raw)?),
            Type::INT4 => Self::Int(i32::from_sql(kind, raw)?.into()),
            Type::INT2 => Self::Int(i16::from_sql(kind, raw)?.into()),
            Type::TEXT | Type::VARCHAR | Type::NAME | Type::JSON => {
                Self::Text(str::from_utf8(raw)?.to_owned())
            }
            Type::JSONB => Self::Text(str::from_utf8(raw.get(1..).unwrap_or_default())?.to_owned()),
            Type::BYTEA => Self::Bytes(raw.to_vec()),
            Type::UUID => Self::Id(Uuid::from_sql(kind, raw)?),
            _ => return Err(Box::new(Mismatch(kind.clone()))),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// The values of a row.
pub(super) fn values_of(row: &WireRow) -> Result<Row, tokio_postgres::Error> {
    (0..row.len()).map(|column| row.try_get(column)).collect()
}
