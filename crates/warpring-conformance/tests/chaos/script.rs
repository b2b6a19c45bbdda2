//! The host's part: a runtime and a script that a seed decides, and the end of it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use warpring::prelude::*;
use warpring::{
    ChildSpec, Reply, Restart, RestartFrom, RuntimeBuilder, SimOptions, Strategy, Supervision, Supervisor, TellError, Ticket,
    block_on,
};

use crate::ledger::{self, Event, Known, Ledger, Way};
use crate::scribe::{Clock, Do, Hooks, Long, Rest, STEPS, Scribe, op};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Below `n`.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Once in `n`.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Actions of a script at most.
const LENGTH: usize = 110;
/// Longer, in virtual time, than any handler takes.
const QUIET: Duration = Duration::from_secs(12);
/// Looks for an answer: each lets the machine go on until something is due.
const LOOKS: usize = 100_000;

/// What came of a script.
pub struct Ran {
    pub ledger: Ledger,
    /// The state that each supervised actor starts again with.
    pub supervised: HashMap<ActorId, RestartFrom>,
    /// What broke a rule of the simulator, or kept the runtime from its end.
    pub complaints: Vec<String>,
    pub hibernations: u64,
    pub launches: u64,
}

struct Child {
    actor: ActorRef<Scribe>,
}

type Told = Result<(), TellError<Do>>;

struct Line {
    port: Port,
    number: usize,
    tickets: Vec<(u64, Ticket<Do, u64>)>,
}

pub struct Script {
    dice: Dice,
    runtime: Runtime,
    clock: ActorRef<Clock>,
    /// For the clock alone, so that it is heard whatever else is under way.
    own: Port,
    children: Vec<Child>,
    supervisors: Vec<Supervisor>,
    lines: Vec<Line>,
    replies: Vec<(u64, Reply<Do, u64>)>,
    /// Ends, shutdowns of supervisors and monitors that nobody waits for.
    under_way: Vec<Pin<Box<dyn Future<Output = ()>>>>,
    supervised: HashMap<ActorId, RestartFrom>,
    /// What went wrong already.
    complaints: Vec<String>,
    /// What was done, for whoever has to find out.
    pub log: String,
    /// It is printed as it is done.
    aloud: bool,
}

fn builder(dice: &mut Dice, log: &mut String) -> RuntimeBuilder {
    let lanes = 1 << dice.below(6);
    let mut options = SimOptions::default().lanes(lanes).seed(dice.next());
    if dice.once_in(2) {
        options = options.hibernate_after(Duration::from_micros(dice.one_of(&[20, 200, 2000])));
    }
    if dice.once_in(3) {
        options = options.residency(Duration::from_micros(dice.one_of(&[500, 10_000])));
    }
    if dice.once_in(3) {
        options = options.messages_per_launch(dice.one_of(&[3, 20, 100]));
    }
    let builder = Runtime::builder()
        .workers(1 + dice.below(3) as u32)
        .ring_lines(dice.one_of(&[16, 32, 256]))
        .waiting_messages(dice.one_of(&[3, 12, 200]))
        .suspended_handlers(dice.one_of(&[2, 3, 6, 30]))
        .outstanding_asks(dice.one_of(&[8, 64]))
        .spawned_actors(dice.one_of(&[0, 6, 30]))
        .max_actors(120)
        .ask_limit(Duration::from_secs(2))
        // Handlers that wait for each other end before.
        .drain_limit(QUIET)
        .on_dead_letter(|letter| ledger::with(|ledger| ledger.letters.push(letter.clone())))
        .module(&crate::scribe::MODULE);
    let _ = writeln!(log, "{builder:?} {options:?}");
    builder.backend(Backend::Sim(options))
}

