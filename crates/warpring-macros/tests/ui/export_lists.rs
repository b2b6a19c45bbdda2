mod empty {
    warpring::export! {}
}

mod twice {
    warpring::export! {
        Account { i64 => i64 }
        Ledger { u8 => u8, u8 => u16 }
        Account { u8 => u8 }
        Idle {}
    }
}

mod arrow {
    warpring::export! { Account { i64 -> i64 } }
}

mod braces {
    warpring::export! { Account => Deposit }
}

mod attributes {
    warpring::export! { #[cfg(unix)] Account { i64 => i64 } }
}

fn main() {}
