//! The framework's own figures, under the same names as the peers'.

use warpring::Backend;
use warpring_bench::Figure;
use warpring_bench::ours::SUBJECTS;

use crate::plan::Plan;

/// Adds all of them, on the CPU. One that fails is in the report as a note, not as a number.
pub fn measure(plan: &mut Plan) {
    let quick = plan.quick();
    for subject in SUBJECTS {
        plan.figure(subject.name, "warpring", |stage| match subject.measure(stage, &Backend::Cpu, quick) {
            Ok(figure) => figure,
            Err(failed) => Figure::named(subject.name, 0).backend("cpu").note(&format!("not measured: {failed}")),
        });
    }
}