impl Script {
    pub fn new(seed: u64, aloud: bool) -> Self {
        let mut dice = Dice::new(seed);
        let mut log = String::new();
        let runtime = builder(&mut dice, &mut log).build().expect("the settings are in range");
        let last = runtime.workers() - 1;
        let clock =
            block_on(runtime.launch(Clock, LaunchOptions::default().on_worker(last))).expect("there is room for the clock");
        let (children, lines) = (Vec::new(), Vec::new());
        let own = runtime.port(1).expect("there is a port for the clock");
        let mut script = Self {
            dice,
            clock,
            own,
            runtime,
            children,
            supervisors: Vec::new(),
            lines,
            replies: Vec::new(),
            under_way: Vec::new(),
            supervised: HashMap::new(),
            complaints: Vec::new(),
            log,
            aloud,
        };
        if aloud {
            print!("{}", script.log);
        }
        for number in 0..1 + script.dice.below(2) {
            // Few cells: then there is one line only.
            if let Ok(port) = script.runtime.port(3) {
                script.lines.push(Line { port, number, tickets: Vec::new() });
            }
        }
        for _ in 0..3 {
            script.launch();
        }
        script
    }

    fn say(&mut self, what: std::fmt::Arguments<'_>) {
        if self.aloud {
            println!("{what}");
        }
        let _ = writeln!(self.log, "{what}");
    }

    pub fn run(&mut self) {
        for _ in 0..LENGTH {
            self.act();
        }
    }

    fn act(&mut self) {
        match self.dice.below(100) {
            0..=7 => self.launch(),
            8..=35 => self.tell(),
            36..=47 => self.tell_by_port(),
            48..=61 => self.ask(),
            62..=67 => self.ask_by_port(),
            68..=75 => self.hear(),
            76..=77 => self.drop_a_reply(),
            78..=85 => self.end_one(),
            86..=87 => self.supervise(),
            88 => self.end_a_supervisor(),
            89..=91 => self.tie(),
            92..=97 => self.rest(),
            _ => self.poll_all(),
        }
    }

    fn nap_ns(&mut self) -> u64 {
        self.dice.one_of(&[1, 1 << 10, 20_000, 1_000_000, 50_000_000])
    }

    fn hooks(&mut self) -> Hooks {
        let nap = |dice: &mut Dice| if dice.once_in(3) { dice.one_of(&[5_000, 500_000]) } else { 0 };
        let fails = self.dice.one_of(&[0, 0, 0, 2, 4]);
        Hooks { start_nap_ns: nap(&mut self.dice), end_nap_ns: nap(&mut self.dice), fails }
    }

    fn launch(&mut self) {
        let scribe = Scribe::new(self.hooks());
        let mut options = LaunchOptions::default().mailbox(self.dice.one_of(&[1, 3, 16]));
        if self.dice.once_in(2) {
            options = options.on_worker(self.dice.below(self.runtime.workers() as usize) as u32);
        }
        let launched = if self.dice.once_in(3) || self.supervisors.is_empty() {
            block_on(self.runtime.launch(scribe, options))
        } else {
            let policy = self.dice.one_of(&[Restart::Permanent, Restart::Permanent, Restart::Transient, Restart::Never]);
            let spec = match policy {
                Restart::Permanent => ChildSpec::permanent(),
                Restart::Transient => ChildSpec::transient(),
                _ => ChildSpec::never(),
            };
            let from = if self.dice.once_in(2) { RestartFrom::Initial } else { RestartFrom::Kept };
            let which = self.dice.below(self.supervisors.len());
            self.say(format_args!("under supervisor {which}: {policy:?} {from:?}"));
            let spec = spec.from(from.clone()).launch(options);
            let launched = block_on(self.supervisors[which].launch(scribe, spec));
            if let Ok(actor) = &launched {
                self.supervised.insert(actor.id(), from);
            }
            launched
        };
        self.say(format_args!("launch: {launched:?}"));
        if let Ok(actor) = launched {
            ledger::born(actor.id());
            self.children.push(Child { actor });
        }
    }

