//! All measurements of one call, from the first store to the goals.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use super::{
    autocommit::Journal,
    bench_store::BenchStore,
    campaign::Campaign,
    comparisons,
    document::{Document, Scenario},
    host,
    postgres::Postgres,
    sqlite::{Sqlite, failed},
};
use crate::args::StoreChoice;
use countersign_terminal::BadInput;

/// Measures on these stores, one after another, until it is interrupted.
pub(crate) async fn measure(mut campaign: Campaign, stores: &[StoreChoice]) -> Result<Document, BadInput> {
    let stop = Arc::clone(&campaign.stop);
    let listening = tokio::spawn(async move {
        // Without a signal to wait for it is never interrupted.
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.store(true, Ordering::Relaxed);
        }
    });
    // So that it has begun to listen.
    tokio::task::yield_now().await;
    for store in stores {
        if campaign.is_stopped() {
            break;
        }
        match store {
            StoreChoice::Sqlite(path) => on_sqlite(&mut campaign, path.as_deref()).await?,
            StoreChoice::Postgres(url) => on_postgres(&mut campaign, url.as_deref()).await?,
        }
    }
    listening.abort();
    campaign.bar.finish_and_clear();
    campaign.document.goals = comparisons::goals(&campaign.document.comparisons);
    campaign.document.machine = host::machine();
    campaign.document.complete = !campaign.is_stopped();
    Ok(campaign.document)
}

async fn on_sqlite(campaign: &mut Campaign, path: Option<&Path>) -> Result<(), BadInput> {
    let mut bench_store = Sqlite::new(path)?;
    let sync_us =
        bench_store.sync_us().map_err(|error| failed(&bench_store.path().display().to_string(), &error))?;
    let settings = [
        ("journal_mode", "WAL".to_owned()),
        ("version", rusqlite::version().to_owned()),
        ("µs for a page that is written and synced, median", format!("{sync_us:.0}")),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    campaign.document.settings.stores.insert(Sqlite::NAME.to_owned(), settings.into());
    campaign.contenders(&mut bench_store).await?;
    if campaign.entries.is_none() && !campaign.is_stopped() {
        let statement = comparisons::one_consume(&mut bench_store).await?;
        for journal in Journal::ALL {
            for scenario in [Scenario::Distinct, Scenario::Hot] {
                for clients in campaign.clients.clone() {
                    campaign.autocommit(&mut bench_store, &statement, journal, scenario, clients).await?;
                }
            }
        }
        comparisons::on_sqlite(campaign, &mut bench_store, &statement).await?;
    }
    Ok(())
}

async fn on_postgres(campaign: &mut Campaign, url: Option<&str>) -> Result<(), BadInput> {
    campaign.bar.set_message("starting PostgreSQL");
    let mut bench_store = Postgres::new(url).await?;
    campaign.document.settings.stores.insert(Postgres::NAME.to_owned(), bench_store.settings().clone());
    campaign.contenders(&mut bench_store).await?;
    if campaign.entries.is_none() && !campaign.is_stopped() {
        if let Some(pgbench) = bench_store.pgbench() {
            if let Some(version) = pgbench.version() {
                campaign.document.versions.insert("pgbench".to_owned(), version);
            }
            let statement = comparisons::one_consume(&mut bench_store).await?;
            for clients in campaign.clients.clone() {
                campaign.pgbench(&mut bench_store, &pgbench, &statement, clients).await?;
            }
        }
        comparisons::on_postgres(campaign, &mut bench_store).await?;
    }
    bench_store.leave().await;
    Ok(())
}
