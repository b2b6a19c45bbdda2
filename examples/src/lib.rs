//! Examples of Warpring: the kernels, which are device code, and for the Savina programs also the host's part.
//!
//! The programs that use them are in `src/bin`, what those print is in `expected`, and `tests` compares the two.
#![cfg_attr(target_arch = "nvptx64", no_std)]

pub mod bank;
pub mod desk;
pub mod growth;
pub mod letters;
pub mod savina;
pub mod shop;
pub mod squares;

use savina::{
    bank_transaction as transfer, big, bitonic_sort as bitonic, bounded_buffer as buffer, chameneos,
    cigarette_smokers as smokers, counting, dictionary, finish, fork_join_throughput as fork_join, logistic_map as logistic,
    nqueens, over_relaxation as relaxation, philosophers, ping_pong, radix_sort as radix, shortest_path as paths, sieve,
    sleeping_barber as barber, sorted_list as list, thread_ring, trapezoid,
};

warpring::export! {
    bank::Account { bank::Deposit => bank::Balance, bank::Query => bank::Balance }
    desk::Feed { desk::Trade => desk::Audience }
    desk::Strategy { desk::Price => () }
    desk::Book { desk::Order => (), desk::Bought => desk::Holdings }
    letters::Tally { letters::Letter => u32 }
    shop::Rates { shop::Rate => shop::Quote }
    shop::Till { shop::Sale => shop::Receipt }
    squares::Square { u64 => u64 }

    finish::Finish { finish::Finished => (), finish::HowMany => finish::Reports }
    ping_pong::Player { ping_pong::Play => ping_pong::Score }
    ping_pong::Wall { ping_pong::Ball => ping_pong::Ball }
    counting::Producer { counting::Produce => counting::Count }
    counting::Counter { counting::Increment => (), counting::Retrieve => counting::Count }
    fork_join::Worker { fork_join::Work => fork_join::Done }
    thread_ring::Node { thread_ring::Join => (), thread_ring::Token => () }
    chameneos::Mall {
        chameneos::Visit => (),
        chameneos::Leave => (),
        chameneos::HowMany => chameneos::Census,
    }
    chameneos::Creature {
        chameneos::Wake => (),
        chameneos::Introduce => (),
        chameneos::Change => (),
        chameneos::Close => (),
    }
    big::Peer { big::Begin => (), big::Ping => (), big::Pong => (), big::HowMany => big::Pings }
    transfer::Teller { transfer::Open => (), transfer::Completed => (), transfer::HowFar => transfer::Progress }
    transfer::Account { transfer::Credit => (), transfer::Debit => (), transfer::Query => transfer::Balance }
    dictionary::Dictionary { dictionary::Write => u32, dictionary::Read => u32, dictionary::GetState => dictionary::Summary }
    dictionary::Worker { dictionary::Begin => () }
    list::List { list::Add => (), list::Contains => bool, list::Size => u32 }
    list::Worker { list::Begin => () }
    buffer::Manager {
        buffer::Begin => (),
        buffer::Item => (),
        buffer::Free => (),
        buffer::Gone => (),
        buffer::IsDone => bool,
    }
    buffer::Producer { buffer::Produce => () }
    buffer::Consumer { buffer::Item => (), buffer::GetTotal => buffer::Total }
    philosophers::Arbiter {
        philosophers::Hungry => philosophers::Forks,
        philosophers::Eaten => (),
        philosophers::Look => philosophers::Seen,
    }
    philosophers::Philosopher { philosophers::Dine => () }
    barber::Factory { barber::Begin => () }
    barber::Room { barber::Enter => bool, barber::Left => (), barber::HowMany => u32 }
    barber::Barber { barber::Cut => (), barber::GetNext => u32 }
    barber::Customer { barber::Start => (), barber::Done => () }
    smokers::Arbiter { smokers::Begin => (), smokers::Started => (), smokers::HowFar => smokers::Progress }
    smokers::Smoker { smokers::Smoke => () }
    logistic::Computer { logistic::Compute => logistic::Term }
    logistic::Series { logistic::Begin => (), logistic::GetTerm => logistic::Term }
    radix::Source { radix::Begin => () }
    radix::Sorter { radix::Number => () }
    radix::Sink { radix::Number => (), radix::GetSorted => radix::Sorted }
    sieve::Producer { sieve::Begin => sieve::Primes }
    sieve::Filter { sieve::Candidate => (), sieve::End => sieve::Primes }
    trapezoid::Worker { trapezoid::Integrate => trapezoid::Area }
    paths::Block { paths::Begin => (), paths::Row => (), paths::Column => (), paths::GetRow => paths::Distances }
    relaxation::Cell { relaxation::Begin => (), relaxation::Value => (), relaxation::GetValue => f64 }
    nqueens::Master {
        nqueens::Begin => (),
        nqueens::Board => (),
        nqueens::Done => (),
        nqueens::HowFar => nqueens::Progress,
    }
    nqueens::Worker { nqueens::Board => () }
    bitonic::Wire { bitonic::Begin => (), bitonic::Offer => (), bitonic::GetValue => u32 }
}
