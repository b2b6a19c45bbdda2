//! Section 11: names and topics.

use warpring::prelude::*;
use warpring::{ChildSpec, Published, Refusal, RegistryError, Strategy, Supervision, Topic, TopicError, block_on};

use crate::kernels::gate::{Arrived, Gate, Open};
use crate::kernels::herald::{Find, Found, Herald, Proclaim, Reached, ReadTomes, Recite, Scatter, Tome, Tomes};
use crate::kernels::mortal::{Mortal, Start};
use crate::kernels::subject::{Add, Busy, Crash, Get, Hold, Note, ReadLog, Subject};
use crate::letters::Letters;
use crate::setup::{Held, Named, Setup, end, eventually, launch_on, same};

fn find(herald: &ActorRef<Herald>, name: &str) -> Result<Found, String> {
    herald.ask(Find { name: Name::new(name) }).wait().named("asking a herald")
}

fn open<M: RingMessage>(runtime: &Runtime, name: &str) -> Result<Topic<M>, String> {
    block_on(runtime.topic(name)).named("opening a topic")
}

fn subscribe(topic: &Topic<Note>, actors: &[ActorRef<Subject>]) -> Result<(), String> {
    actors.iter().try_for_each(|actor| block_on(topic.subscribe(actor)).named("subscribing"))
}

/// Heralds on both workers.
fn heralds(runtime: &Runtime) -> Result<[ActorRef<Herald>; 2], String> {
    Ok([launch_on(runtime, 0, Herald::default())?, launch_on(runtime, 1, Herald::default())?])
}

/// Subjects, dealt out over both workers.
fn subjects(runtime: &Runtime, count: u32) -> Result<Vec<ActorRef<Subject>>, String> {
    (0..count).map(|number| launch_on(runtime, number % 2, Subject::default())).collect()
}

fn proclaim(herald: &ActorRef<Herald>, topic: &str, from: u32, first: u32, count: u32) -> Result<Reached, String> {
    herald.ask(Proclaim { topic: Name::new(topic), from, first, count }).wait().named("asking a herald to publish")
}

/// Waits until an actor has so many notes, all in order, and no more.
fn has_notes(actor: &ActorRef<Subject>, count: u32) -> Result<(), String> {
    let log = || actor.ask(ReadLog).wait().named("reading the log");
    eventually(format_args!("{count} notes"), || Ok(log()?.count >= count))?;
    let log = log()?;
    same("notes and wrong order", (log.count, log.out_of_order), (count, 0))
}

pub(super) fn names_are_found(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().max_names(50).build().named("building the runtime")?;
    let heralds = heralds(&runtime)?;
    let subjects = subjects(&runtime, 2)?;
    let name = |number: usize| format!("subject/{number}");
    for number in 0..50 {
        block_on(runtime.register(&name(number), &subjects[number % 2])).named("registering")?;
    }
    for number in (0..50).step_by(2) {
        block_on(runtime.unregister(&name(number))).named("giving a name back")?;
    }
    for number in 0..50 {
        let (id, name) = (subjects[number % 2].id(), name(number));
        let expected = Found { subject: if number % 2 == 1 { id } else { ActorId::default() }, gate: ActorId::default() };
        for herald in &heralds {
            same(&name, find(herald, &name)?, expected)?;
        }
        let none = RegistryError::NotRegistered { name: name.clone() };
        let looked_up = runtime.lookup::<Subject>(&name).map(|found| found.id());
        same("what the host finds", looked_up, if number % 2 == 1 { Ok(id) } else { Err(none.clone()) })?;
        if number % 2 == 0 {
            same("giving it back again", block_on(runtime.unregister(&name)), Err(none))?;
        }
    }
    let names: Vec<_> = runtime.names().into_iter().map(|listed| (listed.name, listed.actor, listed.kernel)).collect();
    let mut expected: Vec<_> = (1..50).step_by(2).map(|number| (name(number), subjects[1].id(), "conformance/subject")).collect();
    expected.sort();
    same("names", names, expected)?;
    let asked = runtime.lookup::<Subject>("subject/1").named("looking up")?.ask(Add { n: 7 }).wait();
    same("an actor that was looked up", asked, Ok(7))?;
    end(runtime)
}