    /// Somebody who was born, most often lately.
    fn anybody(&mut self) -> ActorId {
        let (near, far) = (self.dice.below(6), self.dice.next());
        ledger::with(|ledger| {
            let all = &ledger.actors;
            match all.len().checked_sub(1 + near) {
                Some(at) if !far.is_multiple_of(4) => all[at],
                _ if all.is_empty() => ActorId { slot: 7, generation: 1, worker: 0 },
                _ => all[(far / 4 % all.len() as u64) as usize],
            }
        })
    }

    fn child(&mut self) -> Option<ActorRef<Scribe>> {
        let n = self.children.len();
        let at = if self.dice.once_in(3) { self.dice.below(n.max(1)) } else { n.saturating_sub(1 + self.dice.below(5)) };
        self.children.get(at).map(|child| child.actor.clone())
    }

    /// What somebody is to do, without its number.
    fn program(&mut self) -> Do {
        let mut program = [op::END; STEPS];
        if !self.dice.once_in(4) {
            for step in &mut program[..1 + self.dice.below(STEPS)] {
                *step = self.dice.below(usize::from(op::COUNT)) as u8;
                if *step > op::TRY_TELL && !self.dice.once_in(3) {
                    *step = self.dice.below(usize::from(op::TRY_TELL) + 1) as u8;
                }
            }
        }
        let targets = std::array::from_fn(|_| self.anybody());
        Do { number: 0, nap_ns: self.nap_ns(), program, targets }
    }

    fn tell(&mut self) {
        let Some(actor) = self.child() else { return };
        for _ in 0..self.dice.one_of(&[1, 1, 2, 12]) {
            let what = self.program();
            let high = self.dice.once_in(6);
            let number = ledger::send(Way::Handle, actor.id(), high);
            let what = Do { number, ..what };
            self.say(format_args!("tell {number}"));
            let told = match self.dice.below(4) {
                0 => actor.tell(Long::new(what)).priority(priority(high)).wait().map_err(|error| error.reason),
                _ => actor.tell(what).priority(priority(high)).wait().map_err(|error| error.reason),
            };
            self.say(format_args!("tell {number} to {} high {high}: {:?} {told:?}", actor.id(), what.program));
            ledger::know(number, if told.is_ok() { Known::Told } else { Known::Returned });
        }
    }

    fn tell_by_port(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let at = self.dice.below(self.lines.len());
        for _ in 0..self.dice.one_of(&[1, 2, 10]) {
            let (to, what) = (self.anybody(), self.program());
            let line = &mut self.lines[at];
            let number = ledger::send(Way::Port(line.number), to, false);
            let told: Told = line.port.try_tell(Address::<Scribe>::new(to), Do { number, ..what });
            ledger::know(number, if told.is_ok() { Known::Told } else { Known::Returned });
            self.say(format_args!(
                "port {at} tells {number} to {to}: {:?} {:?}",
                what.program,
                told.map_err(|error| error.reason)
            ));
        }
    }

    fn ask(&mut self) {
        let Some(actor) = self.child() else { return };
        for _ in 0..self.dice.one_of(&[1, 1, 4]) {
            let what = self.program();
            let high = self.dice.once_in(4);
            let number = ledger::send(Way::Handle, actor.id(), high);
            // Longer than what it may have to wait for.
            let ask = actor.ask(Do { number, ..what }).priority(priority(high)).within(10 * QUIET);
            let sent = ask.send();
            self.say(format_args!("ask {number} of {} high {high}: {:?} {}", actor.id(), what.program, sent.is_ok()));
            match sent {
                Ok(reply) => {
                    ledger::know(number, Known::Unknown);
                    self.replies.push((number, reply));
                }
                Err(error) => ledger::know(number, known(&Err(error))),
            }
        }
    }

