//! Conversion between records and rows, with the documents in JSON.
//!
//! Unreadable data is an error of the store and never a panic: another program may have written to the database.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Row, SqlError, Value};
use crate::{
    platform::{Binding, Environment, Kind},
    protocol::{Approval, Digest, Status, Target, Timestamp},
    store::{
        ApprovalRecord, AuditKind, Bound, BoundTarget, BoundValue, Difference, EnvVars, Execution, Payload,
        Plan, Resource, ResourceKind, Service, Stack, StackStatus, Way,
    },
};

/// The parameters of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::store::sql::Value::from($value)),*] };
}
pub(super) use values;

/// The columns of an [`ApprovalRecord`], of a table that is called `a`.
macro_rules! approval_columns {
    () => {
        "a.id, a.team, a.requested_by, a.kind, a.from_env, a.to_env, a.digest, a.status, a.expires_at, \
         a.source, a.target_name, a.copy_vault, a.services, a.bound, a.created_at, a.decided_at"
    };
}
pub(super) use approval_columns;

/// The columns of a [`Stack`].
macro_rules! stack_columns {
    () => {
        "id, name, env, status, parent, root, services, env_vars, version"
    };
}
pub(super) use stack_columns;

/// The columns of a [`Resource`].
macro_rules! resource_columns {
    () => {
        "id, name, kind, env, root, status"
    };
}
pub(super) use resource_columns;

/// The columns of one row, to be taken one after another.
pub(super) struct Columns(std::vec::IntoIter<Value>);

impl Columns {
    pub(super) fn of(row: Row) -> Self {
        Self(row.into_iter())
    }

    /// The next column.
    pub(super) fn take<T: FromValue>(&mut self) -> Result<T, SqlError> {
        self.0.next().and_then(T::from_value).ok_or_else(|| unreadable(std::any::type_name::<T>()))
    }

    /// True if the next column is null: the outer join found no row.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.0.as_slice().first(), None | Some(Value::Null))
    }

    pub(super) fn approval(&mut self) -> Result<ApprovalRecord, SqlError> {
        let (id, team, requested_by) = (self.take()?, self.take()?, self.take()?);
        let binding = Binding { kind: self.take()?, from: self.take()?, to: self.take()? };
        let (digest, status, expires_at) = (self.take()?, self.take()?, self.take()?);
        Ok(ApprovalRecord {
            approval: Arc::new(Approval { id, team, requested_by, digest, status, expires_at }),
            binding,
            payload: Payload { source: self.take()?, name: self.take()?, copy_vault: self.take()? },
            services: self.take()?,
            bound: self.take()?,
            created_at: self.take()?,
            decided_at: self.take()?,
        })
    }

    pub(super) fn stack(&mut self) -> Result<Stack, SqlError> {
        Ok(Stack {
            id: self.take()?,
            name: self.take()?,
            env: self.take()?,
            status: self.take()?,
            parent: self.take()?,
            root: self.take()?,
            services: self.take()?,
            env_vars: self.take()?,
            version: self.take()?,
        })
    }

    pub(super) fn resource(&mut self) -> Result<Resource, SqlError> {
        Ok(Resource {
            id: self.take()?,
            name: self.take()?,
            kind: self.take()?,
            env: self.take()?,
            root: self.take()?,
            status: self.take()?,
        })
    }
}

/// A row that is not what was written. The value itself is not printed: it may be personal data.
pub(super) fn unreadable(expected: &str) -> SqlError {
    SqlError::failed(format!("a column of the database cannot be read as {expected}"))
}

/// The first row's first column; `None` without a row.
pub(super) fn first<T: FromValue>(rows: Vec<Row>) -> Result<Option<T>, SqlError> {
    rows.into_iter().next().map(|row| Columns::of(row).take()).transpose()
}

/// One column.
pub(super) trait FromValue: Sized {
    /// `None` for a value of another type.
    fn from_value(value: Value) -> Option<Self>;
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl FromValue for i64 {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Int(number) = value { Some(number) } else { None }
    }
}

