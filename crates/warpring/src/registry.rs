//! Names of actors: who is registered under which.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use warpring_core::ActorId;
use warpring_core::module::Exported;

use crate::actor_ref::ActorRef;
use crate::directory::{Directory, Registered};
use crate::ends::{EndError, hear_of};
use crate::runtime::Runtime;

/// Why a name could not be registered, given back, or looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryError {
    /// The text is no name.
    Invalid {
        /// The text.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another actor has the name, or the same one.
    Taken {
        /// The name.
        name: String,
        /// Who has it.
        by: ActorId,
    },
    /// A name that travels as the same number is registered.
    SameNumber {
        /// The name.
        name: String,
        /// The other one.
        other: String,
    },
    /// As many names are registered as there is room for.
    Full {
        /// `RuntimeBuilder::max_names`.
        limit: u32,
    },
    /// Nobody has the name.
    NotRegistered {
        /// The name.
        name: String,
    },
    /// The actor with this name is of another kind.
    WrongKind {
        /// The name.
        name: String,
        /// The id of its kernel.
        found: &'static str,
        /// The id of the kernel that was looked for.
        wanted: &'static str,
    },
    /// The actor has ended.
    Ended(ActorId),
    /// The actor is of another runtime.
    OtherRuntime(ActorId),
    /// The runtime is stopping or has stopped.
    Stopped,
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { name, why } => write!(f, "{name:?} is no name: it {why}"),
            Self::Taken { name, by } => {
                write!(f, "the name `{name}` is taken by actor {by}: give it back with `Runtime::unregister`, or choose another")
            }
            Self::SameNumber { name, other } => {
                write!(f, "the names `{name}` and `{other}` travel as the same number: choose another for one of them")
            }
            Self::Full { limit } => write!(f, "{limit} names are registered: raise it with `RuntimeBuilder::max_names`"),
            Self::NotRegistered { name } => write!(f, "nobody is registered as `{name}`: see `Runtime::names`"),
            Self::WrongKind { name, found, wanted } => {
                write!(f, "`{name}` is an actor of kernel `{found}`, but was looked up as one of kernel `{wanted}`")
            }
            Self::Ended(actor) => write!(f, "actor {actor} has ended, so nobody would answer to the name"),
            Self::OtherRuntime(actor) => write!(f, "actor {actor} is of another runtime: register it there"),
            Self::Stopped => f.write_str("the runtime is stopping or has stopped"),
        }
    }
}
impl std::error::Error for RegistryError {}

/// A name and who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegisteredName {
    /// The name.
    pub name: String,
    /// The actor.
    pub actor: ActorId,
    /// The id of its kernel.
    pub kernel: &'static str,
}

