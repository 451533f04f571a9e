//! The search over the interleavings of two or three requests' statements, and over the points at which to crash.
//!
//! The [proxy](crate::proxy) holds every statement until the search releases it. The search runs the requests once per
//! schedule, against an object that [`Requests::reset`] makes anew, and releases one statement at a time: a request runs
//! until it holds its next statement, waits for a lock of the database, or has its response. The order of the releases is
//! the schedule. Depth-first search over these orders visits every interleaving, except for those that only swap
//! statements which commute; [`Exploration::interleavings`] counts those, too.
//!
//! A statement belongs to the only request that runs when it arrives; connections, which pools share, say nothing.
//! A schedule that cannot be followed (a timeout, a request that behaves differently from run to run) is reported in
//! [`Exploration::not_followed`] and is not judged.
//!
//! ```no_run
//! use countersign_attack::{
//!     proxy::{Proxy, Upstream},
//!     schedule::{Requests, Schedule, SearchSettings, explore},
//! };
//! use std::{convert::Infallible, io, ops::ControlFlow};
//!
//! struct TwoRedeems;
//!
//! impl Requests for TwoRedeems {
//!     type Response = u16;
//!     type Error = Infallible;
//!
//!     fn count(&self) -> usize {
//!         2
//!     }
//!     async fn reset(&mut self) -> Result<(), Infallible> {
//!         Ok(()) // makes a fresh card
//!     }
//!     fn start(&mut self, _request: usize) -> impl Future<Output = u16> + Send + 'static {
//!         async { 200 } // sends the request, returns the status
//!     }
//!     async fn judge(&mut self, schedule: &Schedule<u16>) -> Result<ControlFlow<()>, Infallible> {
//!         let succeeded = schedule.responses.iter().filter(|status| **status == 200).count();
//!         Ok(if succeeded > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let upstream: Upstream = "postgres://app@127.0.0.1:5432/shop".parse()?;
//! let mut proxy = Proxy::start(upstream).await?;
//! // Start the service with `proxy.url()` as its database.
//! let exploration = explore(&mut proxy, &mut TwoRedeems, &SearchSettings::default()).await?;
//! println!("{} of {:?} interleavings", exploration.explored, exploration.interleavings);
//! # Ok(())
//! # }
//! ```

pub mod catalog;
mod count;
pub mod crash;
mod independence;
pub mod policy;
pub mod replay;
mod run;
mod search;
pub mod stall;

use std::{fmt, ops::ControlFlow, time::Duration};

use crate::proxy::{Answer, Proxy, Statement};
pub use crash::{
    CrashExploration, CrashPoint, CrashRun, CrashableRequests, Fault, Moment, Place, explore_crashes,
};
use policy::{Causal, Policy};
pub use stall::{StallExploration, StallableRequests, explore_stalls};

/// The requests that are interleaved, and what surrounds a schedule.
///
/// `reset` and `judge` run while the proxy lets everything through.
pub trait Requests {
    /// The end of a request: a status and a body, or an unknown outcome.
    type Response: Clone + fmt::Debug + Send + 'static;
    /// Why `reset` or `judge` failed; it ends the exploration.
    type Error: fmt::Debug;

    /// The number of requests: 2 or 3.
    fn count(&self) -> usize;

    /// Makes a fresh object that all requests use.
    ///
    /// # Errors
    /// The exploration ends with it.
    fn reset(&mut self) -> impl Future<Output = Result<(), Self::Error>>;

    /// Sends a request, counted from 0. The future must always end: a timeout is a response, too.
    fn start(&mut self, request: usize) -> impl Future<Output = Self::Response> + Send + 'static;

    /// Judges a schedule that was followed to its end; `Break` ends the exploration.
    ///
    /// # Errors
    /// The exploration ends with it.
    fn judge(
        &mut self,
        schedule: &Schedule<Self::Response>,
    ) -> impl Future<Output = Result<ControlFlow<()>, Self::Error>>;
}

/// One schedule, as it went.
#[derive(Clone, Debug)]
pub struct Schedule<R> {
    /// Its number, from 1, in the order of exploration.
    pub number: u64,
    /// The statements, in the order in which they were released.
    pub steps: Vec<Step>,
    /// The responses, by request.
    pub responses: Vec<R>,
    /// Number of interleavings equivalent to this one by commuting statements, itself included; `None` above
    /// `u128::MAX`.
    pub interleavings: Option<u128>,
}

impl<R> Schedule<R> {
    /// Number of switches from one request to another.
    pub fn switches(&self) -> usize {
        self.steps.windows(2).filter(|pair| pair[0].request != pair[1].request).count()
    }

    /// Orders counterexamples: fewer switches first, then fewer statements, then the order of exploration.
    pub fn rank(&self) -> (usize, usize, u64) {
        (self.switches(), self.steps.len(), self.number)
    }
}

/// One unit that a request sent to the database: everything up to a Sync, or one simple query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The request, from 0.
    pub request: usize,
    /// The proxy's number of the connection.
    pub connection: u64,
    /// The statements; several where the client pipelines.
    pub statements: Vec<Statement>,
    /// The database's answer; `None` if the connection ended first.
    pub answer: Option<Answer>,
    /// The index of the step during which the answer came. Larger than the step's own index when it waited for a lock.
    pub answered_at: Option<usize>,
}