pub(super) fn bad_names_are_refused(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().max_names(2).build().named("building the runtime")?;
    let subjects = subjects(&runtime, 2)?;
    let register = |name: &str, which: usize| block_on(runtime.register(name, &subjects[which]));
    same("a name", register("a", 0), Ok(()))?;
    for which in [0, 1] {
        same("a taken name", register("a", which), Err(RegistryError::Taken { name: "a".into(), by: subjects[0].id() }))?;
    }
    for name in ["", "a b", "\u{e4}", &"n".repeat(65)] {
        match register(name, 0) {
            Err(RegistryError::Invalid { name: given, .. }) if given == name => {}
            other => return Err(format!("{name:?} as a name: {other:?}")),
        }
    }
    same("a name of 64 bytes", register(&"n".repeat(64), 0), Ok(()))?;
    same("a third name of two", register("b", 0), Err(RegistryError::Full { limit: 2 }))?;
    block_on(runtime.unregister("a")).named("giving a name back")?;
    same("a name of another", register("a", 1), Ok(()))?;
    let other = setup.runtime()?;
    let stranger = block_on(other.register("c", &subjects[0]));
    same("an actor of another runtime", stranger, Err(RegistryError::OtherRuntime(subjects[0].id())))?;
    same("names of the other runtime", other.names().len(), 0)?;
    end(other)?;
    end(runtime)
}

pub(super) fn a_lookup_knows_kinds(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let gate = launch_on(&runtime, 0, Gate::default())?;
    block_on(runtime.register("gate", &gate)).named("registering")?;
    for herald in heralds(&runtime)? {
        same("what a handler finds", find(&herald, "gate")?, Found { subject: ActorId::default(), gate: gate.id() })?;
    }
    let (found, wanted) = ("conformance/gate", "conformance/subject");
    let expected = RegistryError::WrongKind { name: "gate".into(), found, wanted };
    same("what the host finds", runtime.lookup::<Subject>("gate").map(|found| found.id()), Err(expected))?;
    same("the right kind", runtime.lookup::<Gate>("gate").map(|found| found.id()), Ok(gate.id()))?;
    end(runtime)
}

fn crash(subject: &ActorRef<Subject>) -> Result<(), String> {
    match subject.ask(Crash { pause_ns: 0 }).wait() {
        Err(AskError::Panicked { .. }) => Ok(()),
        other => Err(format!("a handler that panics: {other:?}")),
    }
}

pub(super) fn names_end_with_their_actors(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let heralds = heralds(&runtime)?;
    let (crashes, stops) = (launch_on(&runtime, 0, Subject::default())?, launch_on(&runtime, 1, Subject::default())?);
    let supervisor = runtime.supervise(Supervision::new(Strategy::OneForOne));
    let again = block_on(supervisor.launch(Subject::default(), ChildSpec::permanent())).named("launching a child")?;
    let news = open::<Note>(&runtime, "news")?;
    for (name, actor) in [("crashes", &crashes), ("stops", &stops), ("again", &again), ("stops/too", &stops)] {
        block_on(runtime.register(name, actor)).named("registering")?;
    }
    let all = [crashes.clone(), stops.clone(), again.clone()];
    subscribe(&news, &all)?;
    crash(&crashes)?;
    block_on(stops.stop()).named("stopping an actor")?;
    crash(&again)?;
    for name in ["crashes", "stops", "stops/too"] {
        for herald in &heralds {
            eventually(format_args!("no `{name}`"), || Ok(find(herald, name)?.subject == ActorId::default()))?;
        }
    }
    let names: Vec<_> = runtime.names().into_iter().map(|listed| (listed.name, listed.actor)).collect();
    same("the names that are left", names, vec![("again".to_owned(), again.id())])?;
    for herald in &heralds {
        same("the name of one that was started again", find(herald, "again")?.subject, again.id())?;
    }
    let found = runtime.lookup::<Subject>("again").named("looking up")?;
    eventually("it has started again", || Ok(found.ask(Get).wait() == Ok(0)))?;
    same("copies", news.publish(&Note { from: 0, seq: 1 }), Ok(published(1, 0)))?;
    has_notes(&found, 1)?;
    for (ended, name) in [(&crashes, "crashes"), (&stops, "stops")] {
        let id = ended.id();
        same("a name for one that has ended", block_on(runtime.register(name, ended)), Err(RegistryError::Ended(id)))?;
        same("a subscription of it", block_on(news.subscribe(ended)), Err(TopicError::Ended(id)))?;
        let reason = Refusal::ActorStopped(id);
        let asked = ended.ask(Get).wait();
        same("a message to it", asked, Err(AskError::NotHandled { reason, message: Get }))?;
    }
    same("names", runtime.names().len(), 1)?;
    let stats = block_on(runtime.topics()).named("asking for the topics")?;
    same("subscribers", stats[0].subscribers, 1)?;
    end(runtime)
}

