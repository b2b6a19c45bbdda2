//! The sentences and their cases, one file for each section.

mod asks;
mod capacity;
mod cycles;
mod delivery;
mod ends;
mod errors;
mod fate;
mod letters;
mod life;
mod messages;
mod priorities;
mod snapshots;
mod state;
mod stuck;
mod supervision;
mod time;
mod topics;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use crate::setup::Setup;
pub use fate::{Fates, stop_under_load};

/// A numbered sentence and what shows it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `section.number`, such as `2.3`.
    pub number: &'static str,
    /// What is promised.
    pub sentence: &'static str,
    /// Shows it on a backend, or says what was found instead.
    pub run: fn(&Setup) -> Result<(), String>,
}

/// No case takes this long on a backend that works.
const LIMIT: Duration = Duration::from_secs(60);

impl Case {
    /// Runs the case on a thread of its own, for a minute at most. A panic in it is an error, and so is a hang: its thread is then
    /// left behind.
    ///
    /// # Errors
    /// What was found instead of what is promised.
    pub fn check(&self, setup: &Setup) -> Result<(), String> {
        self.check_within(setup, LIMIT)
    }

    /// As [`check`](Self::check), for so long at most.
    ///
    /// # Errors
    /// What was found instead of what is promised.
    pub fn check_within(&self, setup: &Setup, limit: Duration) -> Result<(), String> {
        let (done, result) = mpsc::channel();
        let (run, setup) = (self.run, setup.clone());
        std::thread::Builder::new()
            .name(format!("case-{}", self.number))
            .spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(|| run(&setup))).unwrap_or_else(|panic| Err(said(panic.as_ref())));
                // Nobody waits any more where the limit has passed.
                let _ = done.send(ended);
            })
            .map_err(|error| format!("no thread for the case: {error}"))?;
        result.recv_timeout(limit).unwrap_or_else(|_| Err(format!("it did not end within {limit:?}")))
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the case panicked: {}", text.unwrap_or("with a value that is no text"))
}

macro_rules! cases {
    ($($number:literal $sentence:literal $run:path;)*) => {
        /// Every sentence with its case, in the order of their numbers.
        pub static CASES: &[Case] = &[$(Case { number: $number, sentence: $sentence, run: $run }),*];
    };
}

