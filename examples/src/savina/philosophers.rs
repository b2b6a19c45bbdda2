//! Dining Philosophers: N philosophers eat M times each; an arbiter gives both forks or none, and who gets none asks again.
//!
//! Bound: each philosopher has one message under way to the arbiter.

use warpring::prelude::*;

use super::finish::{Finish, Finished};

/// Most philosophers.
pub const MOST: usize = 32;

/// Eat so often.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Dine {
    /// How often.
    pub rounds: u32,
    /// Who wants to know when it is done.
    pub finish: Address<Finish>,
}

/// May I have my forks?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Hungry {
    /// Where the philosopher sits.
    pub seat: u32,
}

/// Whether both forks are there to eat with.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Forks {
    /// They are.
    pub both: bool,
}

/// I have eaten, and give my forks back.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Eaten {
    /// Where the philosopher sits.
    pub seat: u32,
}

/// How is the table?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Look;

/// How the table is.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Seen {
    /// Forks that somebody holds.
    pub forks: u32,
    /// Meals that were eaten.
    pub meals: u32,
}

#[derive(Clone, Copy, Debug, State)]
struct Table {
    taken: [bool; MOST],
    meals: u32,
}

/// Has the forks.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/philosophers-arbiter")]
pub struct Arbiter {
    seats: u32,
    table: Resident<Table>,
}

impl Arbiter {
    /// A fork's number is its left philosopher's; the table is round.
    fn forks(&self, seat: u32) -> [usize; 2] {
        [seat as usize % MOST, ((seat + 1) % self.seats) as usize % MOST]
    }
}

impl RingKernelHandler<Hungry, Forks> for Arbiter {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Hungry) -> Result<Forks> {
        let forks = self.forks(msg.seat);
        let both = ctx.update(&self.table, |table| {
            let both = forks.iter().all(|fork| !table.taken[*fork]);
            if both {
                forks.iter().for_each(|fork| table.taken[*fork] = true);
            }
            both
        });
        Ok(Forks { both })
    }
}

impl RingKernelHandler<Eaten, ()> for Arbiter {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Eaten) -> Result<()> {
        let forks = self.forks(msg.seat);
        ctx.update(&self.table, |table| {
            forks.iter().for_each(|fork| table.taken[*fork] = false);
            table.meals += 1;
        });
        Ok(())
    }
}

impl RingKernelHandler<Look, Seen> for Arbiter {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Look) -> Result<Seen> {
        let table = ctx.read(&self.table);
        Ok(Seen { forks: table.taken.iter().filter(|taken| **taken).count() as u32, meals: table.meals })
    }
}

/// Eats.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/philosopher")]
pub struct Philosopher {
    seat: u32,
    arbiter: Address<Arbiter>,
}

impl RingKernelHandler<Dine, ()> for Philosopher {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Dine) -> Result<()> {
        let mut eaten = 0;
        while eaten < msg.rounds {
            if ctx.ask(self.arbiter, Hungry { seat: self.seat }).await?.both {
                ctx.ask(self.arbiter, Eaten { seat: self.seat }).await?;
                eaten += 1;
            } else {
                ctx.yield_now().await;
            }
        }
        ctx.tell(msg.finish, Finished { value: eaten.into() }).await
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// N: philosophers, 2 to [`MOST`].
    pub philosophers: u32,
    /// M: how often each eats.
    pub rounds: u32,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { philosophers: 20, rounds: 10_000 };
    /// For slow backends.
    pub const SMALL: Self = Self { philosophers: 5, rounds: 40 };

    /// All meals.
    pub const fn answer(self) -> i64 {
        self.philosophers as i64 * self.rounds as i64
    }
}

/// Runs it: the philosophers spread over all workers.
///
/// # Errors
/// What failed, or that forks are left in somebody's hands.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let options = LaunchOptions::default;
    let finish = warpring::block_on(runtime.launch(Finish::new(), options()))?;
    let table = Resident::new(Table { taken: [false; MOST], meals: 0 });
    let arbiter = warpring::block_on(runtime.launch(Arbiter { seats: params.philosophers, table }, options()))?;
    let address = arbiter.address();
    let philosopher = |seat| Philosopher { seat, arbiter: address };
    let philosophers = warpring::block_on(runtime.launch_many(params.philosophers, options(), philosopher))?.address();
    let start = std::time::Instant::now();
    let mut port = runtime.port(1)?;
    for philosopher in (0..params.philosophers).filter_map(|i| philosophers.get(i)) {
        port.tell(philosopher, Dine { rounds: params.rounds, finish: finish.address() })?;
    }
    let eaten = super::finish::wait(&finish, params.philosophers)?.sum;
    let time = start.elapsed();
    let seen = arbiter.ask(Look).wait()?;
    if seen.forks > 0 || i64::from(seen.meals) != eaten {
        return Err(format!("{} forks are taken, and {} of {eaten} meals were seen", seen.forks, seen.meals).into());
    }
    // Two asks and their replies for each meal; how often somebody asks in vain is chance.
    Ok(super::Outcome { answer: eaten, messages: 4 * eaten as u64, time })
}
