//! `actix`: each actor stays on the thread of its arbiter, so two workers are the caller and an arbiter.

use std::future::Future;

use actix::{Actor, Addr, Arbiter, ArbiterHandle, Context, Handler, MailboxError, Message, ResponseFuture, System};
use actix::{SystemRunner, dev::Request};
use futures::FutureExt;
use futures::future::Map;

use crate::peer::{Job, MAILBOX, Peer, Workers, handle};

pub struct Actix;

/// Holds a `u64`, and runs jobs.
pub struct Account(u64);

pub struct Ask(u64);

struct Tell(u64);

struct Run(Job);

impl Message for Ask {
    type Result = u64;
}

impl Message for Tell {
    type Result = ();
}

impl Message for Run {
    type Result = ();
}

impl Actor for Account {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

impl Handler<Ask> for Account {
    type Result = u64;

    fn handle(&mut self, request: Ask, _: &mut Self::Context) -> u64 {
        handle(&mut self.0, request.0)
    }
}

impl Handler<Tell> for Account {
    type Result = ();

    fn handle(&mut self, message: Tell, _: &mut Self::Context) {
        handle(&mut self.0, message.0);
    }
}

impl Handler<Run> for Account {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, job: Run, _: &mut Self::Context) -> ResponseFuture<()> {
        job.0
    }
}

/// A system on the caller's thread, and an arbiter on its own where actors are to live elsewhere.
pub struct Bed {
    system: SystemRunner,
    other: Option<Arbiter>,
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(arbiter) = self.other.take() {
            arbiter.stop();
            arbiter.join().expect("the arbiter's thread ends");
        }
    }
}

type Answered = Result<u64, MailboxError>;

impl Peer for Actix {
    const NAME: &'static str = "actix";
    const STAYS_ON_OTHER_WORKER: bool = true;
    type Actor = Addr<Account>;
    type Answer = Map<Request<Account, Ask>, fn(Answered) -> u64>;
    type Runtime = Bed;
    type Place = Option<ArbiterHandle>;

    fn runtime(workers: Workers) -> Bed {
        let system = System::new();
        // An arbiter belongs to the system that is current where it is made.
        let other = (workers != Workers::Caller).then(|| system.block_on(async { Arbiter::new() }));
        Bed { system, other }
    }

    fn place(bed: &Bed) -> Self::Place {
        bed.other.as_ref().map(Arbiter::handle)
    }

    fn run<T: Send + 'static>(bed: &Bed, job: impl Future<Output = T> + Send + 'static) -> T {
        bed.system.block_on(job)
    }

    async fn start(place: &Self::Place) -> Self::Actor {
        match place {
            Some(arbiter) => Account::start_in_arbiter(arbiter, |_| Account(0)),
            None => Account(0).start(),
        }
    }

    async fn ask(actor: &Self::Actor, request: u64) -> u64 {
        actor.send(Ask(request)).await.expect("the actor answers")
    }

    async fn ask_later(actor: &Self::Actor, request: u64) -> Self::Answer {
        let answered: fn(Answered) -> u64 = |result| result.expect("the actor answers");
        actor.send(Ask(request)).map(answered)
    }

    /// It does not heed the mailbox's bound, so it never waits.
    async fn tell(actor: &Self::Actor, message: u64) {
        actor.do_send(Tell(message));
    }

    async fn inside_actor(job: Job) {
        let asker = Account(0).start();
        asker.send(Run(job)).await.expect("the job ends");
    }
}
