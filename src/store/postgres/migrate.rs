//! Brings the tables up to date, one instance at a time.

use tokio::time::timeout;
use tokio_postgres::Client;

use super::{OpenError, PostgresOptions, SynchronousCommit, connection::driven, quoted, tls::Server};
use crate::store::sql::{Cas, Migration, to_apply};

/// All of them, oldest first.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "initial", sql: include_str!("migrations/0001_initial.sql") },
    Migration { version: 2, name: "lease", sql: include_str!("migrations/0002_lease.sql") },
    Migration { version: 3, name: "targets", sql: include_str!("migrations/0003_targets.sql") },
    Migration { version: 4, name: "readiness", sql: include_str!("migrations/0004_readiness.sql") },
    Migration { version: 5, name: "break_glass", sql: include_str!("migrations/0005_break_glass.sql") },
    Migration { version: 6, name: "bound", sql: include_str!("migrations/0006_bound.sql") },
    Migration { version: 7, name: "further_keys", sql: include_str!("migrations/0007_further_keys.sql") },
    Migration { version: 8, name: "decisions", sql: include_str!("migrations/0008_decisions.sql") },
    Migration { version: 9, name: "lease_lengths", sql: include_str!("migrations/0009_lease_lengths.sql") },
    Migration { version: 10, name: "fair_order", sql: include_str!("migrations/0010_fair_order.sql") },
    Migration { version: 11, name: "lists", sql: include_str!("migrations/0011_lists.sql") },
];

/// Held while the tables are brought up to date. An advisory lock is a database's, so it is the same for all schemas.
const LOCK: i64 = 0x636f_756e_7465_7273;

/// The oldest supported server, in the server's own format.
const OLDEST: i32 = 120_000;

/// Creates or migrates the schema and the tables. A concurrent instance waits, and then finds nothing to do.
pub(super) async fn migrate(server: &Server, options: &PostgresOptions) -> Result<(), OpenError> {
    let connected = timeout(options.connect_timeout, server.connect()).await;
    let (mut client, driver) = connected.map_err(|_| OpenError::TimedOut)?.map_err(OpenError::Server)?;
    // The connection ends with this, and the lock with the connection.
    driven(&mut Some(driver), bring_up_to_date(&mut client, options)).await
}

/// Number of missing migrations; `None` if there are no tables. Changes nothing.
pub(super) async fn pending(server: &Server, options: &PostgresOptions) -> Result<Option<usize>, OpenError> {
    let connected = timeout(options.connect_timeout, server.connect()).await;
    let (client, driver) = connected.map_err(|_| OpenError::TimedOut)?.map_err(OpenError::Server)?;
    let look = async {
        is_young_enough(&client).await?;
        if let Some(schema) = &options.schema {
            let setup = format!("SET search_path = {};", quoted(schema));
            client.batch_execute(&setup).await.map_err(OpenError::Server)?;
        }
        if options.refuse_volatile {
            keeps_commits(&client, options).await?;
        }
        let applied = applied(&client).await?;
        let missing = to_apply(MIGRATIONS, &applied).map_err(OpenError::Schema)?;
        if !applied.is_empty() && missing.is_empty() {
            agrees(&client, options.cas).await?;
        }
        may_write(&client, !applied.is_empty(), missing.is_empty()).await?;
        Ok((!applied.is_empty()).then_some(missing.len()))
    };
    driven(&mut Some(driver), look).await
}

/// Checks that the role may do what a start and its requests need: what cannot be tried without a change.
async fn may_write(client: &Client, has_tables: bool, is_current: bool) -> Result<(), OpenError> {
    const MAY: &str = "SELECT current_setting('transaction_read_only') = 'off', \
        COALESCE(has_schema_privilege(current_schema(), 'CREATE'), \
        has_database_privilege(current_database(), 'CREATE'))";
    const MAY_WRITE: &str = "SELECT has_table_privilege('approvals', 'SELECT') \
        AND has_table_privilege('approvals', 'INSERT') AND has_table_privilege('approvals', 'UPDATE') \
        AND has_table_privilege('approvals', 'DELETE')";
    let may = client.query_one(MAY, &[]).await.map_err(OpenError::Server)?;
    if !may.get::<_, bool>(0) {
        return Err(OpenError::MayNot("write: transactions are read-only"));
    }
    if !is_current && !may.get::<_, bool>(1) {
        return Err(OpenError::MayNot("create tables"));
    }
    if has_tables && !client.query_one(MAY_WRITE, &[]).await.map_err(OpenError::Server)?.get::<_, bool>(0) {
        return Err(OpenError::MayNot("write to the tables"));
    }
    Ok(())
}

async fn is_young_enough(client: &Client) -> Result<(), OpenError> {
    let version = client.query_one("SELECT current_setting('server_version_num')::INT, version()", &[]).await;
    let version = version.map_err(OpenError::Server)?;
    if version.get::<_, i32>(0) < OLDEST {
        return Err(OpenError::TooOld(version.get(1)));
    }
    Ok(())
}

