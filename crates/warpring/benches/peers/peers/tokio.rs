//! The actor built by hand: a task, a bounded `mpsc` channel, a `oneshot` per answer. And the runtimes of those peers
//! whose actors are tokio tasks.

use std::future::Future;

use futures::FutureExt;
use futures::future::Map;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot::error::RecvError;
use tokio::sync::{mpsc, oneshot};

use crate::peer::{Job, MAILBOX, Peer, Workers, handle};

pub struct Tokio;

pub enum Message {
    Ask(u64, oneshot::Sender<u64>),
    Tell(u64),
}

pub type Answer = Map<oneshot::Receiver<u64>, fn(Result<u64, RecvError>) -> u64>;

/// The answer of a `oneshot`, whose actor lives.
pub fn answered(result: Result<u64, RecvError>) -> u64 {
    result.expect("the actor answers")
}

impl Peer for Tokio {
    const NAME: &'static str = "tokio";
    const STAYS_ON_OTHER_WORKER: bool = false;
    type Actor = mpsc::Sender<Message>;
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
        let (sender, mut receiver) = mpsc::channel(MAILBOX);
        tokio::spawn(async move {
            let mut state = 0;
            while let Some(message) = receiver.recv().await {
                match message {
                    // An asker that has gone needs no answer.
                    Message::Ask(request, answer) => drop(answer.send(handle(&mut state, request))),
                    Message::Tell(message) => drop(handle(&mut state, message)),
                }
            }
        });
        sender
    }

    async fn ask(actor: &Self::Actor, request: u64) -> u64 {
        Self::ask_later(actor, request).await.await
    }

    async fn ask_later(actor: &Self::Actor, request: u64) -> Answer {
        let (sender, receiver) = oneshot::channel();
        assert!(actor.send(Message::Ask(request, sender)).await.is_ok(), "the actor lives");
        receiver.map(answered)
    }

    async fn tell(actor: &Self::Actor, message: u64) {
        assert!(actor.send(Message::Tell(message)).await.is_ok(), "the actor lives");
    }

    async fn inside_actor(job: Job) {
        tokio::spawn(job).await.expect("the job ends");
    }
}

pub fn runtime(workers: Workers) -> Runtime {
    let mut builder = match workers {
        Workers::Caller => Builder::new_current_thread(),
        Workers::One | Workers::Two => Builder::new_multi_thread(),
    };
    match workers {
        Workers::Caller => &mut builder,
        Workers::One => builder.worker_threads(1),
        Workers::Two => builder.worker_threads(2),
    };
    builder.enable_all().build().expect("threads for a runtime")
}

/// As a task: the thread that calls `block_on` is no worker of a runtime with threads of its own.
pub fn run<T: Send + 'static>(runtime: &Runtime, job: impl Future<Output = T> + Send + 'static) -> T {
    runtime.block_on(async { tokio::spawn(job).await.expect("the job ends") })
}