pub(super) fn everybody_gets_a_copy(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let (subjects, heralds) = (subjects(&runtime, 5)?, heralds(&runtime)?);
    let news = open::<Note>(&runtime, "news")?;
    subscribe(&news, &subjects)?;
    for seq in 1..=4 {
        same("copies of the host's", news.publish(&Note { from: 0, seq }), Ok(published(5, 0)))?;
    }
    for (from, herald) in (1..).zip(&heralds) {
        let reached = proclaim(herald, "news", from, 1, 4)?;
        same("copies of a handler's", reached, Reached { sent: 20, ..Reached::default() })?;
    }
    for subject in &subjects {
        has_notes(subject, 12)?;
    }
    // The heralds themselves get what they publish, and so does the other.
    let tomes = open::<Tome>(&runtime, "tomes")?;
    for herald in &heralds {
        block_on(tomes.subscribe(herald)).named("subscribing")?;
    }
    for seed in 1..=3 {
        same("copies of a long message", tomes.publish(&Tome::seeded(seed)), Ok(published(2, 0)))?;
    }
    for (round, herald) in (1..).zip(&heralds) {
        let read = || herald.ask(ReadTomes).wait().named("reading the tomes");
        eventually("three tomes", || Ok(read()?.count >= 3))?;
        same("tomes", read()?, Tomes { count: 3, wrong: 0 })?;
        // The others start anew: a topic for each.
        let topic = format!("tomes/{round}");
        let fresh = [launch_on(&runtime, 0, Herald::default())?, launch_on(&runtime, 1, Herald::default())?];
        let own = open::<Tome>(&runtime, &topic)?;
        for reader in &fresh {
            block_on(own.subscribe(reader)).named("subscribing")?;
        }
        let reached = herald.ask(Recite { topic: Name::new(&topic), count: 4 }).wait().named("asking a herald")?;
        same("copies of long messages", reached, Reached { sent: 8, ..Reached::default() })?;
        for reader in &fresh {
            let read = || reader.ask(ReadTomes).wait().named("reading the tomes");
            eventually("four tomes", || Ok(read()?.count >= 4))?;
            same("tomes of a handler", read()?, Tomes { count: 4, wrong: 0 })?;
        }
    }
    same("dead letters", runtime.dead_letters().len(), 0)?;
    end(runtime)
}

fn published(sent: u32, lost: u32) -> Published {
    let mut published = Published::default();
    (published.sent, published.lost) = (sent, lost);
    published
}

pub(super) fn publications_are_in_order(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let (subjects, heralds) = (subjects(&runtime, 4)?, heralds(&runtime)?);
    let news = open::<Note>(&runtime, "news")?;
    subscribe(&news, &subjects)?;
    let (rounds, each) = (setup.scale(40, 4), 10);
    for round in 0..rounds {
        let mut under_way = Vec::new();
        for (from, herald) in (1..).zip(&heralds) {
            let topic = Name::new("news");
            let proclaim = Proclaim { topic, from, first: round * each + 1, count: each };
            under_way.push(herald.ask(proclaim).send().named("asking a herald to publish")?);
        }
        for number in 0..each {
            let seq = round * each + number + 1;
            same("copies", news.publish(&Note { from: 0, seq }), Ok(published(4, 0)))?;
        }
        for reply in under_way {
            let reached = reply.wait().named("the answer of a herald")?;
            same("copies", reached, Reached { sent: 4 * each, ..Reached::default() })?;
        }
        // Not more than the mailboxes hold.
        for subject in &subjects {
            has_notes(subject, 3 * each * (round + 1))?;
        }
    }
    end(runtime)
}

