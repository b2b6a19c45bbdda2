//! Floor and subject in alternating slices.

use crate::Slice;
use crate::slice::median;

/// Two floors around a subject that differ by more than this are of different classes: the cores moved in between.
const SAME_CLASS: f64 = 1.3;

/// Alternates slices of a floor and of a subject.
///
/// On a shared virtual machine the two cores move between a shared cache, near and far caches within seconds, which
/// moves every time between threads by up to ten times. A floor taken once does not hold for the next second. So each
/// subject slice lies between two floor slices and is compared with their mean; where these two disagree by more than
/// 1.3 times the cores moved during the subject's slice, and the pair is discarded.
#[derive(Clone, Copy, Debug)]
pub struct Interleaved;

/// What [`Interleaved::run`] found.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The floor slices beside a kept pair, merged.
    pub floor: Slice,
    /// The subject slices of the kept pairs, merged.
    pub subject: Slice,
    /// The median over kept pairs of subject over floor. Of times: how many times the floor it takes. Of rates: which
    /// part of the floor's rate it reaches.
    pub ratio: f64,
    /// Pairs measured.
    pub slices: u32,
    /// Pairs kept. Equal to `slices` also where every pair would have gone; see `unsettled`.
    pub kept: u32,
    /// No pair lay between two floors of one class: all were kept, and the ratio is worth little.
    pub unsettled: bool,
}

impl Interleaved {
    /// Runs `slices` subject slices between `slices + 1` floor slices.
    ///
    /// Each closure must leave both cpus idle when it returns: a worker that keeps spinning slows the other's slice.
    ///
    /// # Panics
    /// Where `slices` is 0.
    pub fn run(slices: usize, mut floor: impl FnMut() -> Slice, mut subject: impl FnMut() -> Slice) -> Compared {
        assert!(slices > 0, "no slices, no figure");
        let mut floors = vec![floor()];
        let mut subjects = Vec::with_capacity(slices);
        for _ in 0..slices {
            subjects.push(subject());
            floors.push(floor());
        }
        Self::compare(&floors, &subjects)
    }

    fn compare(floors: &[Slice], subjects: &[Slice]) -> Compared {
        let values: Vec<f64> = floors.iter().map(Slice::value).collect();
        let settled: Vec<bool> = values.windows(2).map(|pair| same_class(pair[0], pair[1])).collect();
        let unsettled = !settled.contains(&true);
        let kept = |pair: usize| unsettled || settled[pair];
        let ratios: Vec<f64> = (0..subjects.len())
            .filter(|&pair| kept(pair))
            .map(|pair| subjects[pair].value() / ((values[pair] + values[pair + 1]) / 2.0))
            .collect();
        // A floor slice lies beside the pair before it and the pair after it.
        let beside_kept = |floor: usize| (floor > 0 && kept(floor - 1)) || (floor < subjects.len() && kept(floor));
        Compared {
            floor: merged(floors, beside_kept),
            subject: merged(subjects, kept),
            ratio: median(&ratios),
            slices: subjects.len() as u32,
            kept: ratios.len() as u32,
            unsettled,
        }
    }
}

fn same_class(a: f64, b: f64) -> bool {
    a.max(b) <= a.min(b) * SAME_CLASS
}

fn merged(slices: &[Slice], kept: impl Fn(usize) -> bool) -> Slice {
    slices
        .iter()
        .enumerate()
        .filter(|&(index, _)| kept(index))
        .map(|(_, slice)| slice.clone())
        .reduce(|mut all, slice| {
            all.merge(&slice);
            all
        })
        .expect("one pair at least is kept, and a floor lies on both its sides")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Rate, Times};

    fn time(nanoseconds: f64) -> Slice {
        let mut times = Times::new();
        times.record_ns(nanoseconds);
        Slice::Times(times)
    }

    fn run(floors: &[f64], subjects: &[f64]) -> Compared {
        let (mut floors, mut subjects) = (floors.iter(), subjects.iter());
        let slices = subjects.len();
        Interleaved::run(slices, || time(*floors.next().unwrap()), || time(*subjects.next().unwrap()))
    }

    fn count(slice: &Slice) -> u64 {
        let Slice::Times(times) = slice else { panic!("times") };
        times.count()
    }

    #[test]
    fn each_subject_is_compared_with_the_floors_around_it() {
        // The machine slows down by tenths; the ratio stays what it is.
        let compared = run(&[100.0, 120.0, 140.0], &[220.0, 260.0]);
        assert!((compared.ratio - 2.0).abs() < 0.01, "{}", compared.ratio);
        assert_eq!((compared.kept, compared.slices, compared.unsettled), (2, 2, false));
    }

    #[test]
    fn a_pair_whose_floors_are_of_two_classes_is_discarded() {
        // The cores move away during the second slice: its ratio would be 900 / 310.
        let compared = run(&[120.0, 120.0, 500.0, 500.0], &[240.0, 900.0, 1_000.0]);
        assert!((compared.ratio - 2.0).abs() < 0.01, "{}", compared.ratio);
        assert_eq!((compared.kept, compared.slices, compared.unsettled), (2, 3, false));
        assert_eq!(count(&compared.subject), 2);
        // All four floors lie beside a kept pair.
        assert_eq!(count(&compared.floor), 4);
    }

    #[test]
    fn a_floor_between_two_discarded_pairs_is_not_merged() {
        let compared = run(&[100.0, 500.0, 100.0, 100.0], &[1.0, 1.0, 300.0]);
        assert_eq!((compared.kept, count(&compared.floor)), (1, 2));
        assert!((compared.ratio - 3.0).abs() < 0.01);
    }

    #[test]
    fn where_all_pairs_would_go_all_stay_and_are_marked() {
        let compared = run(&[100.0, 500.0, 50.0], &[600.0, 550.0]);
        assert_eq!((compared.kept, compared.slices, compared.unsettled), (2, 2, true));
        assert_eq!((count(&compared.floor), count(&compared.subject)), (3, 2));
    }

    #[test]
    fn one_stalled_slice_does_not_move_the_median() {
        let compared = run(&[100.0; 6], &[200.0, 200.0, 90_000.0, 200.0, 200.0]);
        assert!((compared.ratio - 2.0).abs() < 0.01);
    }

    #[test]
    fn of_rates_the_ratio_is_the_part_reached() {
        let compared = Interleaved::run(3, || Slice::Rate(Rate::new(80, 1.0)), || Slice::Rate(Rate::new(20, 1.0)));
        assert_eq!(compared.ratio, 0.25);
    }

    #[test]
    fn the_limit_of_a_class_is_inclusive_and_symmetric() {
        assert!(same_class(100.0, 130.0) && same_class(130.0, 100.0));
        assert!(!same_class(100.0, 131.0) && !same_class(131.0, 100.0));
    }
}
