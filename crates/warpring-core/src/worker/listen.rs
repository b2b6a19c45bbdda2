//! How the workers of a grid look at their rings: all lanes at once, each at its own, and the leader learns which hold something.
//! A CPU worker looks at them one after the other instead (`take_request`), because its caches keep what did not change.

use core::marker::PhantomData;

use super::{MAX_PORTS, MAX_WORKERS, Step, Worker};
use crate::frame::NONE;
use crate::ring::Consumer;
use crate::scoped::acquire_fence;
use crate::team::{Fabric, Team};

/// Messages taken between two looks at all rings, if there are always more.
const TAKES: u32 = 32;
/// Of so many looks in a row, one goes to the host's rings, which are far away.
const HOST_LOOKS: u32 = 8;
const WORDS: usize = MAX_WORKERS as usize / 32;
/// Words that each lane looks at before the lanes meet.
const AT_ONCE: u32 = 4;

/// Rings that held something when they were last looked at.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Heard {
    /// Bit `p % 32` of word `p / 32`: the requests of worker `p`.
    requests: [u32; WORDS],
    /// The same for replies.
    replies: [u32; WORDS],
    /// Of `requests`, those from which nothing was taken since: their next message was seen.
    seen: [u32; WORDS],
    /// Words of `requests` that are not 0.
    request_words: u32,
    /// Words of `replies` that are not 0.
    reply_words: u32,
    /// The ring that all host threads share.
    shared: bool,
    /// The last step was a look.
    fresh: bool,
    /// As `seen`, for the shared ring.
    shared_seen: bool,
    ports: u32,
    /// As `seen`, for the ports.
    ports_seen: u32,
    /// Ports that were open at the last look.
    open: u32,
    /// Messages taken since the last look.
    takes: u32,
    /// Looks so far.
    looks: u32,
}

const _: () = assert!(WORDS.is_power_of_two() && WORDS <= 32);

/// Where word `word` lies: always inside, so that the loop has no way into a panic, which would cost it registers.
#[inline(always)]
const fn at_word(word: u32) -> usize {
    word as usize % WORDS
}

impl Heard {
    pub(super) const NOTHING: Self = Self {
        requests: [0; WORDS],
        replies: [0; WORDS],
        seen: [0; WORDS],
        request_words: 0,
        reply_words: 0,
        shared: false,
        shared_seen: false,
        fresh: false,
        ports: 0,
        ports_seen: 0,
        open: 0,
        takes: 0,
        looks: 0,
    };

    fn is_empty(&self) -> bool {
        self.request_words | self.reply_words | self.ports == 0 && !self.shared
    }

    /// The next reply ring that held something; it does not any more.
    pub(super) fn next_reply(&mut self) -> Option<u32> {
        if self.reply_words == 0 {
            return None;
        }
        let word = self.reply_words.trailing_zeros();
        let bits = &mut self.replies[at_word(word)];
        let bit = bits.trailing_zeros();
        *bits &= bits.wrapping_sub(1);
        if *bits == 0 {
            self.reply_words &= !(1 << word);
        }
        Some(word * 32 + bit)
    }

    fn add(words: &mut [u32; WORDS], marks: &mut u32, first: u32, votes: u32) {
        if votes != 0 {
            // `first` is a multiple of the lanes that vote, so the votes are within one word.
            let word = first / 32;
            words[at_word(word)] |= votes << (first % 32);
            *marks |= 1 << word;
        }
    }

    /// The first ring at or after `at` that held something, numbered as in `take_request`: the shared ring, the workers, the ports.
    fn next_request(&self, at: u32, workers: u32) -> Option<u32> {
        if at == 0 && self.shared {
            return Some(0);
        }
        if at <= workers {
            let from = at.max(1) - 1;
            let (word, bit) = (from / 32, from % 32);
            if word < WORDS as u32 {
                let rest = self.requests[at_word(word)] >> bit << bit;
                if rest != 0 {
                    return Some(1 + word * 32 + rest.trailing_zeros());
                }
                let later = if word + 1 < 32 { self.request_words >> (word + 1) << (word + 1) } else { 0 };
                if later != 0 {
                    let word = later.trailing_zeros();
                    return Some(1 + word * 32 + self.requests[at_word(word)].trailing_zeros());
                }
            }
        }
        let port = at.saturating_sub(1 + workers);
        let rest = if port < 32 { self.ports >> port << port } else { 0 };
        (rest != 0).then(|| 1 + workers + rest.trailing_zeros())
    }

    /// Whether the next message of a ring was seen; from here on it may be taken.
    fn take_seen(&mut self, at: u32, workers: u32) -> bool {
        if at == 0 {
            core::mem::take(&mut self.shared_seen)
        } else if at <= workers {
            let (word, bit) = ((at - 1) / 32, (at - 1) % 32);
            let seen = self.seen[at_word(word)] >> bit & 1 != 0;
            self.seen[at_word(word)] &= !(1 << bit);
            seen
        } else {
            let bit = at - 1 - workers;
            let seen = self.ports_seen >> bit & 1 != 0;
            self.ports_seen &= !(1 << bit);
            seen
        }
    }