pub(super) fn a_full_mailbox_loses_a_publication(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let held = Held::with(&runtime, LaunchOptions::default().mailbox(2))?;
    let far = launch_on(&runtime, 1, Subject::default())?;
    let heralds = heralds(&runtime)?;
    let news = open::<Note>(&runtime, "news")?;
    let (full, others) = (held.subject.clone(), [held.neighbour.clone(), far]);
    subscribe(&news, &others)?;
    subscribe(&news, std::slice::from_ref(&full))?;
    for seq in 1..=4 {
        // The ring takes it, and the mailbox is full later.
        same("copies of the host's", news.publish(&Note { from: 0, seq }), Ok(published(3, 0)))?;
    }
    for other in &others {
        has_notes(other, 4)?;
    }
    let near = proclaim(&heralds[0], "news", 1, 1, 3)?;
    same("copies by a neighbour", near, Reached { sent: 6, lost: 3, ..Reached::default() })?;
    let from_far = proclaim(&heralds[1], "news", 2, 1, 3)?;
    same("copies by another worker's", from_far, Reached { sent: 9, ..Reached::default() })?;
    for other in &others {
        has_notes(other, 10)?;
    }
    held.settle()?;
    let lost = || -> Result<Vec<_>, String> {
        held.settle()?;
        let mut lost: Vec<_> = runtime.dead_letters().iter().map(|letter| (letter.from, letter.to, letter.reason)).collect();
        lost.sort_by_key(|(from, ..)| *from);
        Ok(lost)
    };
    eventually("the dead letters", || Ok(lost()?.len() >= 8))?;
    let reason = KernelError::MailboxFull { capacity: 2 };
    let froms = [(None, 2), (Some(heralds[0].id()), 3), (Some(heralds[1].id()), 3)];
    let mut expected: Vec<_> = froms.iter().flat_map(|(from, count)| vec![(*from, full.id(), reason); *count]).collect();
    expected.sort_by_key(|(from, ..)| *from);
    same("dead letters", lost()?, expected)?;
    held.open()?;
    has_notes(&full, 2)?;
    end(runtime)?;
    many_lose_at_once(setup)
}

/// More dead letters than a worker of a grid can post before the host takes some.
fn many_lose_at_once(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder());
    let runtime = builder.build().named("building the runtime")?;
    let gate = launch_on(&runtime, 1, Gate::default())?;
    let news = open::<Note>(&runtime, "news")?;
    let (mut full, mut holds) = (Vec::new(), Vec::new());
    for _ in 0..60 {
        let options = LaunchOptions::default().on_worker(0).mailbox(1);
        let subject = block_on(runtime.launch(Subject::default(), options)).named("launching an actor")?;
        holds.push(subject.ask(Hold { gate: gate.address(), n: 0 }).send().named("asking an actor to wait")?);
        block_on(news.subscribe(&subject)).named("subscribing")?;
        full.push(subject);
    }
    eventually("all wait at the gate", || Ok(gate.ask(Arrived).wait().named("asking the gate")? == 60))?;
    for seq in 1..=10 {
        same("copies", news.publish(&Note { from: 0, seq }), Ok(published(60, 0)))?;
    }
    let heard = || {
        // The letters of a grid are posted, and taken when somebody looks.
        let _ = runtime.dead_letters();
        letters.others()
    };
    eventually("the dead letters", || {
        gate.ask(Arrived).wait().named("asking the gate")?;
        Ok(heard().len() >= 540)
    })?;
    gate.ask(Open).wait().named("opening the gate")?;
    for (subject, hold) in full.iter().zip(holds) {
        hold.wait().named("the handler that was held")?;
        eventually("room for a question", || match subject.ask(Get).wait() {
            Err(AskError::NotHandled { reason: Refusal::MailboxFull { .. }, .. }) => Ok(false),
            other => other.named("asking").map(|_| true),
        })?;
        has_notes(subject, 1)?;
        let own = heard().iter().filter(|letter| letter.to == subject.id()).count();
        same("dead letters of each", own, 9)?;
    }
    let stats = block_on(runtime.topics()).named("asking for the topics")?;
    same("lost, as the topic counts it", stats[0].lost, 540)?;
    end(runtime)
}

