//! `ractor`: mailboxes without a bound, so a tell never waits.

use std::future::Future;

use futures::FutureExt;
use ractor::concurrency::oneshot;
use ractor::{ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::runtime::Runtime;

use super::tokio::{Answer, answered, run, runtime};
use crate::peer::{Job, Peer, Workers, handle};

pub struct Ractor;

pub enum Message {
    Ask(u64, RpcReplyPort<u64>),
    Tell(u64),
    Run(Job, RpcReplyPort<()>),
}

/// Holds a `u64`, and runs jobs.
struct Account;

impl ractor::Actor for Account {
    type Msg = Message;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Message>, _: ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(&self, _: ActorRef<Message>, message: Message, state: &mut u64) -> Result<(), ActorProcessingErr> {
        match message {
            // An asker that has gone needs no answer.
            Message::Ask(request, answer) => drop(answer.send(handle(state, request))),
            Message::Tell(message) => drop(handle(state, message)),
            Message::Run(job, done) => {
                job.await;
                done.send(())?;
            }
        }
        Ok(())
    }
}

impl Peer for Ractor {
    const NAME: &'static str = "ractor";
    const STAYS_ON_OTHER_WORKER: bool = false;
    type Actor = ActorRef<Message>;
    type Answer = Answer;
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
        ractor::Actor::spawn(None, Account, ()).await.expect("an actor starts").0
    }

    async fn ask(actor: &Self::Actor, request: u64) -> u64 {
        Self::ask_later(actor, request).await.await
    }

    /// What its `call` does, less the time limit.
    async fn ask_later(actor: &Self::Actor, request: u64) -> Answer {
        let (sender, receiver) = oneshot();
        actor.send_message(Message::Ask(request, sender.into())).expect("the actor lives");
        receiver.map(answered)
    }

    async fn tell(actor: &Self::Actor, message: u64) {
        actor.send_message(Message::Tell(message)).expect("the actor lives");
    }

    async fn inside_actor(job: Job) {
        let asker = Self::start(&()).await;
        let (sender, receiver) = oneshot();
        asker.send_message(Message::Run(job, sender.into())).expect("the actor lives");
        receiver.await.expect("the job ends");
        asker.stop(None);
    }
}
