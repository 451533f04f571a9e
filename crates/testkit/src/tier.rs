//! The two tiers of tests: the fast one is what every contributor runs, the slow one adds long campaigns and databases.

/// True in the slow tier: `cargo test --workspace --features slow`.
pub const SLOW: bool = cfg!(feature = "slow");
