//! What `export!` writes, seen through the tables that the runtime reads.
#![allow(missing_docs)]

use std::time::Duration;

use warpring::__private::warpring_core::message::lines_for;
use warpring::__private::warpring_core::module::{Exported, Handles, KernelLayout, Module};
use warpring::prelude::*;

#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Deposit {
    pub cents: i64,
}

#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Query;

#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Balance {
    pub cents: i64,
}

#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Statement {
    pub entries: [i64; 20],
}

#[derive(Clone, Copy, Debug, State)]
pub struct Totals {
    pub sum: i64,
    pub entries: u32,
}

/// An account with a limit.
///
/// It asks the ledger to note what it takes.
#[derive(Debug, RingKernel)]
#[ring_kernel(id = "bank/account", domain = "banking", version = 3, requires_gpu_native = false, validate = Account::has_limit)]
pub struct Account {
    limit: i64,
    ledger: Address<Ledger>,
    balance: Resident<i64>,
}

impl Account {
    fn has_limit(&self) -> Result<()> {
        if self.limit < 0 { Err(KernelError::rejected(7)) } else { Ok(()) }
    }
}

impl RingKernelHandler<Deposit, Balance> for Account {
    async fn handle(&self, ctx: &mut RingContext<'_>, msg: Deposit) -> Result<Balance> {
        let before = *ctx.read(&self.balance);
        let noted = ctx.ask(self.ledger, Note { cents: msg.cents, before }).within(Duration::from_millis(5)).await?;
        ctx.sleep(Duration::from_micros(1)).await;
        ctx.update(&self.balance, |balance| {
            let cents = balance.checked_add(noted.cents).filter(|c| *c >= -self.limit).ok_or(KernelError::rejected(1))?;
            *balance = cents;
            Ok(Balance { cents })
        })
    }

    async fn shutdown(&self, ctx: &mut RingContext<'_>) -> Result<()> {
        let before = *ctx.read(&self.balance);
        ctx.ask(self.ledger, Note { cents: -before, before }).await.map(drop)
    }
}

impl RingKernelHandler<Query, Balance> for Account {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: Query) -> Result<Balance> {
        Ok(Balance { cents: *ctx.read(&self.balance) })
    }

    // Uses neither argument, and is found all the same.
    async fn initialize(&self, _: &mut RingContext<'_>) -> Result<()> {
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, RingMessage)]
pub struct Note {
    pub cents: i64,
    pub before: i64,
}

/** Keeps the sum of all that it is told. */
#[derive(Debug, Default, RingKernel)]
#[ring_kernel(id = "bank/ledger")]
pub struct Ledger(Resident<TotalsOf<2>>, u8);

#[derive(Clone, Copy, Debug, State)]
pub struct TotalsOf<const N: usize> {
    pub totals: [Totals; N],
}

impl Default for TotalsOf<2> {
    fn default() -> Self {
        Self { totals: [Totals { sum: 0, entries: 0 }; 2] }
    }
}

impl RingKernelHandler<Note, Note> for Ledger {
    async fn handle(&self, ctx: &mut RingContext<'_>, note: Note) -> Result<Note> {
        ctx.update(&self.0, |all| {
            all.totals[0].sum += note.cents;
            all.totals[0].entries += 1;
        });
        Ok(note)
    }
}

impl RingKernelHandler<u32, Statement> for Ledger {
    // Written without `async`, which the trait allows.
    fn handle(&self, _: &mut RingContext<'_>, _: u32) -> impl Future<Output = Result<Statement>> {
        core::future::ready(Ok(Statement { entries: [0; 20] }))
    }
}

impl RingKernelHandler<[u8; 3], ()> for Ledger {
    async fn handle(&self, ctx: &mut RingContext<'_>, _: [u8; 3]) -> Result<()> {
        ctx.yield_now().await;
        Ok(())
    }
}

warpring::export! {
    /// Doc comments and commas are optional.
    Account {
        /// Pays in.
        Deposit => Balance,
        Query => Balance
    },
    Ledger { Note => Note u32 => Statement [u8; 3] => () }
}

/// The same kernel's messages, in a module of its own.
mod other {
    use warpring::prelude::*;

    #[derive(Debug, RingKernel)]
    #[ring_kernel(id = "demo/echo", description = "Says what it hears.")]
    pub struct Echo;

