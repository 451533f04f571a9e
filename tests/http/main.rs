//! The gate over HTTP, on a store in memory.

mod gate;
mod promote;