    fn ask_by_port(&mut self) {
        if self.lines.is_empty() {
            return;
        }
        let at = self.dice.below(self.lines.len());
        let (to, what) = (self.anybody(), self.program());
        let line = &mut self.lines[at];
        let number = ledger::send(Way::Port(line.number), to, false);
        let sent = line.port.try_ask(Address::<Scribe>::new(to), Do { number, ..what });
        let accepted = sent.is_ok();
        match sent {
            Ok(ticket) => {
                ledger::know(number, Known::Unknown);
                line.tickets.push((number, ticket));
            }
            Err(_) => ledger::know(number, Known::Returned),
        }
        self.say(format_args!("port {at} asks {number} of {to}: {:?} {accepted}", what.program));
    }

    /// Waits for the answer to an ask that is under way.
    fn hear(&mut self) {
        let line = self.dice.below(self.lines.len() + 3);
        if let Some(line) = self.lines.get_mut(line)
            && !line.tickets.is_empty()
        {
            let (number, ticket) = line.tickets.swap_remove(0);
            let answer = answer(&mut line.port, ticket);
            match &answer {
                Some(answer) => ledger::know(number, known(answer)),
                None => self.complaints.push(format!("fate: ask {number} by a port is never answered")),
            }
            return self.say(format_args!("port hears of {number}: {answer:?}"));
        }
        if self.replies.is_empty() {
            return;
        }
        let at = self.dice.below(self.replies.len());
        let (number, reply) = self.replies.swap_remove(at);
        self.answer(number, reply);
    }

    fn answer(&mut self, number: u64, reply: Reply<Do, u64>) {
        self.say(format_args!("wait for {number}"));
        let answer = reply.wait();
        ledger::know(number, known(&answer));
        self.say(format_args!("heard of {number}: {answer:?}"));
    }

    fn drop_a_reply(&mut self) {
        if let Some((number, _)) = self.replies.pop() {
            self.say(format_args!("nobody waits for {number} any more"));
        }
    }

    fn end_one(&mut self) {
        let Some(actor) = self.child() else { return };
        let how = self.dice.below(4);
        let id = actor.id();
        let end = async move {
            match how {
                0 => actor.stop().await,
                1 => actor.drain().await,
                _ => actor.kill().await,
            }
        };
        let waits = self.dice.once_in(2);
        self.say(format_args!("end {id}, {how}, and wait: {waits}"));
        if waits {
            let ended = block_on(end);
            return self.say(format_args!("ended {id}: {ended:?}"));
        }
        self.start(async move { _ = end.await });
    }

    /// Begins something that nobody waits for.
    fn start(&mut self, what: impl Future<Output = ()> + 'static) {
        self.under_way.push(Box::pin(what));
        self.poll_all();
    }

    fn poll_all(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        self.under_way.retain_mut(|what| what.as_mut().poll(&mut cx) == Poll::Pending);
    }

    fn supervise(&mut self) {
        let strategy = self.dice.one_of(&[Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne]);
        let mut what = Supervision::new(strategy).limit(self.dice.one_of(&[1, 4, 30]), Duration::from_secs(3600));
        if self.dice.once_in(3) {
            what = what.backoff(Duration::from_micros(10), Duration::from_millis(1));
        }
        what = what.stop_limit(Duration::from_micros(self.dice.one_of(&[1, 1000, 1_000_000])));
        let above = self.dice.below(self.supervisors.len() + 2);
        self.say(format_args!("supervisor {} below {above}: {what:?}", self.supervisors.len()));
        let new = match self.supervisors.get(above) {
            Some(above) => above.supervise(what),
            None => self.runtime.supervise(what),
        };
        self.supervisors.push(new);
    }

    fn end_a_supervisor(&mut self) {
        if self.supervisors.is_empty() {
            return;
        }
        let at = self.dice.below(self.supervisors.len());
        let supervisor = self.supervisors[at].clone();
        let waits = self.dice.once_in(2);
        self.say(format_args!("supervisor {at} shuts down, and wait: {waits}"));
        if waits {
            return block_on(supervisor.shutdown());
        }
        self.start(supervisor.shutdown());
    }

