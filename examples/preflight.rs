//! A custom preflight: a coupon is refused, and stays unused, while the basket is too small.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use countersign::{
    Flow, Gate, Item, Outcome, RandomIds, Refusal, SystemClock,
    protocol::Preflight,
    service::{CheckRequest, Lookup},
    store::{MemoryStore, StoreError},
};

/// The baskets of the shop: here a single one.
struct Baskets {
    total: AtomicU32,
    too_small: Refusal,
}

impl Lookup for Baskets {
    /// The total of the caller's basket.
    type Facts = u32;

    // A real shop looks up the basket of `request.by` here. When that fails, the attempt ends with a 503 and uses nothing.
    async fn look_up(&self, _: &CheckRequest<'_>) -> Result<u32, StoreError> {
        Ok(self.total.load(Ordering::Relaxed))
    }
}

impl Preflight<u32> for Baskets {
    fn can_produce(&self, refusal: &Refusal) -> bool {
        *refusal == self.too_small
    }

    fn applies(&self, _: &Refusal, total: &u32) -> bool {
        *total < 50
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let too_small = Refusal::parse("412 basket_too_small")?;
    let flow = Flow::single_use(vec![too_small.clone()]);
    let store: MemoryStore = MemoryStore::new(Arc::new(SystemClock), Arc::new(RandomIds::new()));

    // Without a check behind it, the refusal is an error when the gate is built.
    if let Err(error) = Gate::builder(&store).flow(flow.clone()).build() {
        println!("not built: {error}");
    }
    let baskets = Baskets { total: AtomicU32::new(20), too_small };
    let gate = Gate::builder(&store).flow(flow).preflight(&baskets).build()?;

    let coupon = Item::new("alice@example.com", "10 € off an order above 50 €");
    let code = gate.issue(&coupon).await?;
    for total in [20, 60] {
        baskets.total.store(total, Ordering::Relaxed);
        match gate.redeem(code, &coupon).await {
            Outcome::Succeeded { .. } => println!("{total} €: pay out 10 €"),
            Outcome::Refused { refusal, .. } | Outcome::Unknown { refusal } => {
                println!("{total} €: {refusal}");
            }
        }
    }
    Ok(())
}
