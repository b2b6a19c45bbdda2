//! Copies of actors' states, between two messages of each: the host reads and writes state through them while the worker runs.
//! A copy is of a run of slots and goes in bounded steps, between which the worker does everything else. All lanes of the team copy.

use super::{LOCAL_BUDGET, Step, Worker};
use crate::error::KernelError;
use crate::frame::{NONE, Outcome};
use crate::mailbox::{Actor, Status, mark};
use crate::message::{Header, Malformed, RingMessage};
use crate::team::Team;

/// Control operation: copy states. The answer is [`Used`].
pub const CONTROL_COPY: u16 = 4;
/// States of whatever kind are copied.
pub const ANY_KIND: u16 = u16::MAX;

/// Bytes that one step copies or looks at, so that a large copy does not hold up messages for long.
const STEP_BYTES: u32 = 1 << 15;
/// Bytes of a [`Row`] in the memory of a copy.
pub const ROW_BYTES: u32 = 8;
/// So long a copy that waits for its actor waits at most: until the host asks again, others can be carried out.
const WAIT_NS: u64 = 2_000_000;

/// A copy, as the host asks for it. In its memory lie `count` words, in which the worker says what it found ([`Row`]), and behind
/// them `bytes` bytes of each of `count` states. A state is copied if the row is of this kind, and so large, and handles no message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyRows {
    /// The first slot.
    pub slot: u32,
    /// How many.
    pub count: u32,
    /// The first byte of each state that is copied.
    pub offset: u32,
    /// Bytes of each state that are copied; 0 to be told what is there and no more.
    pub bytes: u32,
    /// Whose states are copied; or [`ANY_KIND`].
    pub kind: u16,
    /// Their generation, for a write. A read copies any, and the row says which it was.
    pub generation: u16,
    /// Into the actors; else out of them.
    pub write: bool,
    /// While the first actor handles a message, wait for the end of it, for a short time.
    pub wait: bool,
    /// Memory that worker and host both see, a multiple of 8.
    pub memory: u64,
}

impl RingMessage for CopyRows {
    const SIZE: usize = 32;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 4;
    fn encode(&self, out: &mut [u8]) {
        [
            u64::from(self.slot) | u64::from(self.count) << 32,
            u64::from(self.bytes) | u64::from(self.kind) << 32 | u64::from(self.generation) << 48,
            self.memory,
            u64::from(self.write) | u64::from(self.wait) << 1 | u64::from(self.offset) << 32,
        ]
        .encode(out)
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let w = <[u64; 4]>::decode(bytes)?;
        Ok(Self {
            slot: w[0] as u32,
            count: (w[0] >> 32) as u32,
            offset: (w[3] >> 32) as u32,
            bytes: w[1] as u32,
            kind: (w[1] >> 32) as u16,
            generation: (w[1] >> 48) as u16,
            write: w[3] & 1 == 1,
            wait: w[3] >> 1 & 1 == 1,
            memory: w[2],
        })
    }
}

/// Who lives in a slot, as a copy finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tenant {
    /// Nobody.
    #[default]
    Nobody,
    /// An actor between two messages.
    Running,
    /// An actor that handles a message, or is in a hook: its state is not copied.
    Busy,
    /// An actor that has ended, and whose supervisor has to say what becomes of it.
    Held,
    /// An actor that has ended, and whose supervisor keeps its place.
    Resting,
    /// An actor that has failed.
    Failed,
    /// An actor that ends or has ended.
    Stopped,
}

/// Which slots of a worker were ever used: those below `launched`, and those from `spawned` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// The first slot that the host never launched an actor into.
    pub launched: u32,
    /// The lowest slot that a handler spawned an actor into.
    pub spawned: u32,
}

impl RingMessage for Used {
    const SIZE: usize = 8;
    const ALIGN: usize = 8;
    const FINGERPRINT: u64 = 7;
    fn encode(&self, out: &mut [u8]) {
        (u64::from(self.launched) | u64::from(self.spawned) << 32).encode(out)
    }
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let word = u64::decode(bytes)?;
        Ok(Self { launched: word as u32, spawned: (word >> 32) as u32 })
    }
}