    fn tie(&mut self) {
        let (Some(a), Some(b)) = (self.child(), self.child()) else { return };
        if self.dice.once_in(2) {
            self.say(format_args!("monitor {}", a.id()));
            self.start(async move {
                if let Ok(monitor) = a.monitor().await {
                    monitor.await;
                }
            });
        } else {
            self.say(format_args!("link {} and {}", a.id(), b.id()));
            let _ = self.runtime.link(&a, &b);
        }
    }

    /// Lets time pass.
    fn rest(&mut self) {
        let ns = self.dice.one_of(&[1_000, 100_000, 3_000_000]);
        self.say(format_args!("rest for {ns} ns"));
        self.pause(ns);
    }

    fn pause(&mut self, ns: u64) {
        let rested = self.own.send(self.clock.address(), Rest { ns }).map(|ticket| answer(&mut self.own, ticket));
        self.say(format_args!("rested: {rested:?}"));
    }

    /// Lets everything come to its end, and reads the state of who still lives.
    fn settle(&mut self) {
        self.pause(QUIET.as_nanos() as u64);
        for child in std::mem::take(&mut self.children) {
            let read = block_on(self.runtime.read_state(&child.actor));
            self.say(format_args!("state of {}: {:?}", child.actor.id(), read.as_ref().err()));
            if let Ok(scribe) = read {
                ledger::write(Event::Read { actor: child.actor.id(), page: page(scribe) });
            }
        }
    }

    /// The end, and what is known then.
    pub fn end(mut self) -> Ran {
        self.say(format_args!("the end begins"));
        if self.dice.once_in(2) {
            self.settle();
        }
        let launches = self.runtime.launches();
        let Self { runtime, replies, lines, under_way, supervisors, supervised, mut dice, mut complaints, .. } = self;
        complaints.extend(runtime.violations());
        if dice.once_in(3) {
            drop(runtime);
        } else if let Err(error) = block_on(runtime.shutdown()) {
            match error {
                // Handlers that wait for each other may take longer.
                warpring::ShutdownError::NotDrained { .. } => {}
                error => complaints.push(error.to_string()),
            }
        }
        for (number, reply) in replies {
            ledger::know(number, known(&reply.wait()));
        }
        for mut line in lines {
            for (number, ticket) in line.tickets {
                match answer(&mut line.port, ticket) {
                    Some(answer) => ledger::know(number, known(&answer)),
                    None => complaints.push(format!("fate: ask {number} by a port is not answered at the end")),
                }
            }
        }
        let mut cx = Context::from_waker(Waker::noop());
        let open = under_way.into_iter().map(|mut what| what.as_mut().poll(&mut cx)).filter(Poll::is_pending).count();
        if open > 0 {
            complaints.push(format!("fate: {open} calls are under way after the end"));
        }
        drop(supervisors);
        let ledger = ledger::close();
        Ran { ledger, supervised, complaints, hibernations: launches.hibernations, launches: launches.count }
    }
}

/// Waits for what a port has asked, in virtual time alone; `None` if the answer never comes.
fn answer<M: RingMessage>(port: &mut Port, mut ticket: Ticket<M, u64>) -> Option<Result<u64, AskError<M>>> {
    for _ in 0..LOOKS {
        match port.poll(ticket) {
            Ok(answer) => return Some(answer),
            Err(again) => ticket = again,
        }
    }
    None
}

fn page(scribe: Scribe) -> ledger::Page {
    scribe.diary.into_inner().page()
}

fn priority(high: bool) -> Priority {
    if high { Priority::High } else { Priority::Normal }
}

/// What a sender knows from the answer to its ask.
fn known<M>(answer: &Result<u64, AskError<M>>) -> Known {
    match answer {
        Ok(_) | Err(AskError::Handler(KernelError::Rejected { .. })) => Known::Answered,
        Err(AskError::Panicked { .. } | AskError::Interrupted { .. } | AskError::Handler(KernelError::Panicked { .. })) => {
            Known::Fell
        }
        Err(AskError::NotHandled { .. }) => Known::Returned,
        _ => Known::Unknown,
    }
}
