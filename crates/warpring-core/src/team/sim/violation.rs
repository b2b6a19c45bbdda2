//! What the simulator reports.

use core::fmt;
use core::panic::Location;

use crate::address::ActorId;

/// Most violations, and most failures, that a machine keeps; later ones still end their handlers, but are not kept.
pub const MAX_KEPT: usize = 1024;

/// A place in source code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As the compiler names it.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

impl From<&Location<'_>> for Place {
    fn from(at: &Location<'_>) -> Self {
        Self { file: at.file().to_owned(), line: at.line(), column: at.column() }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A rule of team code that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// Lanes of one warp came to different collectives: there was a branch on something that differs between lanes.
    Divergent,
    /// Lanes came to the same collective with different arguments: another message, target, element count, piece of state,
    /// source lane or duration.
    Arguments,
    /// A lane ended its handler while others wait in a collective.
    Left,
    /// In one lane the handler ended, in another it awaits something.
    Suspended,
    /// The handler ended with different replies in different lanes.
    Replies,
    /// The actor's state was written outside `update` and `update_each`, or an element by a lane that it was not given to.
    Write {
        /// First byte of the actor that changed.
        offset: u32,
    },
}

/// A rule of team code that was broken, by whom and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which rule.
    pub what: What,
    /// On which worker.
    pub worker: u32,
    /// The actor whose handler ran.
    pub actor: Option<ActorId>,
    /// The lane that was found out. For [`What::Left`] the one that left; for a write the one that wrote.
    pub lane: u32,
    /// Where that lane is: its collective, or for a lane that ended the last one it was in (`None`: it was in none). For
    /// [`What::Left`] where the others wait; for a write the collective that the lane came to after it (`None`: it ended).
    pub location: Option<Place>,
    /// Where the lanes are that it differs from. For [`What::Left`] the last collective of the lane that left; for a write the
    /// last one before it (`None`: there was none).
    pub other_location: Option<Place>,
}

impl Violation {
    /// The one place to name where there is room for one.
    pub fn place(&self) -> Option<&Place> {
        self.location.as_ref().or(self.other_location.as_ref())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lane, .. } = self;
        let place = |at: &Option<Place>| at.as_ref().map_or_else(|| "the start of the handler".to_owned(), Place::to_string);
        let (here, there) = (place(&self.location), place(&self.other_location));
        match self.what {
            What::Divergent => {
                write!(f, "{here}: lane {lane} is in this collective while other lanes are in the one at {there}")?
            }
            What::Arguments => write!(f, "{here}: lane {lane} gives other arguments to this collective than other lanes")?,
            What::Left => {
                write!(f, "{here}: other lanes wait in this collective, but lane {lane} has ended its handler after {there}")?
            }
            What::Suspended => write!(
                f,
                "{here}: the handler has ended in some lanes and awaits something in others: lane {lane} was here last, another lane at {there}"
            )?,
            What::Replies => write!(
                f,
                "{here}: lane {lane} ends the handler with another reply than other lanes (this is its last collective; their last is at {there})"
            )?,
            What::Write { offset } => {
                match (&self.location, &self.other_location) {
                    (Some(here), Some(there)) => write!(f, "{here}: between {there} and this collective ")?,
                    (Some(here), None) => write!(f, "{here}: before this collective ")?,
                    (None, Some(there)) => write!(f, "{there}: after this collective ")?,
                    (None, None) => {}
                }
                write!(
                    f,
                    "lane {lane} wrote byte {offset} of the actor's state, which only the leader in `update`, and each lane its own elements in `update_each`, may"
                )?;
            }
        }
        write!(f, " (worker {}", self.worker)?;
        if let Some(actor) = self.actor {
            write!(f, ", actor {actor}")?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for Violation {}

/// A handler that ended by a panic or a violation; its actor is failed, as after a panic on any backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// On which worker.
    pub worker: u32,
    /// The actor whose handler ran.
    pub actor: ActorId,
    /// The lane that panicked or was found out.
    pub lane: u32,
    /// The panic's message, or the violation's text.
    pub message: String,
    /// Where; its line is the one in [`KernelError::Panicked`](crate::KernelError::Panicked).
    pub location: Option<Place>,
    /// It was a violation; [`Machine::violations`](super::Machine::violations) has the details.
    pub violation: bool,
}
