//! What a supervisor keeps of children that are none.

use super::*;
use crate::prelude::*;

#[derive(Clone, Copy, Debug, RingMessage)]
struct Never;

#[derive(Debug, RingKernel)]
#[ring_kernel(id = "test/stillborn")]
struct Stillborn;

impl RingKernelHandler<Never, ()> for Stillborn {
    async fn handle(&self, _: &mut RingContext<'_>, _: Never) -> Result<()> {
        Ok(())
    }
    async fn initialize(&self, _: &mut RingContext<'_>) -> Result<()> {
        Err(KernelError::rejected(1))
    }
}

crate::export! {
    crate = crate;
    Stillborn { Never => () }
}

#[test]
fn a_child_that_does_not_begin_leaves_nothing_behind() {
    let runtime = Runtime::builder().module(&MODULE).backend(Backend::Cpu).workers(1).pin(false).build().expect("a worker");
    let supervisor = runtime.supervise(Supervision::new(Strategy::OneForOne));
    for _ in 0..3 {
        assert!(crate::block_on(supervisor.launch(Stillborn, ChildSpec::permanent())).is_err());
        assert!(crate::block_on(supervisor.launch_many(2, ChildSpec::permanent(), |_| Stillborn)).is_err());
    }
    assert_eq!(runtime.shared().ends.supervised(), 0);
    assert_eq!(format!("{supervisor:?}"), "Supervisor(OneForOne, 0 children)");
    crate::block_on(runtime.shutdown()).expect("a clean end");
}
