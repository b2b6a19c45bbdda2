//! The macros of Warpring: `derive(RingMessage)`, `derive(State)`, `derive(RingKernel)` and `export!`.
//!
//! Users name the crate `warpring`, which exports them. One file per macro; `plain.rs` has the errors that teach what may be in
//! a message or a state. What the macros write is `no_std`, names only `::warpring`, and leaves all that can be generic to
//! `warpring_core::module`, so that it is tables and little else.

mod export;
mod path;
mod plain;
mod ring_kernel;
mod ring_message;
mod state;

use proc_macro::TokenStream;

fn finish(expansion: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expansion.unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Implements `RingMessage`: the type can be sent in a ring.
///
/// For structs whose fields are ring messages (const parameters are fine, type parameters are not), and for enums without fields
/// that have `#[repr(u8)]`, `#[repr(u16)]` or `#[repr(u32)]`. The type must be `Copy`. At most 424 bytes.
///
/// The encoding is that of C with zeroed padding. Decoding checks: an unknown number of an enum, or a `bool` that is 2, is
/// `Malformed`.
///
/// ```
/// use warpring::prelude::*;
///
/// #[derive(Clone, Copy, RingMessage)]
/// #[repr(u8)]
/// enum Side {
///     Buy,
///     Sell,
/// }
///
/// #[derive(Clone, Copy, RingMessage)]
/// struct Order {
///     side: Side,
///     price: i64,
///     lots: [u32; 4],
/// }
/// ```
///
/// `#[ring_message(crate = path)]` names the crate `warpring` where it is not `::warpring`.
#[proc_macro_derive(RingMessage, attributes(ring_message))]
pub fn ring_message(input: TokenStream) -> TokenStream {
    finish(syn::parse(input).and_then(|input| ring_message::expand(&input)))
}

/// Implements `State`: the type can lie in a `Resident<T>` field of a kernel, or be a field that does not change.
///
/// For structs whose fields are state (const parameters are fine, type parameters are not), and for enums without fields that have
/// `#[repr(u8)]`, `#[repr(u16)]` or `#[repr(u32)]`. The type must be `Copy`. Padding is allowed, and `#[repr(C)]` is not needed:
/// the fingerprint holds the offset of each field, and a module whose two sides differ in one is not launched.
///
/// ```
/// use warpring::prelude::*;
///
/// #[derive(Clone, Copy, State)]
/// struct Window {
///     sums: [f64; 16],
///     head: u32,
/// }
/// ```
///
/// `#[state(crate = path)]` names the crate `warpring` where it is not `::warpring`.
#[proc_macro_derive(State, attributes(state))]
pub fn state(input: TokenStream) -> TokenStream {
    finish(syn::parse(input).and_then(|input| state::expand(&input)))
}

/// Implements `GpuKernel`: the struct is a ring kernel.
///
/// Its fields are plain data (`State`), which does not change, or `Resident<T>` of plain data, which the context opens. The struct
/// must be `Debug`, and is never dropped.
///
/// `#[ring_kernel(..)]` takes:
///
/// | key | value | default |
/// |---|---|---|
/// | `id` | `"domain/name"`, stable over versions | none: it must be given |
/// | `domain` | field of use | the part of `id` before `/` |
/// | `version` | grows when messages or state change | 1 |
/// | `description` | one sentence | the first line of the doc comment |
/// | `requires_gpu_native` | the kernel is of no use without a GPU | `false` |
/// | `validate` | a `fn(&Self) -> Result<()>` that checks the configuration when an actor is launched | all is valid |
/// | `crate` | the crate `warpring` | `::warpring` |
///
/// ```
/// use warpring::prelude::*;
///
/// /// An account with a limit.
/// #[derive(Debug, RingKernel)]
/// #[ring_kernel(id = "bank/account", version = 2)]
/// struct Account {
///     limit: i64,
///     balance: Resident<i64>,
/// }
///
/// let account = Account { limit: 500, balance: Resident::new(0) };
/// assert_eq!(account.id(), "bank/account");
/// assert_eq!(account.metadata().domain, "bank");
/// assert_eq!(account.metadata().description, "An account with a limit.");
/// ```
#[proc_macro_derive(RingKernel, attributes(ring_kernel))]
pub fn ring_kernel(input: TokenStream) -> TokenStream {
    finish(syn::parse(input).and_then(|input| ring_kernel::expand(&input)))
}

/// Exports kernels together: writes `pub static MODULE`, which `Runtime::builder().module(&MODULE)` takes.
///
/// Names each kernel and, in braces, its messages and their replies. Commas and doc comments are optional. A kernel is exported
/// once, by its own crate; actors can ask each other within one export.
///
/// ```
/// use warpring::prelude::*;
///
/// #[derive(Clone, Copy, RingMessage)]
/// struct Add {
///     n: u64,
/// }
///
/// #[derive(Debug, RingKernel)]
/// #[ring_kernel(id = "demo/sum")]
/// struct Sum {
///     total: Resident<u64>,
/// }
///
/// impl RingKernelHandler<Add, u64> for Sum {
///     async fn handle(&self, ctx: &mut RingContext<'_>, add: Add) -> Result<u64> {
///         Ok(ctx.update(&self.total, |total| {
///             *total += add.n;
///             *total
///         }))
///     }
/// }
///
/// warpring::export! {
///     Sum { Add => u64 }
/// }
/// # fn main() {
/// assert_eq!(MODULE.kinds[0].metadata.id, "demo/sum");
/// # }
/// ```
///
/// `crate = path;` in front names the crate `warpring` where it is not `::warpring`. After it, `ptx = text;` gives the PTX module that
/// `warpring-build` made from the crate, for example `ptx = include_str!(concat!(env!("OUT_DIR"), "/kernels.ptx"));`: with it the
/// kernels run on a GPU, too.
#[proc_macro]
pub fn export(input: TokenStream) -> TokenStream {
    finish(syn::parse(input).map(|module| export::expand(&module)))
}
