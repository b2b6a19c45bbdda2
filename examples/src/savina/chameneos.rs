//! Chameneos: creatures meet in pairs in a mall and change their colours, until there were N meetings.
//!
//! Bound: a creature is in the mall, or has one message under way because of it; the mall's mailbox holds all creatures.

use warpring::prelude::*;

/// What a creature can look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RingMessage, State)]
#[repr(u8)]
pub enum Colour {
    /// Yellow.
    #[default]
    Yellow,
    /// Blue.
    Blue,
    /// Red.
    Red,
}

impl Colour {
    /// The colour number `i`, in turn.
    pub fn number(i: u32) -> Self {
        [Self::Yellow, Self::Blue, Self::Red][(i % 3) as usize]
    }

    /// What a creature of this colour becomes when it meets one of the other: its own colour if both are alike, else the third.
    pub fn meets(self, other: Self) -> Self {
        if self == other {
            return self;
        }
        // 0 + 1 + 2 = 3
        Self::number(3 - self as u32 - other as u32)
    }
}

/// Go to the mall for the first time.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Wake;

/// A creature comes to the mall.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Visit {
    /// Its colour.
    pub colour: Colour,
}

/// The mall to the one who came first: here is another.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Introduce {
    /// Its colour.
    pub colour: Colour,
    /// Who it is.
    pub other: Address<Creature>,
}

/// The first to the second: we have met.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Change {
    /// The colour that both have now.
    pub colour: Colour,
}

/// The mall is closed.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Close;

/// A creature goes home.
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Leave {
    /// Whom it has met.
    pub meetings: u32,
}

/// How many creatures have gone home?
#[derive(Clone, Copy, Debug, RingMessage)]
pub struct HowMany;

/// Who has gone home.
#[derive(Clone, Copy, Debug, Default, RingMessage)]
pub struct Census {
    /// How many creatures.
    pub gone: u32,
    /// The sum of their meetings.
    pub meetings: u64,
}

#[derive(Clone, Copy, Debug, Default, State)]
struct Floor {
    /// Meetings still to come.
    left: u32,
    /// Whether somebody waits, and who.
    waits: bool,
    colour: Colour,
    creature: Address<Creature>,
    gone: u32,
    meetings: u64,
}

/// Brings creatures together.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/chameneos-mall")]
pub struct Mall {
    floor: Resident<Floor>,
}

impl Mall {
    /// Open for so many meetings.
    pub fn new(meetings: u32) -> Self {
        Self { floor: Resident::new(Floor { left: meetings, ..Floor::default() }) }
    }
}

/// What the mall does with a visitor.
#[derive(Clone, Copy)]
enum Reception {
    Wait,
    Meet(Address<Creature>),
    Closed,
}

impl RingKernelHandler<Visit, ()> for Mall {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Visit) -> Result<()> {
        let visitor = Address::new(ctx.sender().ok_or(KernelError::Stopped)?);
        let reception = ctx.update(&self.floor, |floor| {
            if floor.left == 0 {
                Reception::Closed
            } else if floor.waits {
                floor.waits = false;
                floor.left -= 1;
                Reception::Meet(floor.creature)
            } else {
                (floor.waits, floor.colour, floor.creature) = (true, msg.colour, visitor);
                Reception::Wait
            }
        });
        match reception {
            Reception::Wait => Ok(()),
            Reception::Meet(first) => ctx.tell(first, Introduce { colour: msg.colour, other: visitor }).await,
            Reception::Closed => ctx.tell(visitor, Close).await,
        }
    }
}

impl RingKernelHandler<Leave, ()> for Mall {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Leave) -> Result<()> {
        ctx.update(&self.floor, |floor| {
            floor.gone += 1;
            floor.meetings += u64::from(msg.meetings);
        });
        Ok(())
    }
}

impl RingKernelHandler<HowMany, Census> for Mall {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: HowMany) -> Result<Census> {
        let floor = ctx.read(&self.floor);
        Ok(Census { gone: floor.gone, meetings: floor.meetings })
    }
}