    fn clear_request(&mut self, at: u32, workers: u32) {
        if at == 0 {
            self.shared = false;
        } else if at <= workers {
            let (word, bit) = ((at - 1) / 32, (at - 1) % 32);
            self.requests[at_word(word)] &= !(1 << bit);
            if self.requests[at_word(word)] == 0 {
                self.request_words &= !(1 << word);
            }
        } else {
            self.ports &= !(1 << (at - 1 - workers));
        }
    }
}

/// Raw words of the host's memory, not yet looked into.
#[derive(Clone, Copy)]
struct Glimpse {
    shared: u32,
    port: u32,
    open: u32,
    leave: u32,
}

impl Worker {
    /// Whether all lanes should look at the rings before the next message is taken.
    #[inline(always)]
    pub(super) fn wants_to_listen(&mut self) -> bool {
        let heard = &mut self.heard;
        if core::mem::take(&mut heard.fresh) || !(heard.takes >= TAKES || heard.is_empty()) {
            return false;
        }
        heard.fresh = true;
        heard.takes = 0;
        heard.looks = heard.looks.wrapping_add(1);
        true
    }

    /// All lanes look at the rings, an idle worker's several times.
    ///
    /// # Safety
    /// All lanes of the worker's team are here.
    #[inline(never)]
    pub(crate) unsafe fn listen<F: Fabric>(worker: *mut Self, team: F::Team) {
        // SAFETY: all lanes read what only the leader writes, inside `lead`.
        let (idle, looks) = unsafe { ((*worker).idle_rounds > 0, (*worker).heard.looks) };
        let rounds = if idle { F::LISTEN_ROUNDS } else { 1 };
        let host = idle || looks.is_multiple_of(HOST_LOOKS);
        let mut round = 0;
        while round < rounds {
            // The host's memory is far: what was asked of it here is judged after some looks at the near rings.
            // SAFETY: contract.
            let glimpse = unsafe { Self::glimpse_of_host::<F>(worker, team, host) };
            let mut near = 0;
            let mut found = false;
            while near < HOST_LOOKS && round < rounds && !found {
                // SAFETY: contract.
                found = unsafe { Self::look_at_workers::<F>(worker, team) };
                near += 1;
                round += 1;
            }
            if host && !found {
                // SAFETY: contract; nothing was taken since the glimpse.
                found = unsafe { Self::judge::<F>(worker, team, &glimpse) };
            }
            if found {
                return;
            }
        }
    }

    /// # Safety
    /// As for `listen`.
    #[inline(always)]
    unsafe fn look_at_workers<F: Fabric>(worker: *mut Self, team: F::Team) -> bool {
        let (rank, size) = (team.rank(), team.size().min(32));
        // SAFETY: as in `listen`; a ring's consumer changes only inside `lead`.
        let (workers, own, peers) = unsafe { ((*worker).workers, (*worker).index, (*worker).peers) };
        let mut found = false;
        let mut base = 0;
        while base < workers {
            let (mut requests, mut replies) = (0u32, 0u32);
            for k in 0..AT_ONCE {
                let peer = base + k * size + rank;
                if rank < size && peer < workers && peer != own {
                    // SAFETY: there is a peer for each worker (contract of `init`).
                    unsafe {
                        let peer = peers.add(peer as usize);
                        requests |= u32::from((*peer).requests_in.holds::<F::Mesh>()) << k;
                        replies |= u32::from((*peer).replies_in.holds::<F::Mesh>()) << k;
                    }
                }
            }
            // Mostly nobody has anything: one vote says so.
            if team.ballot(requests | replies != 0) != 0 {
                found = true;
                // SYNC: line (acquire), by the lane that has seen the sequence; then the lanes meet.
                acquire_fence(PhantomData::<F::Mesh>);
                for k in 0..AT_ONCE {
                    let (asked, answered) = (team.ballot(requests >> k & 1 != 0), team.ballot(replies >> k & 1 != 0));
                    if asked | answered != 0 {
                        let first = base + k * size;
                        // SAFETY: only the leader is inside `lead`.
                        team.lead(|| unsafe {
                            let heard = &mut (*worker).heard;
                            Heard::add(&mut heard.requests, &mut heard.request_words, first, asked);
                            Heard::add(&mut heard.seen, &mut 0, first, asked);
                            Heard::add(&mut heard.replies, &mut heard.reply_words, first, answered);
                        });
                    }
                }
            }
            base += AT_ONCE * size;
        }
        found
    }