pub(super) fn a_full_ring_loses_a_publication(setup: &Setup) -> Result<(), String> {
    let (letters, builder) = Letters::of(setup.builder().ring_lines(16));
    let runtime = builder.build().named("building the runtime")?;
    let keeper = launch_on(&runtime, 0, Subject::default())?;
    let heralds = heralds(&runtime)?;
    let subjects = subjects(&runtime, 3)?;
    let news = open::<Note>(&runtime, "news")?;
    // Two on worker 0, one on worker 1.
    subscribe(&news, &subjects)?;
    let (mut sent, mut by_host, mut by_handler) = (0, 0, 0);
    eventually("the rings to worker 0 were full", || {
        // Worker 0 takes nothing meanwhile. In the simulator nothing runs until somebody waits.
        let busy = if setup.simulated() { None } else { Some(keeper.ask(Busy { ns: 20_000_000 }).send()) };
        if let Some(Err(refused)) = busy {
            return Err(format!("asking to keep the worker: {refused}"));
        }
        // A ring's worth and more on its way to each worker, of which worker 1's may or may not be taken in time.
        let topic = Name::new("news");
        let proclaim = Proclaim { topic, from: 1, first: 1, count: 60 };
        let proclaims = heralds[1].ask(proclaim).send().named("asking a herald to publish")?;
        for seq in 1..=40 {
            let reached = news.publish(&Note { from: 0, seq }).named("publishing")?;
            same("copies of a publication", reached.sent + reached.lost, 3)?;
            (sent, by_host) = (sent + reached.sent, by_host + reached.lost);
        }
        let reached = proclaims.wait().named("the answer of a herald")?;
        same("copies of a handler's publications", reached.sent + reached.lost, 180)?;
        (sent, by_handler) = (sent + reached.sent, by_handler + reached.lost);
        if let Some(Ok(busy)) = busy {
            busy.wait().named("the handler that keeps its worker")?;
        }
        Ok(by_host > 0 && by_handler > 0)
    })?;
    let handled = || -> Result<u32, String> {
        subjects.iter().map(|subject| Ok(subject.ask(ReadLog).wait().named("reading the log")?.count)).sum()
    };
    eventually("what was sent has come", || Ok(handled()? >= sent))?;
    same("handled of what was sent", handled()?, sent)?;
    let stats = block_on(runtime.topics()).named("asking for the topics")?;
    same("lost, as the topic counts it", stats[0].lost, u64::from(by_host + by_handler))?;
    let others = || {
        // The letters of a grid are posted, and taken when somebody looks.
        let _ = runtime.dead_letters();
        letters.others()
    };
    eventually("the dead letters", || {
        keeper.ask(Get).wait().named("asking")?;
        Ok(others().len() as u32 >= by_host + by_handler)
    })?;
    let letters = others();
    same("dead letters", letters.len() as u32, by_host + by_handler)?;
    for letter in &letters {
        same("the reason", letter.reason, KernelError::RingFull { worker: letter.to.worker.into() })?;
        let from = letter.from.is_none_or(|from| from == heralds[1].id());
        same("who sent it and to whom", (from, subjects.iter().any(|one| one.id() == letter.to)), (true, true))?;
    }
    end(runtime)
}

pub(super) fn subscribing_begins_and_ends(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let (subjects, heralds) = (subjects(&runtime, 3)?, heralds(&runtime)?);
    let news = open::<Note>(&runtime, "news")?;
    let publish = |from: u32, seq: u32, to: u32| -> Result<(), String> {
        same("copies", news.publish(&Note { from, seq }), Ok(published(to, 0)))?;
        for (number, herald) in (1..).zip(&heralds) {
            let expected = Reached { sent: to, ..Reached::default() };
            same("copies", proclaim(herald, "news", from + number, seq, 1)?, expected)?;
        }
        Ok(())
    };
    publish(0, 1, 0)?;
    subscribe(&news, &subjects)?;
    publish(3, 1, 3)?;
    for subject in &subjects {
        has_notes(subject, 3)?;
    }
    for leaver in &subjects[..2] {
        block_on(news.unsubscribe(leaver)).named("unsubscribing")?;
    }
    publish(3, 2, 1)?;
    has_notes(&subjects[2], 6)?;
    subscribe(&news, &subjects[..1])?;
    publish(6, 1, 2)?;
    for (subject, notes) in subjects.iter().zip([6, 3, 9]) {
        has_notes(subject, notes)?;
    }
    end(runtime)
}

