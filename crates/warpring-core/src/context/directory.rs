//! What a handler does with names and topics.

use core::fmt;

use super::{RingContext, digest};
use crate::address::Address;
use crate::directory::message_type;
use crate::message::{RingMessage, encode, lines_for};
use crate::module::Exported;
use crate::name::Name;
use crate::team::{Team, with_team};
use crate::worker::{Outlet, Publication, Published};

/// Why [`RingContext::publish`] published nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// There is no topic of this name: the host opens it with `Runtime::topic`.
    NoSuchTopic,
    /// The topic takes messages of another type.
    OtherMessage,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchTopic => "there is no topic of this name: open it with `Runtime::topic`",
            Self::OtherMessage => "the topic takes messages of another type",
        })
    }
}
impl core::error::Error for PublishError {}

impl RingContext<'_> {
    /// The actor that the host has registered under this name; `None` if there is none, or one of another kind than `K`.
    ///
    /// It looks into the worker's own memory: no message, no wait, and all lanes may call it in any order.
    pub fn lookup<K: Exported>(&self, name: Name) -> Option<Address<K>> {
        if !core::ptr::eq(K::module(), self.worker().module) {
            return None;
        }
        self.worker().directory.actor(name, K::KIND).map(Address::new)
    }

    /// Sends a message to all subscribers of a topic, now and without waiting. A subscriber whose mailbox is full, or the ring to
    /// whose worker is, loses it; the others get it. What is lost becomes a dead letter with the reason, as long as the worker's
    /// ring for dead letters has room.
    ///
    /// A message that went to another worker and finds a full mailbox there is lost too, and always becomes a dead letter; the
    /// topic counts it, but `Published` counts it as sent. It takes one message to each worker that has subscribers, and a copy
    /// there for each of them.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing was published.
    #[track_caller]
    pub fn publish<M: RingMessage>(&mut self, topic: Name, message: &M) -> Result<Published, PublishError> {
        let what = Publication { topic, message: const { message_type::<M>() }, lines: const { lines_for(M::SIZE) as u8 } };
        let (worker, frame) = (self.worker, self.frame);
        let outlet = with_team!(self.team, |team, F| {
            team.note(|| digest(topic.number(), message));
            team.lead(|| {
                // SAFETY: only the leader is inside `lead`, and the scheduler is not running while a handler does.
                encode(message, |parcel| unsafe { (*worker).publish::<F>(frame, &what, parcel) })
            })
        });
        match outlet.verdict {
            Outlet::SENT => Ok(outlet.published),
            Outlet::NO_TOPIC => Err(PublishError::NoSuchTopic),
            _ => Err(PublishError::OtherMessage),
        }
    }
}