impl Runtime {
    /// Gives an actor a name: 1 to 64 bytes, each an ASCII letter, a digit, or one of `_ - . / :`. Once this has returned, the host
    /// and the handlers on every worker find it. An actor may have several names, a name has one actor.
    ///
    /// An actor that ends for good loses its names; one that a supervisor starts again keeps them.
    ///
    /// It waits for an answer of each worker, so for as long as a handler keeps one without awaiting. Given up in between, the name
    /// is registered all the same; the workers hear of it with the next change.
    ///
    /// # Errors
    /// See [`RegistryError`]; nothing was registered.
    ///
    /// ```
    /// use warpring::{Name, RegistryError, block_on, prelude::*};
    ///
    /// #[derive(Clone, Copy, Debug, RingMessage)]
    /// struct Order { quantity: u32 }
    /// #[derive(Clone, Copy, Debug, RingMessage)]
    /// struct Check { quantity: u32 }
    ///
    /// #[derive(Debug, RingKernel)]
    /// #[ring_kernel(id = "doc/limits")]
    /// struct Limits { most: u32 }
    /// impl RingKernelHandler<Check, bool> for Limits {
    ///     async fn handle(&self, _: &mut RingContext<'_>, check: Check) -> Result<bool> {
    ///         Ok(check.quantity <= self.most)
    ///     }
    /// }
    ///
    /// #[derive(Debug, RingKernel)]
    /// #[ring_kernel(id = "doc/desk")]
    /// struct Desk;
    /// impl RingKernelHandler<Order, bool> for Desk {
    ///     async fn handle(&self, ctx: &mut RingContext<'_>, order: Order) -> Result<bool> {
    ///         const LIMITS: Name = Name::new("risk/limits");
    ///         let Some(limits) = ctx.lookup::<Limits>(LIMITS) else { return Ok(false) };
    ///         ctx.ask(limits, Check { quantity: order.quantity }).await
    ///     }
    /// }
    /// warpring::export! {
    ///     Limits { Check => bool }
    ///     Desk { Order => bool }
    /// }
    ///
    /// # fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// let runtime = Runtime::builder().module(&MODULE).workers(2).build()?;
    /// block_on(async {
    ///     let desk = runtime.launch(Desk, LaunchOptions::default()).await?;
    ///     assert!(!desk.ask(Order { quantity: 5 }).await?, "nobody knows the limits yet");
    ///     let limits = runtime.launch(Limits { most: 10 }, LaunchOptions::default()).await?;
    ///     runtime.register("risk/limits", &limits).await?;
    ///     assert!(desk.ask(Order { quantity: 5 }).await?);
    ///     assert_eq!(runtime.lookup::<Limits>("risk/limits")?.id(), limits.id());
    ///     assert!(matches!(runtime.lookup::<Desk>("risk/limits"), Err(RegistryError::WrongKind { .. })));
    ///     runtime.unregister("risk/limits").await?;
    ///     runtime.shutdown().await?;
    ///     Ok(())
    /// })
    /// # }
    /// ```
    pub async fn register<K: Exported>(&self, name: &str, actor: &ActorRef<K>) -> Result<(), RegistryError> {
        let shared = self.shared();
        if !std::ptr::eq(actor.shared(), &**shared) {
            return Err(RegistryError::OtherRuntime(actor.id()));
        }
        if shared.closing.load(Ordering::Acquire) {
            return Err(RegistryError::Stopped);
        }
        let registered = Registered { text: name.to_owned(), actor: actor.id(), kind: K::KIND, kernel: K::METADATA.id };
        let change = shared.directory.register(registered)?;
        // After the name was given, so that no end slips through between.
        if let Err(error) = hear_of(shared, actor.id()).await {
            shared.directory.forget_actor(shared, actor.id());
            return Err(if let EndError::Ended(..) = error { RegistryError::Ended(actor.id()) } else { RegistryError::Stopped });
        }
        Directory::settle(shared, change).await.map_err(|_| RegistryError::Stopped)
    }

    /// Takes a name away from whoever has it. Once this has returned, no handler finds it any more; an address that one has found
    /// before still leads to the actor.
    ///
    /// # Errors
    /// [`RegistryError::NotRegistered`], or [`RegistryError::Stopped`].
    pub async fn unregister(&self, name: &str) -> Result<(), RegistryError> {
        let shared = self.shared();
        let none = || RegistryError::NotRegistered { name: name.to_owned() };
        let change = shared.directory.unregister(name).ok_or_else(none)?;
        Directory::settle(shared, change).await.map_err(|_| RegistryError::Stopped)
    }

    /// The actor with this name.
    ///
    /// # Errors
    /// [`RegistryError::NotRegistered`], or [`RegistryError::WrongKind`] where its kernel is not `K`.
    pub fn lookup<K: Exported>(&self, name: &str) -> Result<ActorRef<K>, RegistryError> {
        let shared = self.shared();
        let none = || RegistryError::NotRegistered { name: name.to_owned() };
        let found = shared.directory.lookup(name).ok_or_else(none)?;
        if found.kind != K::KIND || !std::ptr::eq(K::module(), shared.module) {
            return Err(RegistryError::WrongKind { name: found.text, found: found.kernel, wanted: K::METADATA.id });
        }
        Ok(ActorRef::new(Arc::clone(shared), found.actor))
    }

    /// All names that are registered, sorted.
    pub fn names(&self) -> Vec<RegisteredName> {
        let names = self.shared().directory.names().into_iter();
        names.map(|found| RegisteredName { name: found.text, actor: found.actor, kernel: found.kernel }).collect()
    }
}