/// What a copy found in a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Whether there is an actor.
    pub tenant: Tenant,
    /// Its kind.
    pub kind: u16,
    /// Its generation.
    pub generation: u16,
    /// Messages that its mailbox holds.
    pub capacity: u16,
    /// Whether a handler spawned it.
    pub spawned: bool,
}

impl Row {
    fn of(actor: &Actor) -> Self {
        let tenant = match actor.status {
            Status::Free => Tenant::Nobody,
            Status::Held => Tenant::Held,
            Status::Resting => Tenant::Resting,
            Status::Starting | Status::StartingLast => Tenant::Busy,
            _ if actor.frame != NONE => Tenant::Busy,
            Status::Running | Status::Draining => Tenant::Running,
            Status::Failed => Tenant::Failed,
            Status::Ending | Status::Stopping | Status::Stopped => Tenant::Stopped,
        };
        let spawned = actor.marks & mark::SPAWNED != 0;
        Self { tenant, kind: actor.kind, generation: actor.generation, capacity: actor.capacity, spawned }
    }

    fn to_bits(self) -> u64 {
        u64::from(self.kind)
            | u64::from(self.generation) << 16
            | u64::from(self.capacity) << 32
            | (self.tenant as u64) << 48
            | u64::from(self.spawned) << 56
    }

    /// What a worker wrote.
    pub fn from_bits(bits: u64) -> Self {
        let tenant = match bits >> 48 & 0xff {
            1 => Tenant::Running,
            2 => Tenant::Busy,
            3 => Tenant::Held,
            4 => Tenant::Resting,
            5 => Tenant::Failed,
            6 => Tenant::Stopped,
            _ => Tenant::Nobody,
        };
        let spawned = bits >> 56 & 1 == 1;
        Self { tenant, kind: bits as u16, generation: (bits >> 16) as u16, capacity: (bits >> 32) as u16, spawned }
    }
}

/// The copy that is going on.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Copying {
    what: CopyRows,
    request: Header,
    /// Rows done.
    next: u32,
    /// Rows that are done after the step that runs now.
    end: u32,
    /// When it waits no longer.
    until: u64,
    /// The next step is the copy's; the ones between are those of others.
    turn: bool,
}

/// What comes next of a copy that is going on.
pub(super) enum Turn {
    /// All lanes copy.
    Copies,
    /// It is somebody else's turn.
    GivesWay,
    /// The actor handles a message.
    Waits,
}

impl Worker {
    /// The host wants a copy.
    #[cold]
    #[inline(never)]
    pub(super) fn begin_copy(&mut self, request: &Header, what: Result<CopyRows, Malformed>) -> Step {
        match what {
            Ok(what) if what.slot.checked_add(what.count).is_some_and(|end| end <= self.actor_capacity) => {
                let until = self.now.saturating_add(WAIT_NS);
                self.copy = Some(Copying { what, request: *request, next: 0, end: 0, until, turn: true });
                self.life.copies(true);
            }
            _ => self.answer_control(request, Outcome::refused(KernelError::Malformed), &()),
        }
        Step::Again
    }

    /// Whose turn it is, while a copy is going on.
    #[cold]
    #[inline(never)]
    pub(super) fn copy_turn(&mut self) -> Turn {
        let Some(mut copy) = self.copy else { return Turn::GivesWay };
        if copy.what.wait && copy.next == 0 && copy.what.count > 0 && self.now < copy.until {
            // SAFETY: `begin_copy` checked the slots.
            let row = Row::of(unsafe { &*self.actor(copy.what.slot) });
            if row.tenant == Tenant::Busy {
                // An actor with mail begins its next message soon after it has ended one: look again after each single step.
                self.local_run = LOCAL_BUDGET - 1;
                self.next_wake = self.next_wake.min(copy.until);
                return Turn::Waits;
            }
        }
        copy.turn = !copy.turn;
        let copies = !copy.turn;
        if copies {
            let rows = (STEP_BYTES / copy.what.bytes.saturating_add(ROW_BYTES + size_of::<Actor>() as u32)).max(1);
            copy.end = copy.what.count.min(copy.next.saturating_add(rows));
        }
        self.copy = Some(copy);
        if copies { Turn::Copies } else { Turn::GivesWay }
    }