cases! {
    "1.1" "Messages that are sent through handles to one actor arrive in the order in which they were sent, also if one thread goes on where another has ended." delivery::handles_are_in_order;
    "1.2" "Messages of one port to one actor arrive in the order in which they were sent." delivery::a_port_is_in_order;
    "1.3" "Messages of one actor to another on the same worker arrive in the order in which they were sent." delivery::near_actors_are_in_order;
    "1.4" "Messages of one actor to another on another worker arrive in the order in which they were sent." delivery::far_actors_are_in_order;
    "1.5" "Of many senders at once, each one's messages stay in order, and no message is lost or arrives twice." delivery::many_senders;
    "1.6" "A handler sees who sent the message, and that it was the host where no actor did." delivery::the_sender_is_named;

    "2.1" "Of the messages that wait in a mailbox, those of high priority are handled before those of normal priority." priorities::high_goes_first;
    "2.2" "After 16 messages of high priority in a row, a message of normal priority that waits goes next." priorities::normal_is_not_starved;
    "2.3" "Messages of the same priority are handled in the order in which they came." priorities::first_come_first_served;
    "2.4" "What the host tells a worker about an actor, such as a kill, waits in no mailbox, and finds room in a ring that is full of messages." priorities::the_runtime_goes_first;

    "3.1" "A full mailbox refuses a message: the error names the actor and its capacity, and gives the message back." capacity::a_full_mailbox_refuses;
    "3.2" "A full mailbox loses nothing: what it had accepted is handled." capacity::a_full_mailbox_keeps;
    "3.3" "An actor whose mailbox is full holds up no other actor of its worker." capacity::others_go_on;
    "3.4" "A call that does not wait gets its message back from a full ring, with the number of the worker." capacity::a_full_ring_refuses;
    "3.5" "A call that waits gets through rings that are smaller than what is sent, from a handle and from a port." capacity::a_full_ring_is_waited_for;
    "3.6" "A handler that tells an actor of another worker waits while the ring between them is full." capacity::actors_wait_for_rings;
    "3.7" "A port whose window is full gives the message back at once." capacity::a_full_window_refuses;
    "3.8" "A worker without a free message slot refuses, names itself, and gives the message back." capacity::no_slot_left;
    "3.9" "A handler that keeps its worker for longer than the budget is reported once, while it runs, with its actor and its worker." stuck::a_stuck_handler_is_reported;
    "3.10" "A handler that awaits, or ends within the budget, is not reported, however many run in a row." stuck::others_are_not_reported;

    "4.1" "An ask whose reply does not come within its limit ends with an error that names the actor and how long it waited." asks::a_limit_ends_an_ask;
    "4.2" "A message whose deadline has passed before the actor came to it is not handled." asks::an_expired_message_is_not_handled;
    "4.3" "A handler that asks within a limit gets an error when the limit is over." asks::a_limit_in_a_handler;
    "4.4" "A reply that comes too late reaches no later ask." asks::a_late_reply_disturbs_nothing;
    "4.5" "An actor that asks itself gets an error at once." asks::an_actor_cannot_ask_itself;
    "4.6" "While a handler awaits a reply, its worker goes on with other actors, and its own next message waits." asks::a_suspended_handler_keeps_nobody;
    "4.7" "Chains of asks across workers end, also many at once and through small rings." asks::chains_end;
    "4.8" "Workers whose actors ask each other in cycles do not block, as long as each ask goes to an actor that is free and frames are left." asks::cycles_through_free_actors_end;
    "4.9" "A cycle of asks that comes back to an actor which waits is found: one of its asks fails long before its limit, the error names the actors, and all of them are free again." cycles::a_cycle_is_found;
    "4.10" "A handler that yields lets the other actors of its worker run." asks::a_yield_lets_others_run;
    "4.11" "A cycle of asks is found on one worker and across workers, of two actors and of many, and also where several form at once." cycles::many_cycles_are_found;
    "4.12" "Asks that are many, slow, or far from their end are not taken for a cycle." cycles::no_cycle_is_made_up;

    "5.1" "An error that a handler returns reaches the asker as it is, and the actor goes on." errors::an_error_is_a_reply;
    "5.2" "A panic in a handler reaches the asker with file and line, also after an await." errors::a_panic_comes_back;
    "5.3" "An actor that has panicked refuses the messages that wait for it and all later ones, and gives them back." errors::a_panicked_actor_refuses;
    "5.4" "A panic leaves the other actors, their state and the workers as they were." errors::others_outlive_a_panic;
    "5.5" "A handler that asked an actor which panicked gets an error with the line." errors::an_asking_actor_hears_of_a_panic;
    "5.6" "A message for which the actor has no handler comes back." errors::a_message_of_another_kind;
    "5.7" "Bytes that are not a value of the message's type reach no handler, and the message comes back." errors::bytes_of_no_value;

    "6.1" "`initialize` runs once and ends before any message is handled, also when it awaits while messages come in." life::initialize_comes_first;
    "6.2" "An `initialize` that fails or panics fails the launch with its error, and harms no other actor." life::a_failed_start;
    "6.3" "`shutdown` of each actor runs once, after its last message." life::shutdown_comes_last;
    "6.4" "What was accepted before a shutdown is handled before it ends, and so is what comes of it." life::shutdown_drains;
    "6.5" "Once a runtime has shut down, every call gives its message back." life::nothing_after_the_end;
    "6.6" "A runtime that is dropped ends at once: what waits comes back, and who asked a suspended handler is told that it was interrupted." life::a_dropped_runtime;
    "6.7" "A message to an actor that is not there, or no longer, comes back." life::nobody_there;

    "7.1" "The closure of `update` runs once for each call, whatever the size of the team, and all lanes read what it wrote." state::update_runs_once;
    "7.2" "`update_each` changes each element once, and all lanes read the result." state::each_element_once;
    "7.3" "`for_each`, `reduce` and `scan` give what plain loops give, for every size of team." state::loops_over_lanes;
    "7.4" "`ballot` has a bit for each lane that says yes, and `broadcast` gives all lanes the value of one." state::votes;
    "7.5" "State and locals survive the awaits of a handler, and state survives from message to message." state::state_survives;
    "7.6" "Thousands of actors keep their state apart." state::many_states;

    "8.1" "Messages of 0 to 424 bytes come through from the host and back unchanged, through handles and ports." messages::every_size_from_the_host;
    "8.2" "Messages of 0 to 424 bytes come through from actor to actor and back unchanged, on one worker and between two." messages::every_size_between_actors;
    "8.3" "Messages of all sizes come through a mailbox unchanged." messages::every_size_in_a_mailbox;
    "8.4" "Fields of every kind come through: numbers, bools, enums, arrays, structs in structs, ids and addresses." messages::every_kind_of_field;

    "9.1" "Every message that was accepted before or during a shutdown is either handled, returned to its sender, or a dead letter, and never two of these." fate::one_fate_by_shutdown;
    "9.2" "The same holds when the runtime is dropped while senders run." fate::one_fate_by_drop;
    "9.3" "A message that wanted no reply and is not handled becomes a dead letter with target, sender and reason." fate::dead_letters_say_why;
    "9.4" "A dead letter carries its message unchanged, unless a handler had taken it." letters::a_letter_carries_its_message;
    "9.5" "A dead letter that is sent again is a new message from the host, with a fate of its own." letters::a_letter_sent_again_is_a_new_message;
    "9.6" "A dead letter that was sent again is marked, in the list and in the log of its runtime, and is not sent a second time from there." letters::a_letter_is_sent_again_once;
    "9.7" "Once its runtime has ended, a log of dead letters that is within its limit has every letter, or says how many it lacks." letters::a_log_is_whole_or_says_what_it_lacks;

    "10.1" "An actor is saved between two of its messages: what a handler changes before and after an await is in a snapshot both, or not at all." snapshots::between_messages;
    "10.2" "While a snapshot is made the workers go on, also while it waits for an actor." snapshots::others_go_on;
    "10.3" "An actor that handles one message all the time fails the snapshot with its name and entry, and the file is what it was before." snapshots::a_busy_actor_is_named;
    "10.4" "Restored actors and groups have the states that were saved, on any number of workers, and handle messages from there on." snapshots::states_come_back;
    "10.5" "A snapshot from the CPU gives the same states on every backend, and one from any backend the same states on the CPU." snapshots::the_same_everywhere;
    "10.6" "`initialize` of a restored actor does not run." snapshots::initialize_does_not_run;
    "10.7" "What waits in mailboxes is not in a snapshot." snapshots::no_mail;
    "10.8" "The actors of a whole runtime come back on the same worker, in the same slot and of the same generation, so that the addresses in their states reach them." snapshots::a_whole_runtime;
    "10.9" "A state is not restored where its kernel has another layout: the error names the field." snapshots::another_layout;
    "10.10" "A file that was cut short or changed is refused, and nothing of it is restored." snapshots::a_damaged_file;

    "11.1" "An actor that was registered under a name is found by the host and by handlers on every worker, and once the name was given back, by nobody." topics::names_are_found;
    "11.2" "A name that is taken, is no name, or finds no room is refused, and the error says who has it or what is wrong." topics::bad_names_are_refused;
    "11.3" "A lookup for another kind of actor finds nothing in a handler, and on the host ends with an error that names both kinds." topics::a_lookup_knows_kinds;
    "11.4" "An actor that has ended for good loses its names and subscriptions and is given no new ones; one that a supervisor starts again keeps them." topics::names_end_with_their_actors;
    "11.5" "A message that is published on a topic, by the host or by a handler, reaches each subscriber once and unchanged, whatever worker it is on." topics::everybody_gets_a_copy;
    "11.6" "What one publisher publishes on a topic reaches each subscriber in the order in which it was published." topics::publications_are_in_order;
    "11.7" "A subscriber whose mailbox is full loses the message, which becomes a dead letter with the reason; the other subscribers get it, and the publisher does not wait." topics::a_full_mailbox_loses_a_publication;
    "11.8" "If the ring to a worker is full, the subscribers on that worker lose the message in the same way." topics::a_full_ring_loses_a_publication;
    "11.9" "An actor gets what is published after its `subscribe` has returned, and nothing that is published after its `unsubscribe` has." topics::subscribing_begins_and_ends;
    "11.10" "A topic takes messages of one type: another type is refused with an error, and so is a name that no topic has." topics::a_topic_has_one_type;
    "11.11" "A topic counts its subscribers, what was published, and what subscribers lost." topics::topics_are_counted;
    "11.12" "Topics and the subscribers of each are limited, and what is beyond the limit is refused with an error that names it." topics::topics_are_limited;
    "11.13" "What was published before a shutdown or a drop is handled by each subscriber or becomes a dead letter, and never both." topics::publications_have_one_fate;

    "12.1" "A handler that sleeps goes on after its time, and not before." time::a_sleep_lasts;
    "12.2" "A timer tells its message once, not before its time, and in the name of the actor that set it." time::a_timer_fires_once;
    "12.3" "Timers of an actor tell one actor their messages in the order in which they are due." time::timers_fire_in_order;
    "12.4" "`every` tells its message at whole periods from its start, and leaves out those that have passed while the worker was busy." time::a_period_is_kept;
    "12.5" "A timer that was cancelled in time tells nothing, and `cancel` says whether it was in time." time::a_timer_is_cancelled;
    "12.6" "A timer's message that its target does not take becomes a dead letter with target, sender and reason." time::nobody_takes_it;
    "12.7" "A timer's message waits while the ring to its target's worker is full, and is not lost." time::a_full_ring_is_waited_for;
    "12.8" "A timer ends with the actor that set it." time::a_timer_ends_with_its_actor;
    "12.9" "A worker whose timers are all in use sets no other one, and says how many it has." time::no_timer_left;
    "12.10" "A shutdown does not wait for timers, and none fires once it has begun." time::a_shutdown_waits_for_no_timer;
    "12.11" "A grid that hibernates wakes for the first timer." time::a_sleeping_grid_wakes;

    "13.1" "An actor that is stopped handles nothing more: what waits comes back or is a dead letter, a suspended handler goes on to its end, and then `shutdown` runs." ends::a_stop;
    "13.2" "An actor that is drained handles what was sent before, and nothing that is sent after." ends::a_drain;
    "13.3" "Of an actor that is killed a suspended handler is dropped, who asked it is told that it was interrupted, and `shutdown` does not run." ends::a_kill;
    "13.4" "An actor that stops itself does so after the message in which it said so." ends::an_actor_stops_itself;
    "13.5" "An actor stops or kills another, on its own worker or on another." ends::an_actor_ends_another;
    "13.6" "Who monitors an actor, the host or another actor, hears of its end once, with the reason, also if it had ended before." ends::monitors;
    "13.7" "When one of two linked actors crashes or is killed, the other is killed; when one stops, the other goes on." ends::links;
    "13.8" "The slot of an actor that has ended is used again, and a message to the old address comes back." ends::slots_again;
    "13.9" "A handler spawns an actor on its own worker or on another; the address may be used at once." ends::spawned;
    "13.10" "A worker has room for so many spawned actors; one more is an error, until one has ended." ends::so_many_spawned;
    "13.11" "Every message to an actor that is stopped, drained or killed is either handled, returned, or a dead letter." ends::nothing_is_lost;
    "13.12" "The state of an actor that has ended is not read or written any more: the call says that there is no such actor." ends::no_state_is_left;

    "14.1" "A supervised actor that ends is started again if its policy says so for that reason." supervision::the_table;
    "14.2" "While that is decided, its address stays valid and its messages wait; after a restart they are handled." supervision::messages_wait;
    "14.3" "A restarted actor has the value that it was launched with or, if so specified, the state that it had or that of the last snapshot, and its `initialize` runs again." supervision::the_state_after;
    "14.4" "What waits for a supervised actor that is not started again comes back or is a dead letter." supervision::what_is_let_go;
    "14.5" "One-for-one starts the actor again, one-for-all all children, rest-for-one the actor and those that were started after it; transient children that had ended are among them, and a child that is never started again is gone then." supervision::strategies;
    "14.6" "With more restarts than its limit a supervisor stops its children: a supervisor above it starts them all again, and without one the host hears of it." supervision::escalation;
    "14.7" "An error that a handler returns ends nobody." supervision::an_error_ends_nobody;
    "14.8" "While a runtime drains its supervisors go on, so that what waits for a held actor is handled." supervision::a_shutdown_restarts;
    "14.9" "A supervisor that ends takes no more children." supervision::the_end_of_a_supervisor;
}
