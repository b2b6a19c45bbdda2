//! Every case on every backend of this build, each a test of its own with its number in its name; and `SEMANTICS.md` says the same
//! sentences.

use libtest_mimic::{Arguments, Failed, Trial};
use warpring::{Backend, CudaOptions};
use warpring_conformance::{CASES, Setup};

fn main() {
    let arguments = Arguments::from_args();
    // Some cases have handlers panic, which the simulator does on the thread of the case: a line each is enough.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let mut trials = vec![Trial::test("semantics_md_has_the_sentences_of_the_cases", semantics)];
    // The host's side of the CUDA backend, over threads in place of blocks.
    let threads = Backend::Cuda(CudaOptions::default().on_threads());
    for (name, backend) in [("cpu", Backend::Cpu), ("sim", Backend::Sim(Default::default())), ("cuda-on-threads", threads)] {
        for case in CASES {
            let setup = Setup::new(backend.clone());
            let run = move || case.check(&setup).map_err(|why| Failed::from(format!("{}\n  {why}", case.sentence)));
            trials.push(Trial::test(format!("{name}::{}", case.number), run));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// A sentence of the file is a line `number sentence`, in bold the number: `**2.1** ..`.
fn semantics() -> Result<(), Failed> {
    let file = include_str!("../../../SEMANTICS.md");
    let numbered = |line: &'static str| line.strip_prefix("**")?.split_once("** ");
    let written: Vec<_> = file.lines().filter_map(numbered).collect();
    let tested: Vec<_> = CASES.iter().map(|case| (case.number, case.sentence)).collect();
    for pair in &written {
        if !tested.contains(pair) {
            return Err(format!("no case has the sentence {} of SEMANTICS.md: {}", pair.0, pair.1).into());
        }
    }
    for pair in &tested {
        if !written.contains(pair) {
            return Err(format!("SEMANTICS.md lacks the sentence {}: {}", pair.0, pair.1).into());
        }
    }
    if written != tested {
        return Err("SEMANTICS.md has the sentences in another order, or one of them twice".into());
    }
    let numbers: std::collections::BTreeSet<_> = tested.iter().map(|(number, _)| number).collect();
    if numbers.len() != tested.len() {
        return Err("two cases have one number".into());
    }
    Ok(())
}
