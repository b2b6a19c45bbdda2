//! `ringkernel` 1.1.0: launch a kernel on its CPU runtime, send it a message, and report what comes back.
//!
//! This is the use that its own documentation shows first: launch by name, send, receive. A launched kernel is a name
//! with an input queue and an output queue. Launching takes no handler, and the record by which `#[ring_kernel]`
//! registers a function has no field for one, so there is no way to hand the CPU runtime code to run.

use std::time::Duration;

use ringkernel::prelude::*;
use warpring_bench::Figure;

use crate::plan::Plan;

const LIMIT: Duration = Duration::from_secs(1);

/// One try each of `receive_timeout` and `call`, with the kernel's own account of its queues.
pub fn measure(plan: &mut Plan) {
    plan.figure("thread-asks-actor", "ringkernel", |_| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads for a runtime");
        let note = runtime.block_on(try_it()).unwrap_or_else(|error| format!("it failed: {error}"));
        Figure::named("thread-asks-actor", 0).peer("ringkernel").note(&note)
    });
}

async fn try_it() -> Result<String> {
    let runtime = RingKernel::builder().backend(Backend::Cpu).build().await?;
    let kernel = runtime.launch("account", LaunchOptions::default()).await?;
    kernel.send(Add(5)).await?;
    // Its receive blocks the worker that it is called on; the runtime has another one for the kernel.
    let received = describe(kernel.receive_timeout(LIMIT).await);
    let called = describe(kernel.call(Add(6), LIMIT).await);
    let status = kernel.status();
    let note = format!(
        "version 1.1.0, CPU runtime, two messages sent: receive gave {received}; call gave {called}; after {:?} each \
         the kernel is {:?}, {} messages lie in its input queue, it has processed {}",
        LIMIT, status.state, status.input_queue_depth, status.messages_processed
    );
    runtime.shutdown().await?;
    Ok(note)
}

fn describe(result: Result<MessageEnvelope>) -> String {
    match result {
        Ok(answer) => format!("an answer of {} bytes", answer.payload.len()),
        Err(error) => format!("no answer ({error})"),
    }
}

struct Add(u64);

impl RingMessage for Add {
    fn message_type() -> u64 {
        1
    }

    fn message_id(&self) -> MessageId {
        MessageId::generate()
    }

    fn serialize(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    fn deserialize(bytes: &[u8]) -> Result<Self> {
        let word = bytes.try_into().map_err(|_| RingKernelError::DeserializationError("not 8 bytes".to_string()))?;
        Ok(Add(u64::from_le_bytes(word)))
    }
}
