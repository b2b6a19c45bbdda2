//! Each Savina program gives its answer on each backend, with no dead letter, no panic, and nothing left when the runtime ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use warpring::{Backend, LaunchOptions, Runtime, RuntimeBuilder, ShutdownError, block_on};
use warpring_examples::savina::{Failure, Outcome, PROGRAMS, Scale, bank_transaction, thread_ring};

/// Far above what an ask takes anywhere.
const SLOWEST_ASK: Duration = Duration::from_secs(60);

/// Where and how large a program runs.
struct Case {
    backend: Backend,
    workers: u32,
    scale: Scale,
}

fn cases() -> Vec<Case> {
    let cpu = [1, 2, 4].map(|workers| Case { backend: Backend::Cpu, workers, scale: Scale::Savina });
    #[cfg_attr(not(feature = "sim"), allow(unused_mut))]
    let mut cases = Vec::from(cpu);
    #[cfg(feature = "sim")]
    cases.extend([1, 2].map(|workers| Case { backend: Backend::Sim(Default::default()), workers, scale: Scale::Small }));
    cases
}

/// What became of a runtime that a program has run on.
struct Aftermath<T> {
    result: Result<T, Failure>,
    dead_letters: u64,
    panics: u64,
    shutdown: Result<(), ShutdownError>,
}

fn cpu(workers: u32) -> RuntimeBuilder {
    Runtime::builder().backend(Backend::Cpu).workers(workers)
}

/// Builds a runtime, lets `run` have it, and shuts it down.
fn on_a_runtime<T>(builder: RuntimeBuilder, run: impl FnOnce(&Runtime) -> Result<T, Failure>) -> Aftermath<T> {
    // Two runtimes at a time would fight for the cores that their workers are pinned to.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let dead_letters = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&dead_letters);
    let runtime = builder
        .module(&warpring_examples::MODULE)
        .on_dead_letter(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        })
        .build()
        .expect("a runtime");
    let result = run(&runtime);
    let stats = block_on(runtime.stats()).expect("statistics of a running runtime");
    let panics = stats.workers.iter().map(|worker| worker.counters.panics).sum();
    let shutdown = block_on(runtime.shutdown());
    Aftermath { result, dead_letters: dead_letters.load(Ordering::Relaxed), panics, shutdown }
}

fn for_each_backend(answer: impl Fn(Scale) -> i64, run: impl Fn(&Runtime, Scale) -> Result<Outcome, Failure>) {
    for Case { backend, workers, scale } in cases() {
        let case = format!("{backend}, {workers} workers");
        // A program that a busy machine runs slowly has not failed.
        let builder = Runtime::builder().backend(backend).workers(workers).ask_limit(SLOWEST_ASK);
        let after = on_a_runtime(builder, |runtime| run(runtime, scale));
        let outcome = after.result.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(outcome.answer, answer(scale), "{case}");
        assert_eq!((after.dead_letters, after.panics), (0, 0), "{case}: dead letters and panics");
        assert_eq!(after.shutdown, Ok(()), "{case}");
        println!("{case}: {} messages in {:?}", outcome.messages, outcome.time);
    }
}

fn gives_its_answer(name: &str) {
    let program = PROGRAMS.iter().find(|program| program.name == name).expect("a program of the suite");
    for_each_backend(program.answer, program.run);
}

macro_rules! tests {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                gives_its_answer(stringify!($name));
            }
        )*

        #[test]
        fn every_program_has_a_test() {
            assert_eq!(PROGRAMS.each_ref().map(|program| program.name), [$(stringify!($name)),*]);
        }
    };
}
tests! {
    ping_pong counting fork_join_throughput thread_ring chameneos big bank_transaction dictionary sorted_list bounded_buffer
    philosophers sleeping_barber cigarette_smokers logistic_map radix_sort sieve trapezoid shortest_path over_relaxation nqueens
    bitonic_sort
}

#[test]
fn all_programs_run_one_after_another_on_one_runtime() {
    let after = on_a_runtime(cpu(2), |runtime| {
        for _ in 0..3 {
            for program in &PROGRAMS {
                let outcome = (program.run)(runtime, Scale::Small)?;
                assert_eq!(outcome.answer, (program.answer)(Scale::Small), "{}", program.name);
            }
        }
        Ok(())
    });
    after.result.expect("every program ends");
    assert_eq!((after.dead_letters, after.panics, after.shutdown), (0, 0, Ok(())));
}

