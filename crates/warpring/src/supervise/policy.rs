//! What a supervisor is told: whom it starts again, when, with what, and how often.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use warpring_core::{ActorId, ExitReason};

use crate::launch::LaunchOptions;
use crate::snapshot::Source;

/// Which children a supervisor starts again when one has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// That one.
    #[default]
    OneForOne,
    /// All: the others are stopped first, in the opposite order of their start.
    OneForAll,
    /// That one, and those that were started after it.
    RestForOne,
}

/// When a child is started again; see the table in [`Supervisor`](super::Supervisor).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// After a crash or a kill.
    Transient,
    /// Never. OTP calls it `temporary`.
    Never,
}

impl Restart {
    /// Whether a child that ended for this reason is started again.
    pub const fn wants(self, reason: ExitReason) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => reason.is_abnormal(),
            Self::Never => false,
        }
    }
}

/// The state that a child starts again with; then its `initialize` runs, as at its launch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartFrom {
    /// What it was launched with. The host keeps a copy.
    #[default]
    Initial,
    /// What it has: also after a panic in the middle of an `update`.
    Kept,
    /// What a snapshot has, as it is at the restart; while there is no such file, what it was launched with. With a file that cannot be
    /// used the supervisor gives up.
    Snapshot {
        /// The file.
        path: PathBuf,
        /// The entry: of one actor, or of the group for a group.
        entry: String,
    },
}

/// How a child is started and started again.
#[derive(Clone, Debug, Default)]
pub struct ChildSpec {
    pub(super) restart: Restart,
    pub(super) from: RestartFrom,
    pub(super) launch: LaunchOptions,
}

impl ChildSpec {
    /// Started again whenever it ends.
    pub fn permanent() -> Self {
        Self::default()
    }
    /// Started again after a crash or a kill.
    pub fn transient() -> Self {
        Self { restart: Restart::Transient, ..Self::default() }
    }
    /// Never started again.
    pub fn never() -> Self {
        Self { restart: Restart::Never, ..Self::default() }
    }
    /// With this state. Default: [`RestartFrom::Initial`].
    pub fn from(mut self, from: RestartFrom) -> Self {
        self.from = from;
        self
    }
    /// The snapshot that it starts again with, if that is said.
    pub(super) fn source(&self) -> Option<Arc<Source>> {
        match &self.from {
            RestartFrom::Snapshot { path, entry } => Some(Arc::new(Source::new(path.clone(), entry.clone()))),
            RestartFrom::Initial | RestartFrom::Kept => None,
        }
    }
    /// Where and how it is launched.
    pub fn launch(mut self, options: LaunchOptions) -> Self {
        self.launch = options;
        self
    }
}

/// What a supervisor does, and when it gives up.
#[derive(Clone, Debug)]
pub struct Supervision {
    pub(super) strategy: Strategy,
    pub(super) restarts: u32,
    pub(super) within: Duration,
    pub(super) backoff: (Duration, Duration),
    pub(super) stop_limit: Duration,
}

impl Supervision {
    /// With this strategy: at most 3 restarts within 5 s, without a pause before them, and 5 s for a child to stop.
    pub fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            restarts: 3,
            within: Duration::from_secs(5),
            backoff: (Duration::ZERO, Duration::ZERO),
            stop_limit: Duration::from_secs(5),
        }
    }

    /// With more than so many restarts within this time, on the workers' clock, it stops all its children and gives up: its own
    /// supervisor has to decide, or the host, see [`Supervisor::failed`](super::Supervisor::failed). OTP calls it intensity and period.
    pub fn limit(mut self, restarts: u32, within: Duration) -> Self {
        (self.restarts, self.within) = (restarts, within);
        self
    }

    /// Pauses before a restart: `least` at first, twice as long with each restart within the time of [`limit`](Self::limit), at most
    /// `most`. Messages wait meanwhile.
    pub fn backoff(mut self, least: Duration, most: Duration) -> Self {
        self.backoff = (least, most.max(least));
        self
    }

    /// How long a child that is told to stop may take for its suspended handler and its `shutdown`; then it is killed.
    pub fn stop_limit(mut self, limit: Duration) -> Self {
        self.stop_limit = limit;
        self
    }
}

/// Why a supervisor gave up: the last of too many restarts, or one that could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalation {
    /// The child that ended last.
    pub actor: ActorId,
    /// Why.
    pub reason: ExitReason,
    /// Restarts within the time of [`Supervision::limit`], the one that was not carried out included.
    pub restarts: u32,
    /// Why the snapshot that it was to start with could not be used, if that is the reason.
    pub error: Option<Arc<str>>,
}

impl fmt::Display for Escalation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = &self.error {
            return write!(f, "actor {} ended, because {}, and could not be started again: {error}", self.actor, self.reason);
        }
        write!(f, "{} restarts: actor {} ended last, because {}", self.restarts, self.actor, self.reason)
    }
}
impl std::error::Error for Escalation {}