    impl RingKernelHandler<u64, u64> for Echo {
        async fn handle(&self, _: &mut RingContext<'_>, n: u64) -> Result<u64> {
            Ok(n)
        }
    }

    pub mod exported {
        use super::Echo;
        warpring::export! { crate = ::warpring; Echo { u64 => u64 } }
    }
}

#[test]
fn kinds_are_numbered_in_order() {
    assert_eq!((Account::KIND, Ledger::KIND), (0, 1));
    let ids: Vec<_> = MODULE.kinds.iter().map(|kind| kind.metadata.id).collect();
    assert_eq!(ids, ["bank/account", "bank/ledger"]);
    assert!(core::ptr::eq(<Account as Exported>::module(), &MODULE));
    assert!(core::ptr::eq(<Ledger as Exported>::module(), &MODULE));
}

#[test]
fn tags_are_unique_over_the_module() {
    assert_eq!(<Account as Handles<Deposit>>::TAG, 0);
    assert_eq!(<Account as Handles<Query>>::TAG, 1);
    assert_eq!(<Ledger as Handles<Note>>::TAG, 2);
    assert_eq!(<Ledger as Handles<u32>>::TAG, 3);
    assert_eq!(<Ledger as Handles<[u8; 3]>>::TAG, 4);
    assert_eq!(MODULE.kinds[0].handlers, [("Deposit", "Balance", 0), ("Query", "Balance", 1)]);
    assert_eq!(MODULE.kinds[1].handlers, [("Note", "Note", 2), ("u32", "Statement", 3), ("[u8; 3]", "()", 4)]);
}

#[test]
fn hooks_are_found_in_whichever_implementation_has_them() {
    let hooks: Vec<_> = MODULE.kinds.iter().map(|kind| (kind.has_initialize, kind.has_shutdown)).collect();
    assert_eq!(hooks, [(true, true), (false, false)]);
}

#[test]
fn the_metadata_is_what_the_attribute_and_the_docs_say() {
    let account = Account { limit: 5, ledger: Address::default(), balance: Resident::new(0) };
    let said = account.metadata();
    assert_eq!((said.id, said.domain, said.version), ("bank/account", "banking", 3));
    assert_eq!(said.description, "An account with a limit.");
    assert!(!said.requires_gpu_native);
    assert_eq!(said.mode.to_string(), "ring");
    let said = Ledger::default();
    assert_eq!((said.metadata().domain, said.metadata().version), ("bank", 1));
    assert_eq!(said.metadata().description, "Keeps the sum of all that it is told.");
    assert_eq!(other::Echo.metadata().description, "Says what it hears.");
}

#[test]
fn validate_is_the_function_that_the_attribute_names() {
    let account = |limit| Account { limit, ledger: Address::default(), balance: Resident::new(0) };
    assert_eq!(account(5).validate(), Ok(()));
    assert_eq!(account(-5).validate(), Err(KernelError::rejected(7)));
    assert_eq!(Ledger::default().validate(), Ok(()));
}

#[test]
fn sizes_hold_for_the_largest() {
    assert_eq!(MODULE.kinds[0].bytes as usize, size_of::<Account>());
    assert_eq!(MODULE.kinds[1].align as usize, align_of::<Ledger>());
    assert_eq!(MODULE.max_lines, lines_for(160));
    assert_eq!(other::exported::MODULE.max_lines, 2);
    assert_eq!(MODULE.future_bytes, __WarpringModule::FUTURE_BYTES);
    // It holds at least what the ask in `Account::handle` does: the message, the address, and two references.
    assert!(MODULE.future_bytes >= 16 + 8 + 16, "{}", MODULE.future_bytes);
}

#[test]
fn the_name_is_the_crate_and_the_path() {
    assert_eq!(MODULE.name, "warpring-macros/export");
    assert_eq!(other::exported::MODULE.name, "warpring-macros/export::other::exported");
}

#[test]
fn fingerprints_differ_where_layouts_do() {
    assert_ne!(MODULE.fingerprint, other::exported::MODULE.fingerprint);
    assert_ne!(<Account as KernelLayout>::FINGERPRINT, <Ledger as KernelLayout>::FINGERPRINT);
    assert_ne!(<TotalsOf<2> as State>::FINGERPRINT, <TotalsOf<3> as State>::FINGERPRINT);
}