#[derive(Clone, Copy, Debug, State)]
struct Life {
    colour: Colour,
    meetings: u32,
}

/// Changes its colour with each meeting.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "savina/chameneos-creature")]
pub struct Creature {
    mall: Address<Mall>,
    life: Resident<Life>,
}

impl Creature {
    /// A creature that visits `mall`.
    pub fn new(mall: Address<Mall>, colour: Colour) -> Self {
        Self { mall, life: Resident::new(Life { colour, meetings: 0 }) }
    }

    async fn visit(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let colour = ctx.read(&self.life).colour;
        ctx.tell(self.mall, Visit { colour }).await
    }
}

impl RingKernelHandler<Wake, ()> for Creature {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Wake) -> Result<()> {
        self.visit(ctx).await
    }
}

impl RingKernelHandler<Introduce, ()> for Creature {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Introduce) -> Result<()> {
        let colour = ctx.update(&self.life, |life| {
            life.colour = life.colour.meets(msg.colour);
            life.meetings += 1;
            life.colour
        });
        ctx.tell(msg.other, Change { colour }).await?;
        self.visit(ctx).await
    }
}

impl RingKernelHandler<Change, ()> for Creature {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Change) -> Result<()> {
        ctx.update(&self.life, |life| {
            life.colour = msg.colour;
            life.meetings += 1;
        });
        self.visit(ctx).await
    }
}

impl RingKernelHandler<Close, ()> for Creature {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Close) -> Result<()> {
        let meetings = ctx.read(&self.life).meetings;
        ctx.tell(self.mall, Leave { meetings }).await
    }
}

/// The parameters.
#[derive(Clone, Copy, Debug)]
pub struct Params {
    /// How many creatures.
    pub creatures: u32,
    /// N: after how many meetings the mall closes.
    pub meetings: u32,
}

impl Params {
    /// The suite's.
    pub const SAVINA: Self = Self { creatures: 100, meetings: 200_000 };
    /// For slow backends.
    pub const SMALL: Self = Self { creatures: 10, meetings: 200 };

    /// The sum of the creatures' meetings: two creatures take part in each.
    pub const fn answer(self) -> i64 {
        2 * self.meetings as i64
    }
}

/// Runs it: the creatures spread over all workers, the mall on the first.
///
/// # Errors
/// What failed; the limit of time is that of the suite.
#[cfg(not(target_arch = "nvptx64"))]
pub fn run(runtime: &Runtime, params: Params) -> core::result::Result<super::Outcome, super::Failure> {
    let mall = warpring::block_on(runtime.launch(Mall::new(params.meetings), LaunchOptions::default().on_worker(0)))?;
    let creature = |i| Creature::new(mall.address(), Colour::number(i));
    let creatures = warpring::block_on(runtime.launch_many(params.creatures, LaunchOptions::default(), creature))?;
    let start = std::time::Instant::now();
    for creature in (0..params.creatures).filter_map(|i| creatures.get(i)) {
        creature.tell(Wake).wait()?;
    }
    let census = super::suite::until(|| Ok(Some(mall.ask(HowMany).wait()?).filter(|census| census.gone == params.creatures)))?;
    // Two visits, an introduction and a change for each meeting; a wake, a visit, a close and a leave for each creature.
    let messages = 4 * (u64::from(params.meetings) + u64::from(params.creatures));
    Ok(super::Outcome { answer: census.meetings as i64, messages, time: start.elapsed() })
}

#[cfg(test)]
mod tests {
    use super::Colour::{self, Blue, Red, Yellow};

    #[test]
    fn two_colours_make_the_third() {
        let third = |a: Colour, b: Colour| (a.meets(b), b.meets(a));
        assert_eq!(third(Yellow, Blue), (Red, Red));
        assert_eq!(third(Yellow, Red), (Blue, Blue));
        assert_eq!(third(Blue, Red), (Yellow, Yellow));
        assert!([Yellow, Blue, Red].iter().all(|colour| colour.meets(*colour) == *colour));
    }
}
