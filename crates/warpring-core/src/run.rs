//! THE worker loop. A CPU thread, a lane of the simulator and a lane of a CUDA warp all run this function.
//!
//! The leader decides (`Worker::next`), all lanes execute what it decided (the module's `begin` or `resume`, in which the
//! user's handler runs), the leader books the result (`Worker::settle`). Between two steps nothing of importance is in
//! registers: a panic or a fault ends the function, and another thread or block may enter it again on the same worker.

use core::task::Poll;

use crate::error::KernelError;
use crate::frame::Outcome;
use crate::module::{Lane, Module, Op};
use crate::ring::Lines;
use crate::team::{AnyTeam, Fabric, Team};
use crate::worker::{Step, Worker};

/// Runs a worker until it is stopped, or told to leave: then it may be run again.
///
/// # Safety
/// `worker` is initialised for `M`'s module and this fabric; all lanes of `team`, and nobody else, are in this function for it.
pub unsafe fn run<M: Module, F: Fabric>(worker: *mut Worker, team: F::Team)
where
    AnyTeam: From<F::Team>,
{
    // SAFETY: the contract of this function: the leader has the scheduler to itself inside `lead`, and each lane its own part
    // of a frame between.
    unsafe {
        if !team.lead(|| (*worker).prepared) {
            Worker::prepare(worker, team.rank(), team.into());
            team.lead(|| (*worker).prepared = true);
        }
        // Nobody ran it for a while: that time is no step.
        team.lead(|| (*worker).now = (*worker).clock());
        loop {
            let (frame, poll) = match team.lead(|| (*worker).next::<F>()) {
                Step::Begin(index) => {
                    let frame = (*worker).frame(index);
                    let (request, lines) = ((*worker).request, (*frame).request.lines());
                    let lane = Worker::lane(worker, frame, team.rank());
                    let poll = begin::<M>((*frame).kind, Worker::op(frame), &lane, request, lines);
                    (frame, poll.unwrap_or(Poll::Ready(Outcome::refused(KernelError::Malformed))))
                }
                Step::Resume(index) => {
                    let frame = (*worker).frame(index);
                    let lane = Worker::lane(worker, frame, team.rank());
                    (frame, resume::<M>((*frame).kind, Worker::op(frame), &lane))
                }
                Step::Cancel(index) => {
                    let frame = (*worker).frame(index);
                    let lane = Worker::lane(worker, frame, team.rank());
                    cancel::<M>((*frame).kind, Worker::op(frame), &lane);
                    team.lead(|| (*worker).cancelled::<F>(frame));
                    continue;
                }
                Step::Again => continue,
                Step::Idle => {
                    team.lead(|| (*worker).idle::<F>());
                    continue;
                }
                Step::Listen => {
                    Worker::listen::<F>(worker, team);
                    continue;
                }
                Step::Copy => {
                    Worker::copy_rows(worker, team);
                    team.lead(|| (*worker).copied());
                    continue;
                }
                Step::Exit => return,
            };
            let ended = match poll {
                Poll::Ready(outcome) => Some(outcome),
                Poll::Pending => None,
            };
            team.ended(ended.as_ref(), (*frame).buffer.cast());
            team.lead(|| (*worker).settle::<F>(frame, ended));
        }
    }
}

// On the GPU handlers are calls of their own: their registers are not those of the worker loop. On the CPU they are inlined.

/// # Safety
/// As for [`Module::begin`].
#[cfg_attr(target_arch = "nvptx64", inline(never))]
#[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
unsafe fn begin<M: Module>(kind: u16, op: Op, lane: &Lane, request: Lines, lines: u8) -> Option<Poll<Outcome>> {
    // SAFETY: contract.
    unsafe { M::begin(kind, op, lane, request, lines) }
}

/// # Safety
/// As for [`Module::resume`].
#[cfg_attr(target_arch = "nvptx64", inline(never))]
#[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
unsafe fn resume<M: Module>(kind: u16, op: Op, lane: &Lane) -> Poll<Outcome> {
    // SAFETY: contract.
    unsafe { M::resume(kind, op, lane) }
}

/// # Safety
/// As for [`Module::cancel`].
#[cfg_attr(target_arch = "nvptx64", inline(never))]
#[cfg_attr(not(target_arch = "nvptx64"), inline(always))]
unsafe fn cancel<M: Module>(kind: u16, op: Op, lane: &Lane) {
    // SAFETY: contract.
    unsafe { M::cancel(kind, op, lane) }
}
