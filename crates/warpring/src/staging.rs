//! Staging areas: memory that host and workers both see, through which states are copied. One call has an area at a time, and as
//! long as a worker may still copy, nobody else gets it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use warpring_core::KernelError;
use warpring_core::message::Kind;
use warpring_core::worker::{CONTROL_COPY, CopyRows, ROW_BYTES, Row, Used};

use crate::error::Refusal;
use crate::lock::lock;
use crate::reply::{NoReply, Pending};
use crate::runtime::yield_once;
use crate::shared::Shared;

/// Bytes of an area.
pub(crate) const AREA_BYTES: u32 = 1 << 22;
/// How many there are; see [`Use`].
pub(crate) const AREAS: u32 = 2;

/// What an area is for: a snapshot takes long, and a state is read in no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    State = 0,
    Snapshot = 1,
}

/// Who has an area, and what workers may still copy for those who had it before.
#[derive(Default)]
pub(crate) struct Area {
    taken: AtomicBool,
    late: Mutex<Vec<Pending>>,
}

impl Area {
    /// No worker runs any more.
    pub(crate) fn end(&self) {
        drop(std::mem::take(&mut *lock(&self.late)));
    }
}

/// Why nothing was copied.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// There is no such slot.
    NoSlot,
    /// A worker did not answer.
    Late(Duration),
    /// The runtime is stopping or has stopped.
    Stopped,
}

/// The right to an area.
pub(crate) struct Staging {
    shared: Arc<Shared>,
    which: Use,
}

impl Staging {
    /// Waits for an area.
    pub(crate) async fn take(shared: &Arc<Shared>, which: Use) -> Result<Arc<Self>, CopyError> {
        let area = &shared.areas[which as usize];
        // SYNC: staging (acquire): what the one before has read and written.
        while area.taken.swap(true, Ordering::Acquire) {
            if shared.ended.load(Ordering::Acquire) {
                return Err(CopyError::Stopped);
            }
            yield_once().await;
        }
        let staging = Arc::new(Self { shared: Arc::clone(shared), which });
        loop {
            let late = lock(&area.late).pop();
            let Some(pending) = late else { return Ok(staging) };
            let copying = Copying { pending: Some(pending), staging: Arc::clone(&staging) };
            if let Err(CopyError::Late(waited)) = copying.await {
                return Err(CopyError::Late(waited));
            }
        }
    }

    /// Its first byte.
    pub(crate) fn memory(&self) -> *mut u8 {
        self.shared.plan.staging().wrapping_add(self.which as usize * AREA_BYTES as usize)
    }

    fn leave(&self, pending: Pending) {
        // After the end nobody copies, and what is kept would keep the runtime's memory.
        if !self.shared.ended.load(Ordering::Acquire) {
            lock(&self.shared.areas[self.which as usize].late).push(pending);
        }
    }

    /// Sends a request; `None` if its ring, or the host's own cells, are full now.
    pub(crate) fn try_copy(self: &Arc<Self>, worker: u32, what: &CopyRows) -> Result<Option<Copying>, CopyError> {
        let shared = &self.shared;
        let Some(seat) = shared.seats.get(worker as usize) else { return Err(CopyError::NoSlot) };
        match shared.control(worker, CONTROL_COPY, what) {
            Ok(held) => {
                let pending = Some(Pending::new(Arc::clone(shared), held, shared.settings.ask_limit));
                Ok(Some(Copying { pending, staging: Arc::clone(self) }))
            }
            Err(Refusal::RingFull { .. } | Refusal::TooManyAsks { .. }) if !seat.lost.load(Ordering::Acquire) => Ok(None),
            Err(_) => Err(CopyError::Stopped),
        }
    }

    /// Has a worker copy, and waits for the end of it. Gives which slots were ever used.
    pub(crate) async fn copy(self: &Arc<Self>, worker: u32, what: &CopyRows) -> Result<Used, CopyError> {
        loop {
            if let Some(copying) = self.try_copy(worker, what)? {
                return copying.await;
            }
            self.shared.pump();
            yield_once().await;
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // SYNC: staging (release).
        self.shared.areas[self.which as usize].taken.store(false, Ordering::Release);
    }
}

/// Bytes that a request of so many rows takes.
pub(crate) const fn request_bytes(rows: u64, bytes: u64) -> u64 {
    rows * (ROW_BYTES as u64 + bytes)
}

/// What a worker said about a row.
///
/// # Safety
/// `memory` is that of a request with more rows than `row`, which was answered.
pub(crate) unsafe fn row(memory: *const u8, row: u32) -> Row {
    // SAFETY: contract.
    Row::from_bits(unsafe { memory.cast::<u64>().add(row as usize).read() })
}

/// Rows side by side of which a worker said the same: the first, how many, and what it said.
///
/// # Safety
/// `memory` is that of a request with `count` rows, which was answered; nobody else has it while the iterator is there.
pub(crate) unsafe fn alike<'a>(memory: *const u8, count: u32) -> impl Iterator<Item = (u32, u32, Row)> + use<'a> {
    // SAFETY: contract; the memory is aligned to more than a word.
    let rows: &'a [u64] = unsafe { std::slice::from_raw_parts(memory.cast(), count as usize) };
    let mut next = 0;
    rows.chunk_by(u64::eq).map(move |alike| {
        let (first, count) = (next, alike.len() as u32);
        next += count;
        (first, count, Row::from_bits(alike[0]))
    })
}

/// A copy that a worker was asked for; gives which slots were ever used. Dropped before its end, it keeps the area from
/// others until the worker is through.
pub(crate) struct Copying {
    pending: Option<Pending>,
    staging: Arc<Staging>,
}

impl Copying {
    pub(crate) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Used, CopyError>> {
        let Some(pending) = &mut self.pending else { return Poll::Ready(Err(CopyError::Stopped)) };
        let answer = match pending.poll_lines(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(NoReply::Deadline(waited))) => return Poll::Ready(Err(CopyError::Late(waited))),
            Poll::Ready(Err(NoReply::Ended | NoReply::Lost(_))) => Err(CopyError::Stopped),
            Poll::Ready(Ok(lines)) => {
                // SAFETY: the answer was seen, and `pending` holds its cell.
                let (header, used) = unsafe {
                    let header = lines.header();
                    (header, lines.decode::<Used>(header.lines))
                };
                pending.done();
                if header.kind() == Kind::Reply as u8 {
                    used.map_err(|_| CopyError::Stopped)
                } else if KernelError::from_parts(header.tag, header.sender) == KernelError::Malformed {
                    Err(CopyError::NoSlot)
                } else {
                    Err(CopyError::Stopped)
                }
            }
        };
        self.pending = None;
        Poll::Ready(answer)
    }
}

impl Future for Copying {
    type Output = Result<Used, CopyError>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_answer(cx)
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.staging.leave(pending);
        }
    }
}