    /// What a lane sees of the host's rings: its own port, and, the first lane, the words that concern all.
    ///
    /// # Safety
    /// As for `listen`.
    #[inline(always)]
    unsafe fn glimpse_of_host<F: Fabric>(worker: *mut Self, team: F::Team, look: bool) -> Glimpse {
        let rank = team.rank();
        let mut glimpse = Glimpse { shared: 0, port: 0, open: 0, leave: 0 };
        // SAFETY: `1 + MAX_PORTS` inlets, and the words live (contract of `init`); the leader writes none of this now.
        unsafe {
            let (inlets, open) = ((*worker).inlets, (*worker).heard.open);
            if look && rank == 0 {
                glimpse.shared = (*inlets).glance::<F::Host>();
                glimpse.open = (*(*worker).open_ports).glance::<F::Host>();
                glimpse.leave = (*worker).link.glance_at_leave::<F::Host>();
            }
            if look && rank < MAX_PORTS as u32 && open >> rank & 1 != 0 {
                glimpse.port = (*inlets.add(1 + rank as usize)).glance::<F::Host>();
            }
        }
        glimpse
    }

    /// # Safety
    /// As for `listen`; nothing was taken from the host's rings since the glimpse.
    #[inline(always)]
    unsafe fn judge<F: Fabric>(worker: *mut Self, team: F::Team, glimpse: &Glimpse) -> bool {
        let (rank, size) = (team.rank(), team.size().min(32));
        // SAFETY: as in `glimpse_of_host`.
        unsafe {
            let (inlets, open) = ((*worker).inlets, (*worker).heard.open);
            let mut ports = 0;
            if open != 0 {
                let mut base = 0;
                while base < MAX_PORTS as u32 {
                    let port = base + rank;
                    let holds = rank < size && open >> port & 1 != 0 && {
                        let ring = &*inlets.add(1 + port as usize);
                        // A team of few lanes has glimpsed the first ports only.
                        ring.is_next(if base == 0 { glimpse.port } else { ring.glance::<F::Host>() })
                    };
                    ports |= team.ballot(holds) << base;
                    base += size;
                }
            }
            if team.ballot(ports != 0 || (rank == 0 && ((*inlets).is_next(glimpse.shared) || glimpse.leave != 0))) != 0 {
                // SYNC: line (acquire), as above.
                acquire_fence(PhantomData::<F::Host>);
            }
            team.lead(|| {
                let worker = &mut *worker;
                let shared = (*inlets).is_next(glimpse.shared);
                let heard = &mut worker.heard;
                heard.shared |= shared;
                heard.shared_seen |= shared;
                heard.ports |= ports;
                heard.ports_seen |= ports;
                heard.open |= glimpse.open;
                let leave = glimpse.leave != 0 && worker.link.told_to_leave::<F::Host>();
                if leave {
                    worker.leave_because(crate::post::Left::Told);
                }
                shared || ports != 0 || leave || glimpse.open & !open != 0
            })
        }
    }

    /// The next request from a ring that held something; the start moves on, as in `take_request`.
    pub(super) fn take_heard<F: Fabric>(&mut self) -> Step {
        let workers = self.workers;
        let start = self.poll_next;
        let mut at = start;
        let mut wrapped = false;
        loop {
            let Some(next) = self.heard.next_request(at, workers).filter(|next| !wrapped || *next < start) else {
                if wrapped || start == 0 {
                    break;
                }
                wrapped = true;
                at = 0;
                continue;
            };
            let seen = self.heard.take_seen(next, workers);
            // SAFETY: as many inlets and peers as `init` was promised; what was seen is still there, because nothing was taken since.
            let (step, empty) = unsafe {
                if next == 0 || next > workers {
                    let ring: *mut Consumer = self.inlets.add(next.saturating_sub(workers) as usize);
                    let step = self.take_from::<F, F::Host>(ring, NONE, seen);
                    (step, step.is_none() && !(*ring).holds::<F::Host>())
                } else {
                    let ring = &raw mut (*self.peers.add(next as usize - 1)).requests_in;
                    let step = self.take_from::<F, F::Mesh>(ring, next - 1, seen);
                    (step, step.is_none() && !(*ring).holds::<F::Mesh>())
                }
            };
            // Not after a message was taken: that may still be read, and the next look at the ring tells the producer of its room.
            if empty {
                self.heard.clear_request(next, workers);
            }
            if let Some(step) = step {
                self.heard.takes += 1;
                self.idle_rounds = 0;
                self.stay += 1;
                self.poll_next = next;
                if self.stay >= super::SCAN {
                    self.stay = 0;
                    self.poll_next = next + 1;
                }
                return step;
            }
            at = next + 1;
        }
        self.poll_next = 0;
        // What is left waits for room somewhere: look again before the next try.
        self.heard.takes = TAKES;
        Step::Idle
    }
}
