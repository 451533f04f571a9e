//! A coupon that pays out once, in a SQLite file.

use std::sync::Arc;

use countersign::{
    Gate, Item, Outcome, RandomIds, SystemClock,
    store::sqlite::{SqliteOptions, SqliteStore},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).unwrap_or(SqliteStore::IN_MEMORY.to_owned());
    let ids = Arc::new(RandomIds::new());
    let store = SqliteStore::open(file, Arc::new(SystemClock), ids, SqliteOptions::default())?;
    let gate = Gate::builder(&store).build()?;

    let coupon = Item::new("alice@example.com", "10 € off an order above 50 €");
    let code = gate.issue(&coupon).await?;
    for _ in 0..2 {
        match gate.redeem(code, &coupon).await {
            Outcome::Succeeded { .. } => println!("pay out 10 €"),
            Outcome::Refused { refusal, .. } => println!("refused: {refusal}"),
            Outcome::Unknown { refusal } => println!("perhaps used, retry with the same key: {refusal}"),
        }
    }
    Ok(())
}
