//! `kameo`: the same bound for its mailboxes as for the channel of the actor built by hand.

use std::future::Future;

use futures::FutureExt;
use futures::future::Map;
use kameo::actor::{ActorRef, Spawn};
use kameo::error::{Infallible, SendError};
use kameo::mailbox;
use kameo::message::{Context, Message};
use kameo::request::PendingReply;
use tokio::runtime::Runtime;

use super::tokio::{run, runtime};
use crate::peer::{Job, MAILBOX, Peer, Workers, handle};

pub struct Kameo;

/// Holds a `u64`, and runs jobs.
pub struct Account(u64);

pub struct Ask(u64);

struct Tell(u64);

struct Run(Job);

impl kameo::Actor for Account {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(account: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(account)
    }
}

impl Message<Ask> for Account {
    type Reply = u64;

    async fn handle(&mut self, request: Ask, _: &mut Context<Self, u64>) -> u64 {
        handle(&mut self.0, request.0)
    }
}

impl Message<Tell> for Account {
    type Reply = ();

    async fn handle(&mut self, message: Tell, _: &mut Context<Self, ()>) {
        handle(&mut self.0, message.0);
    }
}

impl Message<Run> for Account {
    type Reply = ();

    async fn handle(&mut self, job: Run, _: &mut Context<Self, ()>) {
        job.0.await;
    }
}

type Answered = Result<u64, SendError<Ask, Infallible>>;

impl Peer for Kameo {
    const NAME: &'static str = "kameo";
    const STAYS_ON_OTHER_WORKER: bool = false;
    type Actor = ActorRef<Account>;
    type Answer = Map<PendingReply<Ask, u64>, fn(Answered) -> u64>;
    type Runtime = Runtime;
    type Place = ();

    fn runtime(workers: Workers) -> Runtime {
        runtime(workers)
    }

    fn place(_: &Runtime) {}

    fn run<T: Send + 'static>(runtime: &Runtime, job: impl Future<Output = T> + Send + 'static) -> T {
        run(runtime, job)
    }

    async fn start(_: &()) -> Self::Actor {
        let actor = Account::spawn_with_mailbox(Account(0), mailbox::bounded(MAILBOX));
        actor.wait_for_startup().await;
        actor
    }

    async fn ask(actor: &Self::Actor, request: u64) -> u64 {
        actor.ask(Ask(request)).send().await.unwrap_or_else(|_| panic!("the actor answers"))
    }

    async fn ask_later(actor: &Self::Actor, request: u64) -> Self::Answer {
        let pending = actor.ask(Ask(request)).enqueue().await.unwrap_or_else(|_| panic!("the actor lives"));
        let answered: fn(Answered) -> u64 = |result| result.unwrap_or_else(|_| panic!("the actor answers"));
        pending.map(answered)
    }

    async fn tell(actor: &Self::Actor, message: u64) {
        actor.tell(Tell(message)).send().await.unwrap_or_else(|_| panic!("the actor lives"));
    }

    async fn inside_actor(job: Job) {
        let asker = Self::start(&()).await;
        asker.ask(Run(job)).send().await.unwrap_or_else(|_| panic!("the job ends"));
    }
}