impl Step {
    /// True if the step waited for a lock that another request held; `index` is its own.
    pub fn was_blocked(&self, index: usize) -> bool {
        self.answered_at != Some(index)
    }
}

/// Bounds and waiting times.
#[derive(Clone, Debug)]
pub struct SearchSettings {
    /// Ends the search after this many schedules.
    pub max_schedules: u64,
    /// Ends the search after this time.
    pub max_time: Duration,
    /// Considers only schedules with at most this many switches away from a request that could have gone on.
    pub max_preemptions: Option<usize>,
    /// Leaves out interleavings that only swap statements which commute.
    pub reduce: bool,
    /// Time without an answer after which the database is asked if the statement waits for a lock.
    pub blocked_after: Duration,
    /// Time without a statement or a response after which another request goes on: the first may wait for a lock or a
    /// connection inside the service.
    pub service_patience: Duration,
    /// After this time without progress the schedule counts as not followed.
    pub timeout: Duration,
    /// Duration of the watch for background statements before the search.
    pub quiet_phase: Duration,
}

impl Default for SearchSettings {
    fn default() -> Self {
        Self {
            max_schedules: 20_000,
            max_time: Duration::from_secs(600),
            max_preemptions: None,
            reduce: true,
            blocked_after: Duration::from_millis(3),
            service_patience: Duration::from_millis(250),
            timeout: Duration::from_secs(10),
            quiet_phase: Duration::from_millis(500),
        }
    }
}

/// Coverage of the search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exploration {
    /// Schedules that were followed to their end and judged.
    pub explored: u64,
    /// Schedules that were given up because they only repeat others; not judged.
    pub redundant: u64,
    /// Number of interleavings that the explored schedules represent: what a search without reduction would run. `None`
    /// for a truncated search or above `u128::MAX`.
    pub interleavings: Option<u128>,
    /// Explored schedules in which a statement waited for a lock.
    pub with_blocking: u64,
    /// Schedules that could not be followed, and why; not judged.
    pub not_followed: Vec<NotFollowed>,
    /// Schedules that were followed at a second attempt only.
    pub repeated: u64,
    /// Why the search ended.
    pub end: SearchEnd,
    /// The bound on preemptions, if there was one.
    pub max_preemptions: Option<usize>,
    /// Reason for a search without the requested reduction.
    pub not_reduced: Option<&'static str>,
    /// Statements that the service sends without a request; they were let through.
    pub background: Vec<String>,
    /// Duration.
    pub elapsed: Duration,
}

impl Exploration {
    /// True if every interleaving of the statements was covered.
    pub fn is_every_interleaving(&self) -> bool {
        self.is_complete() && self.max_preemptions.is_none()
    }

    /// True if every interleaving within the bound on preemptions was covered.
    pub fn is_complete(&self) -> bool {
        self.end == SearchEnd::Finished && self.not_followed.is_empty() && self.explored > 0
    }
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchEnd {
    /// There was nothing left to explore.
    Finished,
    /// `judge` ended it.
    Stopped,
    /// Stopped at [`SearchSettings::max_schedules`].
    MaxSchedules,
    /// Stopped at [`SearchSettings::max_time`].
    MaxTime,
    /// Too many schedules could not be followed.
    NotFollowed,
}

/// A schedule that could not be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFollowed {
    /// The steps until then.
    pub steps: Vec<Step>,
    /// The cause.
    pub reason: String,
}

/// Why there is no exploration.
#[derive(Debug)]
pub enum ExploreError<E> {
    /// `reset` or `judge` failed.
    Requests(E),
    /// The proxy's own connection to the database failed.
    Database(crate::proxy::MonitorError),
    /// Not 2 or 3 requests.
    Count(usize),
    /// The requests sent no statement through the proxy.
    NoStatements,
}

impl<E: fmt::Display> fmt::Display for ExploreError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(error) => error.fmt(f),
            Self::Database(error) => error.fmt(f),
            Self::Count(count) => write!(f, "{count} requests to interleave (use 2 or 3)"),
            Self::NoStatements => f.write_str(
                "the requests sent no statement through the proxy (does the service connect to {database_url}?)",
            ),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for ExploreError<E> {}

/// Explores the interleavings of the requests' statements.
///
/// # Errors
/// [`ExploreError`]: the requests or the database failed. Schedules that could not be followed are no error.
pub async fn explore<R: Requests>(
    proxy: &mut Proxy,
    requests: &mut R,
    settings: &SearchSettings,
) -> Result<Exploration, ExploreError<R::Error>> {
    explore_with(proxy, requests, settings, &Causal).await
}

/// As [`explore`], with the decisions of another [`Policy`].
///
/// # Errors
/// As [`explore`].
pub async fn explore_with<R: Requests, P: Policy>(
    proxy: &mut Proxy,
    requests: &mut R,
    settings: &SearchSettings,
    policy: &P,
) -> Result<Exploration, ExploreError<R::Error>> {
    search::explore(proxy, requests, settings, policy).await
}