    /// A lane's part of a step: some of the rows, or every so manieth word of a row, or byte where states are not of whole words.
    ///
    /// # Safety
    /// All lanes of the worker's team are here, after `copy_turn` said so.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn copy_rows<T: Team>(worker: *mut Self, team: T) {
        // SAFETY: only the leader changes it, inside `lead`.
        let Some(Copying { what, next, end, .. }) = (unsafe { (*worker).copy }) else { return };
        let CopyRows { slot, count, offset, bytes, kind, generation, write, memory, .. } = what;
        let rows: *mut u64 = core::ptr::with_exposed_provenance_mut(memory as usize);
        // So many lanes share a row, a power of two.
        let across = team.size().min(bytes.div_ceil(8).max(1).next_power_of_two());
        let at_once = team.size() / across;
        let (first, mut row) = (team.rank() % across, next + team.rank() / across);
        if row >= next + at_once {
            return;
        }
        while row < end {
            // SAFETY: `begin_copy` checked the slots. The host gave memory for so many rows and states, which it does not touch until
            // the answer. Who is not busy handles no message, and none begins before all lanes are through; the state is as large as
            // its actor says, and each lane writes words of its own.
            unsafe {
                let actor = &*(*worker).actor(slot + row);
                let found = Row::of(actor);
                if first == 0 {
                    rows.add(row as usize).write_volatile(found.to_bits());
                }
                // The memory of one that has ended is the host's again.
                let there = matches!(found.tenant, Tenant::Running | Tenant::Held | Tenant::Resting)
                    && (kind == ANY_KIND || found.kind == kind);
                let large = offset.checked_add(bytes).is_some_and(|end| end <= actor.state_bytes);
                if there && large && (!write || found.generation == generation) {
                    let state = actor.state.add(offset as usize);
                    let copied = rows.add(count as usize).cast::<u8>().add(row as usize * bytes as usize);
                    let (from, to) = if write { (copied, state) } else { (state, copied) };
                    copy_part(from, to, bytes as usize, first as usize, across as usize);
                }
            }
            row += at_once;
        }
    }

    /// All lanes have copied.
    #[cold]
    #[inline(never)]
    pub(crate) fn copied(&mut self) {
        let Some(mut copy) = self.copy else { return };
        copy.next = copy.end;
        self.copy = Some(copy);
        if copy.next == copy.what.count {
            self.end_copy(Outcome::failed(KernelError::Malformed));
        }
    }

    /// Answers the copy that is going on, if there is one.
    #[cold]
    pub(super) fn end_copy(&mut self, outcome: Outcome) {
        if let Some(copy) = self.copy.take() {
            self.life.copies(false);
            let used = Used { launched: self.actors_used, spawned: self.spawned.low };
            self.answer_control(&copy.request, outcome, &used);
        }
    }
}

/// Copies every `step`th word from word `first` on.
///
/// # Safety
/// As many bytes may be read and written, and nobody else writes them.
#[inline(always)]
unsafe fn copy_part(from: *const u8, to: *mut u8, bytes: usize, first: usize, step: usize) {
    #[cfg(not(target_arch = "nvptx64"))]
    if step == 1 {
        // SAFETY: contract.
        return unsafe { from.copy_to_nonoverlapping(to, bytes) };
    }
    let mut at = first;
    // Volatile, or the compiler would make it a copy by bytes on the GPU.
    // SAFETY: contract.
    unsafe {
        if (from as usize | to as usize | bytes).is_multiple_of(8) {
            while at < bytes / 8 {
                to.cast::<u64>().add(at).write_volatile(from.cast::<u64>().add(at).read_volatile());
                at += step;
            }
        } else {
            while at < bytes {
                to.add(at).write_volatile(from.add(at).read_volatile());
                at += step;
            }
        }
    }
}
