//! An actor that looks others up by their names, and publishes on topics.

use warpring::prelude::*;
use warpring::{PublishError, Published};

use super::gate::Gate;
use super::subject::{Add, Note, Subject};

/// Who has this name?
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Find {
    /// The name.
    pub name: Name,
}
/// Who has a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RingMessage)]
pub struct Found {
    /// The [`Subject`] with this name; of generation 0 if there is none.
    pub subject: ActorId,
    /// The [`Gate`] with this name.
    pub gate: ActorId,
}
/// Publishes the notes `first` to `first + count - 1` of sender `from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Proclaim {
    /// On which topic.
    pub topic: Name,
    /// As which sender.
    pub from: u32,
    /// The first note.
    pub first: u32,
    /// How many.
    pub count: u32,
}
/// Publishes tomes with the seeds 1 to `count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Recite {
    /// On which topic.
    pub topic: Name,
    /// How many.
    pub count: u32,
}
/// Publishes `count` times that 1 is to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Scatter {
    /// On which topic.
    pub topic: Name,
    /// How often.
    pub count: u32,
}
/// Whom publications reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RingMessage)]
pub struct Reached {
    /// Copies that were sent.
    pub sent: u32,
    /// Copies that were lost.
    pub lost: u32,
    /// Publications that were refused, because there is no such topic.
    pub no_topic: u32,
    /// Publications that were refused, because the topic takes other messages.
    pub other_message: u32,
}
/// A message of several lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct Tome {
    /// What [`Tome::seeded`] makes.
    pub words: [u64; 16],
}
/// Which tomes have come?
#[derive(Clone, Copy, Debug, PartialEq, Eq, RingMessage)]
pub struct ReadTomes;
/// Which tomes have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, RingMessage, State)]
pub struct Tomes {
    /// How many.
    pub count: u32,
    /// How many were not what was published, or did not have the seed after the one before.
    pub wrong: u32,
}

impl Tome {
    /// Words that depend on the seed and on their place.
    #[must_use]
    pub fn seeded(seed: u32) -> Self {
        let mut words = [0; 16];
        for (at, word) in words.iter_mut().enumerate() {
            *word = (u64::from(seed) << 32 | at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        Self { words }
    }
}

impl Reached {
    fn add(&mut self, published: core::result::Result<Published, PublishError>) {
        match published {
            Ok(Published { sent, lost }) => {
                self.sent += sent;
                self.lost += lost;
            }
            Err(PublishError::NoSuchTopic) => self.no_topic += 1,
            Err(_) => self.other_message += 1,
        }
    }
}

/// Looks up, publishes, and keeps count of the tomes that it gets.
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "conformance/herald")]
pub struct Herald {
    tomes: Resident<Tomes>,
}

impl RingKernelHandler<Find, Found> for Herald {
    async fn handle(&self, ctx: &mut RingContext<'_>, find: Find) -> Result<Found> {
        let subject = ctx.lookup::<Subject>(find.name).unwrap_or_default().id();
        Ok(Found { subject, gate: ctx.lookup::<Gate>(find.name).unwrap_or_default().id() })
    }
}
impl RingKernelHandler<Proclaim, Reached> for Herald {
    async fn handle(&self, ctx: &mut RingContext<'_>, proclaim: Proclaim) -> Result<Reached> {
        let mut reached = Reached::default();
        for number in 0..proclaim.count {
            let note = Note { from: proclaim.from, seq: proclaim.first + number };
            reached.add(ctx.publish(proclaim.topic, &note));
        }
        Ok(reached)
    }
}
impl RingKernelHandler<Recite, Reached> for Herald {
    async fn handle(&self, ctx: &mut RingContext<'_>, recite: Recite) -> Result<Reached> {
        let mut reached = Reached::default();
        for seed in 1..=recite.count {
            reached.add(ctx.publish(recite.topic, &Tome::seeded(seed)));
        }
        Ok(reached)
    }
}
impl RingKernelHandler<Scatter, Reached> for Herald {
    async fn handle(&self, ctx: &mut RingContext<'_>, scatter: Scatter) -> Result<Reached> {
        let mut reached = Reached::default();
        for _ in 0..scatter.count {
            reached.add(ctx.publish(scatter.topic, &Add { n: 1 }));
        }
        Ok(reached)
    }
}
impl RingKernelHandler<Tome, ()> for Herald {
    async fn handle(&self, ctx: &mut RingContext<'_>, tome: Tome) -> Result<()> {
        ctx.update(&self.tomes, |tomes| {
            tomes.count += 1;
            // Arrays are compared on the device too.
            tomes.wrong += u32::from(tome.words != Tome::seeded(tomes.count).words);
        });
        Ok(())
    }
}
impl RingKernelHandler<ReadTomes, Tomes> for Herald {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: ReadTomes) -> Result<Tomes> {
        Ok(*ctx.read(&self.tomes))
    }
}
