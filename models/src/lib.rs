//! Requirements on a single-use approval, and the model checker that judges a flow by them.

pub mod advice;
pub mod audit;
pub mod controls;
pub mod explain;
pub mod explorer;
pub mod export;
pub mod fixtures;
pub mod flows;
pub mod history;
pub mod liveness;
pub mod model;
pub mod outages;
pub mod properties;
pub mod prove;
pub mod replay;
mod report;
pub mod simulation;
pub mod verdict;
pub mod world;
