//! `warpring dead-letters`, beside a program that writes a log: this test.

mod support;

use serde_json::json;
use support::{Scratch, warpring};
use warpring::{ActorId, Address, Backend, LaunchOptions, Runtime, block_on};
use warpring_kernels::fraud::Transaction;
use warpring_kernels::fraud::customer_window::Customer;
use warpring_kernels::fraud::terminal_risk::Terminal;

/// A runtime that has lost three messages: to a customer and a terminal that are not there, and to a customer that was taken for a
/// terminal.
fn lossy(log: &str) -> Runtime {
    let module = &warpring_kernels::MODULE;
    let builder = Runtime::builder().module(module).backend(Backend::Cpu).workers(1).pin(false).dead_letter_log(log);
    let runtime = builder.build().unwrap();
    let live = block_on(runtime.launch(Customer::new(), LaunchOptions::default())).unwrap();
    let mut port = runtime.port(1).unwrap();
    let transaction = |unix_seconds| Transaction { unix_seconds, amount_micros: 2_500_000, fraud: false };
    let nobody = |slot| ActorId { slot, generation: 1, worker: 0 };
    port.tell(Address::<Customer>::new(nobody(50)), transaction(1)).unwrap();
    port.tell(Address::<Terminal>::new(nobody(51)), transaction(2)).unwrap();
    port.tell(Address::<Terminal>::new(live.id()), transaction(3)).unwrap();
    while block_on(runtime.stats()).unwrap().dead_letters < 3 {
        std::thread::yield_now();
    }
    drop(port);
    runtime
}

#[test]
fn a_log_is_printed_whole_or_in_part() {
    let scratch = Scratch::new();
    let log = scratch.path("letters");
    block_on(lossy(&log).shutdown()).unwrap();
    let text = warpring(&["dead-letters", &log]).quiet();
    assert!(text.contains("Transaction to fraud/customer-window 0:50.1 from the host: the actor is not running"), "{text}");
    assert!(text.ends_with("3 of 3 letters\n"), "{text}");
    let all = warpring(&["dead-letters", &log, "--json"]).json();
    assert_eq!(all["modules"][0]["name"], warpring_kernels::MODULE.name);
    assert_eq!((&all["missed"], &all["damaged_bytes"]), (&json!(0), &json!(0)));
    let letters = all["letters"].as_array().unwrap();
    assert_eq!(letters.len(), 3);
    let customer = letters.iter().find(|letter| letter["to"] == "0:50.1").unwrap();
    assert_eq!((&customer["kernel"], &customer["reason"]), (&json!("fraud/customer-window"), &json!("stopped")));
    // One second, 2.5 units in millionths, no fraud; the rest is padding.
    let payload = format!("{:016x}{:016x}{:016x}", 1u64.swap_bytes(), 2_500_000u64.swap_bytes(), 0);
    assert_eq!((&customer["payload"], &customer["from"], &customer["resent"]), (&json!(payload), &json!(null), &json!(false)));
    let part = |arguments: &[&str]| {
        let json = warpring(&[&["dead-letters", &log, "--json"], arguments].concat()).json();
        json["letters"].as_array().unwrap().iter().map(|letter| letter["to"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(part(&["--kernel", "fraud/customer-window"]), ["0:50.1"]);
    assert_eq!(part(&["--reason", "stopped", "--kernel", "fraud/terminal-risk"]), ["0:51.1"]);
    assert_eq!(part(&["--reason", "malformed"]), ["0:0.1"]);
    assert!(part(&["--reason", "panicked"]).is_empty());
}

#[test]
fn the_program_that_writes_the_log_sends_letters_again() {
    let scratch = Scratch::new();
    let log = scratch.path("letters");
    let runtime = lossy(&log);
    let heir = block_on(runtime.launch(Customer::new(), LaunchOptions::default())).unwrap();
    let before = block_on(runtime.stats()).unwrap().handled();
    let to = heir.id().to_string();
    let resend = |more: &[&str]| warpring(&[&["dead-letters", "resend", &log], more].concat());
    assert_eq!(resend(&["--kernel", "fraud/customer-window", "--to", &to]).quiet(), "1 letter sent again\n");
    while block_on(runtime.stats()).unwrap().handled() == before {
        std::thread::yield_now();
    }
    // What it was told is what it knows: this is its second transaction.
    let now = Transaction { unix_seconds: 2, amount_micros: 2_500_000, fraud: false };
    let features = heir.ask(now).wait().unwrap();
    let fresh = block_on(runtime.launch(Customer::new(), LaunchOptions::default())).unwrap().ask(now).wait().unwrap();
    assert_ne!(features, fresh);
    let done = resend(&["--kernel", "fraud/customer-window", "--to", &to]);
    done.fails_with(&format!(
        "error: {log}: no letter of this log can be sent\nhint: print the log to see which letters have a payload and were not sent again"
    ));
    assert!(warpring(&["dead-letters", &log]).quiet().contains("the actor is not running, sent again"));
    // Nowhere to go: refused, and still there.
    let done = resend(&["--to", "9:0.1"]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), "0 letters sent again\n"));
    assert!(done.err.starts_with("error: 2 of 2 letters were not accepted"), "{done:?}");
    block_on(runtime.shutdown()).unwrap();
    let done = resend(&[]);
    done.fails_with(&format!(
        "error: {log}: no running program writes this log\nhint: start the program, whose actors take the letters; or have it call `Runtime::resend_dead_letters`"
    ));
}

#[test]
fn what_is_no_log_is_an_error() {
    let scratch = Scratch::new();
    let poem = scratch.file("poem", "o rings of fire");
    let done = warpring(&["dead-letters", &poem]);
    done.fails_with(&format!("error: {poem}: this is no log of dead letters: name another file"));
    let done = warpring(&["dead-letters", &scratch.path("none")]);
    assert_eq!((done.code, done.out.as_str()), (Some(1), ""));
    let empty = scratch.file("empty", "");
    assert_eq!(warpring(&["dead-letters", &empty]).quiet(), "0 of 0 letters\n");
}