#[test]
fn rings_of_16_lines_are_enough() {
    for workers in [2, 3] {
        let after = on_a_runtime(cpu(workers).ring_lines(16), |runtime| {
            for program in &PROGRAMS {
                // At full size where handlers wait for room, as long as that takes no time.
                let full = matches!(program.name, "counting" | "chameneos" | "bank_transaction");
                let scale = if full { Scale::Savina } else { Scale::Small };
                let outcome = (program.run)(runtime, scale).map_err(|error| format!("{}: {error}", program.name))?;
                assert_eq!(outcome.answer, (program.answer)(scale), "{}", program.name);
            }
            Ok(())
        });
        after.result.expect("every program ends");
        assert_eq!((after.dead_letters, after.panics, after.shutdown), (0, 0, Ok(())));
    }
}

#[test]
fn the_token_stops_where_the_remainder_says() {
    use thread_ring::Params;
    assert_eq!(Params { actors: 503, hops: 1000 }.answer(), 498);
    let after = on_a_runtime(cpu(2), |runtime| {
        // None, one short of a round, a round, one more; then the suite's own ring.
        for params in [0, 502, 503, 504].map(|hops| Params { actors: 503, hops }).into_iter().chain([Params::RING_OF_100]) {
            assert_eq!(thread_ring::run(runtime, params)?.answer, params.answer(), "{params:?}");
        }
        Ok(())
    });
    after.result.expect("every token stops");
    assert_eq!((after.dead_letters, after.shutdown), (0, Ok(())));
}

/// Were dead letters not counted, the tests above could not fail for one.
#[test]
fn a_token_for_nobody_is_a_dead_letter() {
    let after = on_a_runtime(cpu(2), |runtime| {
        // It has not joined a ring: its neighbour is nobody, on worker 0.
        let node = block_on(runtime.launch(thread_ring::Node::new(1), LaunchOptions::default().on_worker(1)))?;
        node.tell(thread_ring::Token { hops: 1 }).wait()?;
        Ok(())
    });
    after.result.expect("the node takes the token");
    assert_eq!((after.dead_letters, after.shutdown), (1, Ok(())));
}

/// The suite's file of facts, if this machine has it.
fn facts() -> Option<serde_json::Value> {
    let data = std::env::var_os("WARPRING_DATA")
        .map_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), Into::into);
    let path = data.join("actors/savina_benchmarks.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: there is no {}; set WARPRING_DATA to the folder that has `actors`", path.display());
        return None;
    };
    Some(serde_json::from_str(&text).expect("the file is JSON"))
}

#[test]
fn the_parameters_are_those_of_the_suite() {
    use warpring_examples::savina::{
        big, bitonic_sort, chameneos, counting, fork_join_throughput, over_relaxation, ping_pong, shortest_path, sleeping_barber,
    };
    let Some(facts) = facts() else { return };
    let programs = facts["benchmarks"].as_array().expect("a list of programs");
    let fact = |package: &str| programs.iter().find(|program| program["package"] == package).expect("a program of the suite");
    let params = |package: &str, names: &[&str]| -> Vec<u64> {
        names.iter().map(|name| fact(package)["default_params"][*name].as_u64().expect("a number")).collect()
    };
    let same = |package: &str, names: &[&str], ours: &[u32]| {
        assert_eq!(params(package, names), ours.iter().map(|n| u64::from(*n)).collect::<Vec<_>>(), "{package}");
    };
    same("pingpong", &["N"], &[ping_pong::Params::SAVINA.rounds]);
    same("count", &["N"], &[counting::Params::SAVINA.increments]);
    let fork_join = fork_join_throughput::Params::SAVINA;
    same("fjthrput", &["N", "A"], &[fork_join.messages, fork_join.actors]);
    let ring = thread_ring::Params::RING_OF_100;
    same("threadring", &["N", "R"], &[ring.actors, ring.hops]);
    assert_eq!(thread_ring::Params::SAVINA.hops, ring.hops);
    let mall = chameneos::Params::SAVINA;
    same("chameneos", &["numChameneos", "numMeetings"], &[mall.creatures, mall.meetings]);
    let many = big::Params::SAVINA;
    same("big", &["N", "W"], &[many.pings, many.actors]);
    let bank = bank_transaction::Params::SAVINA;
    same("banking", &["A", "N"], &[bank.accounts, bank.transactions]);
    let barber = sleeping_barber::Params::SAVINA;
    same("barber", &["N", "W", "APR", "AHR"], &[barber.haircuts, barber.seats, barber.production, barber.haircut]);
    let paths = shortest_path::Params::SAVINA;
    same("apsp", &["N", "B", "W"], &[paths.nodes, paths.side, paths.longest]);
    let relaxation = over_relaxation::Params::SAVINA;
    same("sor", &["JACOBI_NUM_ITER", "RANDOM_SEED"], &[relaxation.iterations, over_relaxation::SEED as u32]);
    let bitonic = bitonic_sort::Params::SAVINA;
    same("bitonicsort", &["N", "S"], &[bitonic.numbers, bitonic.seed]);

    the_answers_are_those_of_the_suite(fact);

    let totals = &fact("banking")["expected"]["numTransactions (1000 accounts) -> round(total transferred)"];
    for params in [bank, bank_transaction::Params::SMALL] {
        assert_eq!(params.accounts, 1000);
        assert_eq!(totals[params.transactions.to_string()].as_i64(), Some(params.answer()), "{params:?}");
    }
}

