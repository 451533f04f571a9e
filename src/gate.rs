//! The gate: issues single-use items, requests approvals, and makes attempts to use them.
//!
//! A [`Gate`] combines a store with the order of the steps and the preflight that they call, checked when it is built.
//! An [`Item`] is the protected object: a coupon, a link, a payment. The gate hashes its content, and a use has to
//! present the same content.

use std::{error::Error, fmt, ops::Deref, sync::Arc};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    platform::{Binding, Environment, Kind},
    protocol::{Digest, Flow, Outcome, Refusal, StepAction, Via},
    service::{
        Answer, Deployer, Driver, Lookup, NoDeployer, NoPreflight, RetryImmediately, UnsupportedStep, Waiter,
        request_once, supports_with,
    },
    store::{
        ApprovalRecord, Approvals, AttemptReads, AttemptStore, Decision, Payload, PromotionRequest,
        Requested, StoreError, digest_of,
    },
};

/// The approver, in the audit of an item that was issued without a person's decision.
pub const ISSUED: &str = "policy:issued";

/// Something that can be used once. Its owner and its content identify it: an attempt that brings another owner gets a 404,
/// one that brings another content a 409.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    owner: Uuid,
    content: Digest,
    by: Arc<str>,
    key: Option<Arc<str>>,
}

impl Item {
    /// An item of this owner with this content. The content is hashed and not stored.
    pub fn new(owner: &str, content: impl AsRef<[u8]>) -> Self {
        let hash = Sha256::new().chain_update("countersign: the owner of an item\n").chain_update(owner);
        let hash: [u8; 32] = hash.finalize().into();
        let (id, _) = hash.split_first_chunk().unwrap_or_else(|| unreachable!("32 bytes are more than 16"));
        Self {
            owner: uuid::Builder::from_custom_bytes(*id).into_uuid(),
            content: Digest(Sha256::digest(content).into()),
            by: owner.into(),
            key: None,
        }
    }

    /// The caller, as the audit names it; by default the owner.
    #[must_use]
    pub fn by(self, caller: impl Into<Arc<str>>) -> Self {
        Self { by: caller.into(), ..self }
    }

    /// The idempotency key of this request: repeated under the same key, it gets the same outcome.
    #[must_use]
    pub fn key(self, key: impl Into<Arc<str>>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// The team that stands for the owner in the store.
    pub fn team(&self) -> Uuid {
        self.owner
    }

    /// The request to be given an approval, and to use it. A store keeps requests of the platform, so the content takes
    /// the place of a target's name.
    fn ask(&self) -> PromotionRequest {
        let name =
            |name: &str| Environment::parse(name).unwrap_or_else(|_| unreachable!("{name} is a legal name"));
        let binding = Binding { kind: Kind::Stack, from: name("issued"), to: name("used") };
        let payload = Payload { source: self.owner, name: Some(self.content.to_string()), copy_vault: false };
        PromotionRequest {
            team: self.owner,
            binding,
            requested_by: Arc::clone(&self.by),
            payload,
            key: self.key.clone(),
        }
    }
}

/// Puts a [`Gate`] together. The defaults: [`Flow::single_use`], no preflight besides the store's, no deployer, and
/// immediate retries of attempts that find a lease taken.
#[derive(Clone, Debug)]
#[must_use]
pub struct GateBuilder<S, P = &'static NoPreflight, D = &'static NoDeployer, W = &'static RetryImmediately> {
    gate: Gate<S, P, D, W>,
    has_deployer: bool,
}

impl<S, P, D, W> GateBuilder<S, P, D, W> {
    /// The order of the steps.
    pub fn flow(mut self, flow: impl Into<Arc<Flow>>) -> Self {
        self.gate.flow = flow.into();
        self
    }

    /// The checks behind the refusals of `check` steps, besides the store's.
    pub fn preflight<Q>(self, preflight: Q) -> GateBuilder<S, Q, D, W> {
        let Gate { store, deployer, waiter, flow, .. } = self.gate;
        let gate = Gate { store, preflight, deployer, waiter, flow };
        GateBuilder { gate, has_deployer: self.has_deployer }
    }

    /// Starts the deploys of flows that launch from this process.
    pub fn deployer<E>(self, deployer: E) -> GateBuilder<S, P, E, W> {
        let Gate { store, preflight, waiter, flow, .. } = self.gate;
        GateBuilder { gate: Gate { store, preflight, deployer, waiter, flow }, has_deployer: true }
    }

    /// Sets the queue for an approval's lease.
    pub fn waiter<V>(self, waiter: V) -> GateBuilder<S, P, D, V> {
        let Gate { store, preflight, deployer, flow, .. } = self.gate;
        let gate = Gate { store, preflight, deployer, waiter, flow };
        GateBuilder { gate, has_deployer: self.has_deployer }
    }