async fn bring_up_to_date(client: &mut Client, options: &PostgresOptions) -> Result<(), OpenError> {
    is_young_enough(client).await?;
    let mut setup = format!("SET client_min_messages = warning; SELECT pg_advisory_lock({LOCK});");
    client.batch_execute(&setup).await.map_err(OpenError::Server)?;
    if let Some(schema) = &options.schema {
        const THERE: &str = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1";
        // Even IF NOT EXISTS needs the right to create one.
        setup.clear();
        if client.query_opt(THERE, &[schema]).await.map_err(OpenError::Server)?.is_none() {
            setup.push_str(&format!("CREATE SCHEMA {};", quoted(schema)));
        }
        setup.push_str(&format!("SET search_path = {};", quoted(schema)));
        client.batch_execute(&setup).await.map_err(OpenError::Server)?;
    }
    if options.refuse_volatile {
        keeps_commits(client, options).await?;
    }
    for migration in to_apply(MIGRATIONS, &applied(client).await?).map_err(OpenError::Schema)? {
        let transaction = client.transaction().await.map_err(OpenError::Server)?;
        transaction.batch_execute(migration.sql).await.map_err(OpenError::Server)?;
        transaction
            .execute(
                "INSERT INTO migrations (version, name, applied_at) VALUES ($1, $2, countersign_now())",
                &[&migration.version, &migration.name],
            )
            .await
            .map_err(OpenError::Server)?;
        transaction.commit().await.map_err(OpenError::Server)?;
    }
    agree(client, options.cas).await
}

/// Checks that commits survive a crash.
async fn keeps_commits(client: &Client, options: &PostgresOptions) -> Result<(), OpenError> {
    const READ: &str = "SELECT current_setting('fsync'), current_setting('synchronous_commit')";
    let row = client.query_one(READ, &[]).await.map_err(OpenError::Server)?;
    let configured: &str = row.get(1);
    let synchronous_commit = match options.synchronous_commit {
        SynchronousCommit::AsConfigured => configured,
        SynchronousCommit::On => "on",
        SynchronousCommit::Off => "off",
    };
    for (name, value) in [("fsync", row.get(0)), ("synchronous_commit", synchronous_commit)] {
        if value == "off" {
            return Err(OpenError::Volatile(format!("{name} = {value}")));
        }
    }
    Ok(())
}

/// The lock by which instances with this strategy avoid creating a second target.
fn means(cas: Cas) -> &'static str {
    if cas.locks_teams() { "team_lock" } else { "serializable" }
}

/// Records by which means the instances keep apart, or finds that it is another one's.
async fn agree(client: &Client, cas: Cas) -> Result<(), OpenError> {
    const RECORD: &str =
        "INSERT INTO shared_settings (name, value) VALUES ('means', $1) ON CONFLICT (name) DO NOTHING";
    client.execute(RECORD, &[&means(cas)]).await.map_err(OpenError::Server)?;
    agrees(client, cas).await
}

async fn agrees(client: &Client, cas: Cas) -> Result<(), OpenError> {
    const READ: &str = "SELECT value FROM shared_settings WHERE name = 'means'";
    match client.query_opt(READ, &[]).await.map_err(OpenError::Server)? {
        Some(row) if row.get::<_, &str>(0) != means(cas) => Err(OpenError::OtherStrategy { own: cas }),
        _ => Ok(()),
    }
}

/// The versions of the migrations that the tables have seen.
async fn applied(client: &Client) -> Result<Vec<i64>, OpenError> {
    const THERE: &str = "SELECT count(*) FROM pg_catalog.pg_class \
        JOIN pg_catalog.pg_namespace ON pg_namespace.oid = relnamespace \
        WHERE relname = 'migrations' AND nspname = current_schema()";
    let there = client.query_one(THERE, &[]).await.map_err(OpenError::Server)?;
    if there.get::<_, i64>(0) == 0 {
        return Ok(Vec::new());
    }
    let rows = client.query("SELECT version FROM migrations ORDER BY version", &[]).await;
    Ok(rows.map_err(OpenError::Server)?.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_that_databases_have_seen_are_never_changed() {
        crate::store::sql::assert_unchanged(
            MIGRATIONS,
            &[
                "0c2300f1ada3d0448ea3ab0d21f15a32ffb96b70ec102cb1b1db0d7af05c8475",
                "86b2c21ed61df18b4f170a08359f648873055d6ee0ab8960dbefc4374457243d",
                "3e6f123b24d8ab3c9d9bb1a0b68ad0a652d135e5cd83b55b45c86995a9861687",
                "4fc61acdeea49f427a54751eb2fea3238e9b0fbc9212cf149f9b607daf1d5882",
                "91528743d12c25f1e720e91d2ca01d18236e2f53e89890bc20307df9d903b473",
                "5cd5f927d392f1807922b42b2d7c40efab2543e98560efa1fe901a5a2703f8a9",
                "e8cbe5927f74679807c59ff956d66f88bcd31e080463ab509bea1e898de5c6e8",
                "e77ed4b87b7d4e69216d487e1b4bdb72e67f90312f7065d270ef766b42874786",
                "115ea6a72993bfdf30dc92f2c3f58edb329110df9a5ebb1d4d23cb9ac254bcaf",
                "e79d5632650910c080a6ed18b96e573c5575b24cd027aa3669a6e4fdf04ca00c",
                "19b8197c0300a31fd095777e4cf4a9ade83be9fa88eceaea64017d8d08f8a4de",
            ],
        );
    }
}