pub(super) fn a_topic_has_one_type(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let heralds = heralds(&runtime)?;
    let news = open::<Note>(&runtime, "news")?;
    let again = open::<Note>(&runtime, "news")?;
    same("one topic", (news.name(), again.name()), ("news", "news"))?;
    match block_on(runtime.topic::<Add>("news")) {
        Err(TopicError::OtherMessage { topic, takes, given }) => {
            same("the topic", topic.as_str(), "news")?;
            same("both types", (takes.ends_with("::Note"), given.ends_with("::Add")), (true, true))?;
        }
        other => return Err(format!("a topic for other messages: {other:?}")),
    }
    for herald in &heralds {
        let recited = herald.ask(Recite { topic: Name::new("news"), count: 2 }).wait().named("asking a herald")?;
        same("another message", recited, Reached { other_message: 2, ..Reached::default() })?;
        same("no such topic", proclaim(herald, "olds", 0, 1, 3)?, Reached { no_topic: 3, ..Reached::default() })?;
    }
    let stats = block_on(runtime.topics()).named("asking for the topics")?;
    same("topics, and what was published on them", (stats.len(), stats[0].published), (1, 0))?;
    end(runtime)
}

pub(super) fn topics_are_counted(setup: &Setup) -> Result<(), String> {
    let runtime = setup.runtime()?;
    let held = Held::with(&runtime, LaunchOptions::default().mailbox(3))?;
    let heralds = heralds(&runtime)?;
    let (full, other) = (held.subject.clone(), held.neighbour.clone());
    let (news, olds) = (open::<Note>(&runtime, "news")?, open::<Note>(&runtime, "olds")?);
    subscribe(&news, &[full.clone(), other.clone()])?;
    subscribe(&olds, std::slice::from_ref(&other))?;
    for seq in 1..=4 {
        news.publish(&Note { from: 0, seq }).named("publishing")?;
        olds.publish(&Note { from: 1, seq }).named("publishing")?;
    }
    has_notes(&other, 8)?;
    proclaim(&heralds[0], "news", 2, 1, 5)?;
    proclaim(&heralds[1], "news", 3, 1, 6)?;
    has_notes(&other, 19)?;
    let stats = block_on(runtime.topics()).named("asking for the topics")?;
    let counts: Vec<_> = stats.iter().map(|of| (of.name.as_str(), of.subscribers, of.published, of.lost)).collect();
    same("topics", counts, vec![("news", 2, 15, 12), ("olds", 1, 4, 0)])?;
    held.open()?;
    has_notes(&full, 3)?;
    end(runtime)
}

pub(super) fn topics_are_limited(setup: &Setup) -> Result<(), String> {
    let runtime = setup.builder().max_topics(2).max_subscribers(2).build().named("building the runtime")?;
    let subjects = subjects(&runtime, 3)?;
    let topics = [open::<Note>(&runtime, "a")?, open::<Note>(&runtime, "b")?];
    let third = block_on(runtime.topic::<Note>("c")).err();
    same("a third topic of two", third, Some(TopicError::TooManyTopics { limit: 2 }))?;
    match block_on(runtime.topic::<Note>("no name")) {
        Err(TopicError::Invalid { topic, .. }) if topic == "no name" => {}
        other => return Err(format!("a topic without a name: {other:?}")),
    }
    for topic in &topics {
        subscribe(topic, &subjects[..2])?;
        let (topic_name, actor) = (topic.name().to_owned(), subjects[0].id());
        let again = block_on(topic.subscribe(&subjects[0]));
        same("twice", again, Err(TopicError::AlreadySubscribed { topic: topic_name.clone(), actor }))?;
        let third = block_on(topic.subscribe(&subjects[2]));
        same("a third subscriber of two", third, Err(TopicError::TooManySubscribers { topic: topic_name, limit: 2 }))?;
    }
    block_on(topics[0].unsubscribe(&subjects[0])).named("unsubscribing")?;
    let gone = TopicError::NotSubscribed { topic: "a".into(), actor: subjects[0].id() };
    same("no subscriber any more", block_on(topics[0].unsubscribe(&subjects[0])), Err(gone))?;
    subscribe(&topics[0], &subjects[2..])?;
    for (topic, to) in topics.iter().zip([[1, 2], [0, 1]]) {
        same("copies", topic.publish(&Note { from: 0, seq: 1 }), Ok(published(2, 0)))?;
        eventually("both have it", || {
            let logs = to.map(|which: usize| subjects[which].ask(ReadLog).wait().named("reading the log"));
            logs.into_iter().try_fold(true, |both, log| Ok(both && log?.count > 0))
        })?;
    }
    end(runtime)
}

/// What publishers know of the copies of what they published.
#[derive(Clone, Copy, Debug, Default)]
struct Copies {
    sent: u32,
    /// By the host, whose losses are dead letters without exception.
    lost: u32,
    /// By handlers, whose losses are dead letters while there is room for them.
    lost_by_handlers: u32,
}