    /// The gate.
    ///
    /// # Errors
    /// [`BuildError`] when a step of the flow could not do what it says.
    pub fn build(self) -> Result<Gate<S, P, D, W>, BuildError>
    where
        S: Deref<Target: AttemptReads + Sized>,
        P: Deref<Target: Lookup + Sized>,
    {
        let flow = &self.gate.flow;
        supports_with(flow, &*self.gate.store, &*self.gate.preflight).map_err(BuildError::Unsupported)?;
        let launches = flow
            .steps()
            .iter()
            .find(|step| matches!(&step.action, StepAction::Act(act) if matches!(act.via, Via::Memory)));
        match launches {
            Some(step) if !self.has_deployer => Err(BuildError::NoDeployer { step: step.to_string() }),
            _ => Ok(self.gate),
        }
    }
}

/// A step of a flow could not do what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// The driver and the store do not carry it out, or it lists a refusal that no check produces.
    Unsupported(UnsupportedStep),
    /// The step launches from this process, and the gate has no deployer.
    NoDeployer {
        /// The step's name, or else what it does.
        step: String,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(why) => why.fmt(f),
            Self::NoDeployer { step } => {
                write!(f, "the step `{step}` launches, and the gate has no deployer (add one to the builder)")
            }
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unsupported(why) => why.source(),
            Self::NoDeployer { .. } => None,
        }
    }
}

/// Why an item was not issued, requested or decided about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// The rules refuse.
    Refused(Refusal),
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Error for RequestError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(_) => None,
            Self::Store(error) => error.source(),
        }
    }
}

impl From<Refusal> for RequestError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for RequestError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A gate. `S`, `P`, `D` and `W` are pointers to an [`AttemptStore`], a [`Lookup`], a [`Deployer`] and a [`Waiter`]:
/// references, or [`Arc`]s in a server.
#[derive(Clone, Debug)]
pub struct Gate<S, P = &'static NoPreflight, D = &'static NoDeployer, W = &'static RetryImmediately> {
    store: S,
    preflight: P,
    deployer: D,
    waiter: W,
    flow: Arc<Flow>,
}

impl<S> Gate<S> {
    /// Begins with the store.
    pub fn builder(store: S) -> GateBuilder<S> {
        let gate = Self {
            store,
            preflight: &NoPreflight,
            deployer: &NoDeployer,
            waiter: &RetryImmediately,
            flow: Arc::new(Flow::single_use(Vec::new())),
        };
        GateBuilder { gate, has_deployer: false }
    }
}

impl<S, P, D, W> Gate<S, P, D, W>
where
    S: Deref<Target: AttemptStore + Sized>,
    P: Deref<Target: Lookup + Sized>,
    D: Deref<Target: Deployer + Sized>,
    W: Deref<Target: Waiter + Sized>,
{
    /// The store.
    pub fn store(&self) -> &S::Target {
        &self.store
    }

    /// The driver of the gate's flow, for requests of the platform.
    pub fn driver(&self) -> Driver<'_, S::Target, D::Target, W::Target, P::Target> {
        Driver {
            flow: &self.flow,
            store: &self.store,
            deployer: &self.deployer,
            waiter: &self.waiter,
            preflight: &self.preflight,
        }
    }

    /// Makes one attempt to use this approval, to its end.
    ///
    /// If an attempt under the same key has used it before, returns that success and changes nothing.
    pub async fn redeem(&self, approval: Uuid, item: &Item) -> Outcome {
        let ask = item.ask();
        let Answer { end, .. } = self.driver().promote_once(approval, &ask, digest_of(&ask, &[])).await;
        end
    }

    /// Asks for an approval of the item, to be decided within 24 hours by [`decide`](Self::decide). Under a key that has
    /// asked before it is that one.
    ///
    /// # Errors
    /// 422 when the key has asked for another item; the store's.
    pub async fn request(&self, item: &Item) -> Result<Requested, RequestError> {
        self.store.put_owner(item.owner).await?;
        Ok(request_once(&item.ask(), &*self.store).await??)
    }

    /// Approves or rejects.
    ///
    /// # Errors
    /// 404 for an unknown approval, 410 or 409 when it is not pending; the store's.
    pub async fn decide(&self, decision: Decision<'_>) -> Result<ApprovalRecord, RequestError> {
        Ok(self.store.decide(decision).await??)
    }

    /// Issues an item that needs no approval by a person: it can be used within the next 24 hours. Returns its id, or
    /// the earlier id if the key has issued one.
    ///
    /// # Errors
    /// As for [`request`](Self::request).
    pub async fn issue(&self, item: &Item) -> Result<Uuid, RequestError> {
        let Requested { record, .. } = self.request(item).await?;
        let approval = record.approval.id;
        if record.decided_at.is_none() {
            let decision = Decision::Policy { team: item.owner, approval, by: ISSUED };
            match self.decide(decision).await {
                Ok(_) => {}
                // A concurrent request under the same key has approved it.
                Err(RequestError::Refused(refusal)) if refusal == Refusal::NOT_PENDING => {}
                Err(error) => return Err(error),
            }
        }
        Ok(approval)
    }
}