/// What the suite names for each set of parameters of the programs that it names numbers for.
fn the_answers_are_those_of_the_suite<'f>(fact: impl Fn(&str) -> &'f serde_json::Value) {
    use warpring_examples::savina::{
        bounded_buffer, cigarette_smokers, logistic_map, nqueens, over_relaxation, radix_sort, sieve, sleeping_barber,
        sorted_list, trapezoid,
    };
    let named = |package: &str, table: &str, key: String, answer: i64| {
        let table = if table.is_empty() { &fact(package)["expected"] } else { &fact(package)["expected"][table] };
        assert_eq!(table[key.as_str()].as_i64(), Some(answer), "{package}: {key}");
    };
    for p in [sorted_list::Params::SAVINA, sorted_list::Params::SMALL] {
        let table = "workers:msgs:write%:size% -> final size";
        named("concsll", table, format!("{}:{}:10:1", p.workers, p.requests), p.answer());
    }
    for p in [bounded_buffer::Params::SAVINA, bounded_buffer::Params::SMALL] {
        let key = format!("{}:{}:{}:{}", p.room, p.producers, p.consumers, p.items);
        named("bndbuffer", "bufferSize:prod:cons:items -> rounded sum", key, p.answer());
    }
    for p in [sleeping_barber::Params::SAVINA, sleeping_barber::Params::SMALL] {
        named("barber", "haircuts,avHaircutRate -> result", format!("{},{}", p.haircuts, p.haircut), p.answer());
    }
    for p in [cigarette_smokers::Params::SAVINA, cigarette_smokers::Params::LONG] {
        let table = "rounds,smokers -> next PRNG value after the run (2 draws a round)";
        named("cigsmok", table, format!("{},{}", p.rounds, p.smokers), p.answer());
    }
    for p in [logistic_map::Params::SAVINA, logistic_map::Params::TWENTY] {
        named("logmap", "numSeries (25000 terms) -> round(sum*1e6)", p.series.to_string(), p.answer());
    }
    for p in [radix_sort::Params::SAVINA, radix_sort::Params::SMALL] {
        named("radixsort", "N:maxValue:seed -> sum of values", format!("{}:{}:74755", p.numbers, p.limit), p.answer());
    }
    for p in [sieve::Params::SAVINA, sieve::Params::SMALL] {
        named("sieve", "N -> primes", p.limit.to_string(), p.answer());
    }
    for p in [trapezoid::Params::SAVINA, trapezoid::Params::SMALL] {
        named("trapezoid", "N (100 workers) -> round(result*1e8)", p.pieces.to_string(), p.answer());
    }
    for (i, p) in [over_relaxation::Params::SAVINA, over_relaxation::Params::EIGHTY].iter().enumerate() {
        assert_eq!(fact("sor")["default_params"]["DATA_SIZES"][i].as_u64(), Some(p.size.into()));
        let sum = fact("sor")["expected"]["REF_VAL per size index (tolerance 1e-12)"][i].as_f64().expect("a number");
        assert_eq!((sum * 1e12).round() as i64, p.answer(), "{p:?}");
    }
    for p in [nqueens::Params::SAVINA, nqueens::Params::SMALL] {
        let solutions = &fact("nqueenk")["expected"]["SIZE -> solutions"][p.size as usize - 1];
        assert_eq!(solutions.as_i64(), Some(p.answer()), "{} queens", p.size);
    }
}

/// The other parameters that the suite names an answer for.
#[test]
fn longer_runs_give_their_answers_too() {
    use warpring_examples::savina::{cigarette_smokers, logistic_map, over_relaxation};
    let after = on_a_runtime(cpu(2), |runtime| {
        let params = logistic_map::Params::TWENTY;
        assert_eq!(logistic_map::run(runtime, params)?.answer, params.answer());
        let params = cigarette_smokers::Params::LONG;
        assert_eq!(cigarette_smokers::run(runtime, params)?.answer, params.answer());
        let params = over_relaxation::Params::EIGHTY;
        assert_eq!(over_relaxation::run(runtime, params)?.answer, params.answer());
        Ok(())
    });
    after.result.expect("all end");
    assert_eq!((after.dead_letters, after.shutdown), (0, Ok(())));
}