/// Publishes from the host, and lets a herald publish, until the runtime has stopped, so often at most.
fn publish_on(sums: &Topic<Add>, herald: &ActorRef<Herald>, most: u32) -> Result<Copies, String> {
    let mut copies = Copies::default();
    let scatter = Scatter { topic: Name::new(sums.name()), count: 3 };
    for n in 0..most {
        let asked = herald.ask(scatter).send();
        match sums.publish(&Add { n: n.into() }) {
            Ok(reached) => {
                same("copies", reached.sent + reached.lost, 6)?;
                (copies.sent, copies.lost) = (copies.sent + reached.sent, copies.lost + reached.lost);
            }
            Err(TopicError::Stopped) => {}
            Err(other) => return Err(format!("publishing: {other}")),
        }
        match asked.and_then(|reply| reply.wait()) {
            Ok(reached) => {
                same("copies of a handler's", reached.sent + reached.lost, 18)?;
                copies.sent += reached.sent;
                copies.lost_by_handlers += reached.lost;
            }
            // It was published before that, or not at all: the herald does not wait.
            Err(AskError::NotHandled { reason: Refusal::RingFull { .. } | Refusal::Overloaded { .. }, .. }) => {}
            Err(AskError::NotHandled { .. }) => break,
            Err(other) => return Err(format!("asking a herald: {other}")),
        }
    }
    Ok(copies)
}

pub(super) fn publications_have_one_fate(setup: &Setup) -> Result<(), String> {
    for round in 0..setup.scale(12, 2) {
        let (letters, builder) = Letters::of(setup.builder().waiting_messages(40).ring_lines(64));
        let runtime = builder.build().named("building the runtime")?;
        let (mut actors, heralds) = (Vec::new(), heralds(&runtime)?);
        let sums = open::<Add>(&runtime, "sums")?;
        for number in 0..6 {
            let options = LaunchOptions::default().on_worker(number % 2).mailbox(4);
            let launched = runtime.launch(Mortal::new(Start::Plain, Address::default()), options);
            let actor = block_on(launched).named("launching an actor")?;
            block_on(sums.subscribe(&actor)).named("subscribing")?;
            actors.push(actor);
        }
        let stop = |runtime: Runtime| {
            if round % 2 == 0 {
                return end(runtime);
            }
            drop(runtime);
            Ok(())
        };
        let copies = if setup.simulated() {
            let before = publish_on(&sums, &heralds[0], 5)?;
            // Some more, which nobody waits for.
            let more = heralds[1].ask(Scatter { topic: Name::new("sums"), count: 3 }).send().named("asking a herald")?;
            let reached = sums.publish(&Add { n: 1 }).named("publishing")?;
            stop(runtime)?;
            let last = more.wait().named("the answer of a herald")?;
            vec![before, Copies { sent: reached.sent + last.sent, lost: reached.lost, lost_by_handlers: last.lost }]
        } else {
            std::thread::scope(|scope| {
                let publishers: Vec<_> = (heralds.iter())
                    .map(|herald| {
                        let sums = sums.clone();
                        scope.spawn(move || publish_on(&sums, herald, 100_000))
                    })
                    .collect();
                // The end comes while they publish: sooner or later, by the round.
                let counted = || block_on(runtime.topics()).named("asking for the topics");
                let sooner = u64::from(50 * round + 20);
                let ended = eventually("the publishers are at work", || Ok(counted()?[0].published >= sooner));
                let ended = ended.and_then(|()| stop(runtime));
                let joined: Result<Vec<_>, String> = (publishers.into_iter())
                    .map(|thread| thread.join().unwrap_or_else(|_| Err("a publisher panicked".into())))
                    .collect();
                ended.and(joined)
            })?
        };
        let sum = |of: fn(&Copies) -> u32| copies.iter().map(of).sum::<u32>();
        let handled: u32 = letters.handled(&actors)?.into_iter().sum();
        let dead = letters.others().len() as u32;
        let least = sum(|of| of.sent + of.lost);
        let most = least + sum(|of| of.lost_by_handlers);
        if !(least..=most).contains(&(handled + dead)) {
            return Err(format!("round {round}: {handled} handled and {dead} dead of {least} to {most}: {copies:?}"));
        }
        same("something was handled", handled > 0, true)?;
        same("publishing after the end", sums.publish(&Add { n: 1 }), Err(TopicError::Stopped))?;
    }
    Ok(())
}