macro_rules! numbers {
    ($($number:ty),+) => {$(
        impl FromValue for $number {
            fn from_value(value: Value) -> Option<Self> {
                i64::from_value(value)?.try_into().ok()
            }
        }
    )+};
}
numbers!(u64, u32, i32, usize);

impl FromValue for Timestamp {
    fn from_value(value: Value) -> Option<Self> {
        u64::from_value(value).map(Self)
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Bool(yes) => Some(yes),
            // SQLite has no booleans.
            Value::Int(number) => Some(number != 0),
            Value::Null | Value::Text(_) | Value::Bytes(_) | Value::Id(_) => None,
        }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Text(text) = value { Some(text) } else { None }
    }
}

impl FromValue for Arc<str> {
    fn from_value(value: Value) -> Option<Self> {
        String::from_value(value).map(Self::from)
    }
}

impl FromValue for Uuid {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Id(id) => Some(id),
            // SQLite has no UUIDs.
            Value::Bytes(bytes) => Self::from_slice(&bytes).ok(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Text(_) => None,
        }
    }
}

impl FromValue for Digest {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Bytes(bytes) = value { bytes.try_into().ok().map(Self) } else { None }
    }
}

impl FromValue for Environment {
    fn from_value(value: Value) -> Option<Self> {
        Self::parse(String::from_value(value)?).ok()
    }
}

impl FromValue for Arc<[Service]> {
    fn from_value(value: Value) -> Option<Self> {
        let documents: Vec<ServiceDocument> = serde_json::from_str(&String::from_value(value)?).ok()?;
        Some(documents.into_iter().map(Service::from).collect())
    }
}

impl FromValue for Arc<Bound> {
    fn from_value(value: Value) -> Option<Self> {
        let document: BoundDocument = serde_json::from_str(&String::from_value(value)?).ok()?;
        let target = document.target.map(|BoundTargetDocument { id, version, services }| BoundTarget {
            id,
            version,
            services: services.into_iter().map(Service::from).collect(),
        });
        let values = |documents: Vec<BoundValueDocument>| -> Option<Vec<BoundValue>> {
            documents.into_iter().map(BoundValueDocument::value).collect()
        };
        let (variables, vault) = (values(document.variables)?, values(document.vault)?);
        Some(Self::new(Bound { target, variables, vault }))
    }
}

impl FromValue for EnvVars {
    fn from_value(value: Value) -> Option<Self> {
        serde_json::from_str(&String::from_value(value)?).ok()
    }
}

impl FromValue for Execution {
    fn from_value(value: Value) -> Option<Self> {
        let document: ExecutionDocument = serde_json::from_str(&String::from_value(value)?).ok()?;
        let ExecutionDocument { key, source, name, copy_vault, target, created, vault_keys } = document;
        let payload = Payload { source, name, copy_vault };
        let target = target.map(|id| Target { id, created });
        Some(Self { key: key.map(Arc::from), payload, target, vault_keys })
    }
}

