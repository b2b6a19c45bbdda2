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
    bank_transaction as transfer, big, chameneos, counting, finish, fork_join_throughput as fork_join, ping_pong, thread_ring,
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
}