impl From<Uuid> for Value {
    fn from(id: Uuid) -> Self {
        Self::Id(id)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<&Arc<str>> for Value {
    fn from(text: &Arc<str>) -> Self {
        (**text).into()
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Self {
        Self::Bool(yes)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u64> for Value {
    /// A number above the database's maximum is stored as that maximum.
    fn from(number: u64) -> Self {
        Self::Int(number.try_into().unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Int(number.try_into().unwrap_or(i64::MAX))
    }
}

impl From<Timestamp> for Value {
    fn from(time: Timestamp) -> Self {
        time.0.into()
    }
}

impl From<Digest> for Value {
    fn from(digest: Digest) -> Self {
        Self::Bytes(digest.0.to_vec())
    }
}

impl From<&Environment> for Value {
    fn from(environment: &Environment) -> Self {
        environment.as_str().into()
    }
}

impl From<&Arc<[Service]>> for Value {
    fn from(services: &Arc<[Service]>) -> Self {
        document(&services.iter().map(ServiceDocument::from).collect::<Vec<_>>())
    }
}

impl From<&Bound> for Value {
    fn from(bound: &Bound) -> Self {
        let Bound { target, variables, vault } = bound;
        let values = |values: &[BoundValue]| values.iter().map(BoundValueDocument::of).collect();
        document(&BoundDocument {
            target: target.as_ref().map(|BoundTarget { id, version, services }| BoundTargetDocument {
                id: *id,
                version: *version,
                services: services.iter().map(ServiceDocument::from).collect(),
            }),
            variables: values(variables),
            vault: values(vault),
        })
    }
}

impl From<&EnvVars> for Value {
    fn from(variables: &EnvVars) -> Self {
        document(variables)
    }
}

impl From<&Execution> for Value {
    fn from(execution: &Execution) -> Self {
        let Execution { key, payload, target, vault_keys } = execution;
        document(&ExecutionDocument {
            key: key.as_deref().map(str::to_owned),
            source: payload.source,
            name: payload.name.clone(),
            copy_vault: payload.copy_vault,
            target: target.map(|target| target.id),
            created: target.is_some_and(|target| target.created),
            vault_keys: vault_keys.clone(),
        })
    }
}

impl<T> From<Option<T>> for Value
where
    Self: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}

/// Texts, numbers and ids always have a form in JSON.
fn document(of: &impl Serialize) -> Value {
    serde_json::to_string(of).map_or(Value::Null, Value::Text)
}

#[derive(Serialize, Deserialize)]
struct ServiceDocument {
    name: String,
    image_ref: Option<String>,
    port: Option<u16>,
    expose: bool,
}

impl From<&Service> for ServiceDocument {
    fn from(service: &Service) -> Self {
        let Service { name, image_ref, port, expose } = service.clone();
        Self { name, image_ref, port, expose }
    }
}

impl From<ServiceDocument> for Service {
    fn from(document: ServiceDocument) -> Self {
        let ServiceDocument { name, image_ref, port, expose } = document;
        Self { name, image_ref, port, expose }
    }
}

#[derive(Serialize, Deserialize)]
struct BoundDocument {
    target: Option<BoundTargetDocument>,
    variables: Vec<BoundValueDocument>,
    vault: Vec<BoundValueDocument>,
}

#[derive(Serialize, Deserialize)]
struct BoundTargetDocument {
    id: Uuid,
    version: u64,
    services: Vec<ServiceDocument>,
}

#[derive(Serialize, Deserialize)]
struct BoundValueDocument {
    name: String,
    seal: Option<Digest>,
    change: String,
}

impl BoundValueDocument {
    fn of(value: &BoundValue) -> Self {
        let BoundValue { name, seal, change } = value;
        let change = match change {
            Difference::Unchanged => "unchanged",
            Difference::Added => "added",
            Difference::Missing => "missing",
        };
        Self { name: name.clone(), seal: *seal, change: change.to_owned() }
    }

    fn value(self) -> Option<BoundValue> {
        let Self { name, seal, change } = self;
        let change = match change.as_str() {
            "unchanged" => Difference::Unchanged,
            "added" => Difference::Added,
            "missing" => Difference::Missing,
            _ => return None,
        };
        Some(BoundValue { name, seal, change })
    }
}

#[derive(Serialize, Deserialize)]
struct ExecutionDocument {
    key: Option<String>,
    source: Uuid,
    name: Option<String>,
    copy_vault: bool,
    target: Option<Uuid>,
    created: bool,
    vault_keys: Vec<String>,
}

/// A word for each variant, one way and the other.
macro_rules! words {
    ($($type:ty { $($variant:ident = $word:literal),+ $(,)? })+) => {$(
        impl FromValue for $type {
            fn from_value(value: Value) -> Option<Self> {
                match String::from_value(value)?.as_str() {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }

        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                match value {
                    $(<$type>::$variant => $word.into(),)+
                }
            }
        }
    )+};
}

words! {
    Status {
        Pending = "pending",
        Approved = "approved",
        Rejected = "rejected",
        Expired = "expired",
        Executed = "executed",
        Revoked = "revoked",
    }
    Kind { Stack = "stack", ResourceTwin = "resource_twin" }
    StackStatus { Building = "building", Healthy = "healthy", Failed = "failed" }
    ResourceKind { Postgres = "postgres", Redis = "redis", Mongodb = "mongodb" }
    Plan { Free = "free", Pro = "pro", Enterprise = "enterprise" }
    AuditKind {
        Requested = "promote.approval_requested",
        Approved = "promote.approved",
        Rejected = "promote.rejected",
        Expired = "promote.expired",
        Executed = "promote.executed",
        Revoked = "promote.revoked",
        RejectedLate = "promote.rejected_after_expiry",
    }
    Way { Link = "link", Session = "session" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back<T: FromValue>(value: impl Into<Value>) -> Option<T> {
        T::from_value(value.into())
    }

    #[test]
    fn a_word_in_a_row_is_the_word_that_is_printed() {
        for status in Status::ALL {
            assert_eq!(Value::from(status), Value::Text(status.to_string()));
            assert_eq!(back::<Status>(status), Some(status));
        }
        for kind in AuditKind::ALL {
            assert_eq!(Value::from(kind), Value::from(kind.as_str()));
            assert_eq!(back::<AuditKind>(kind), Some(kind));
        }
    }

    #[test]
    fn documents_read_back() {
        let services = Arc::from([
            Service {
                name: "w\"eb\u{0}".into(),
                image_ref: Some("a:1".into()),
                port: Some(80),
                expose: true,
            },
            Service { name: String::new(), image_ref: None, port: None, expose: false },
        ]);
        assert_eq!(back::<Arc<[Service]>>(&services), Some(services));
        let value = |change, seal| BoundValue { name: "A\"".to_owned(), seal, change };
        let target = BoundTarget { id: Uuid::from_u128(3), version: 4, services: Arc::from([]) };
        let bound = Bound {
            target: Some(target),
            variables: vec![value(Difference::Unchanged, Some(Digest([7; 32])))],
            vault: vec![value(Difference::Missing, None), value(Difference::Added, Some(Digest([8; 32])))],
        };
        assert_eq!(back::<Arc<Bound>>(&bound).as_deref(), Some(&bound));
        let variables = EnvVars::from([("A".to_owned(), "vault:B".to_owned())]);
        assert_eq!(back::<EnvVars>(&variables), Some(variables));
        let execution = Execution {
            key: Some("k".into()),
            payload: Payload { source: Uuid::from_u128(1), name: None, copy_vault: true },
            target: Some(Target { id: Uuid::from_u128(2), created: true }),
            vault_keys: vec!["A".into()],
        };
        assert_eq!(back::<Execution>(&execution), Some(execution));
    }

    #[test]
    fn foreign_values_are_an_error_without_a_panic() {
        assert_eq!(back::<Status>("gone"), None);
        assert_eq!(back::<u64>(-1_i64), None);
        assert_eq!(back::<Environment>("a b"), None);
        assert_eq!(back::<Arc<[Service]>>("[{}]"), None);
        assert_eq!(Uuid::from_value(Value::Bytes(vec![1; 15])), None);
        assert_eq!(Digest::from_value(Value::Bytes(vec![1; 31])), None);
        assert_eq!(Columns::of(vec![]).take::<bool>(), Err(unreadable("bool")));
    }

    #[test]
    fn a_time_beyond_the_largest_number_is_the_largest_number() {
        assert_eq!(Value::from(Timestamp(u64::MAX)), Value::Int(i64::MAX));
        assert_eq!(Value::from(usize::MAX), Value::Int(i64::MAX));
    }
}
