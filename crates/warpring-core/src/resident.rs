//! `Resident<T>`: a field of an actor that lives in device memory from `initialize` to `shutdown`.

use core::cell::UnsafeCell;
use core::fmt;

use crate::fields::{FieldTable, Scalar};
use crate::layout;

/// What may be resident: plain data of the same layout on host and device.
///
/// Derive it: the derive checks every field and computes the fingerprint.
///
/// # Safety
/// The type holds no pointer, reference, `usize` or interior mutability, its layout does not depend on the target,
/// `FINGERPRINT` changes when the layout does, as many bytes as it has are a value of it wherever `valid` says so, and it has no
/// padding, or `PADDED` and `clear_padding` say where.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a ring kernel",
    label = "this is not plain data of the same layout on host and device",
    note = "a kernel's fields, and the content of its `Resident` fields, are fixed-size integers, floats, `bool`, arrays of them, `ActorId`, `Address<K>`, and your own structs and `#[repr(u8)]` enums of these with `#[derive(Clone, Copy, State)]`",
    note = "instead of text or a `Vec` keep a fixed array and a count, instead of `usize` a `u32`; what changes lies in a `Resident<T>` field of the kernel"
)]
pub unsafe trait State: Copy + Send + Sync + 'static {
    /// Hash over size, alignment and fields.
    const FINGERPRINT: u64;
    /// What it is, or each element of it.
    #[doc(hidden)]
    const SCALAR: Scalar = Scalar::Other;
    /// Its fields.
    #[doc(hidden)]
    const FIELDS: &'static [FieldTable] = &[];
    /// Whether some bytes of it belong to no field.
    #[doc(hidden)]
    const PADDED: bool = false;

    /// Whether these bytes, as many as it has, are a value of it.
    #[doc(hidden)]
    fn valid(bytes: &[u8]) -> bool {
        let _ = bytes;
        true
    }

    /// Writes zeros into the bytes that belong to no field, after which all may be read as bytes.
    ///
    /// # Safety
    /// `at` points to a value of it, which belongs to the caller alone.
    #[doc(hidden)]
    unsafe fn clear_padding(at: *mut u8) {
        let _ = at;
    }
}

macro_rules! plain_state {
    ($($t:ty, $scalar:ident, $valid:expr;)*) => {$(
        // SAFETY: a primitive of fixed size, the same on every target; every pattern of bits is a value, of a bool two.
        unsafe impl State for $t {
            const FINGERPRINT: u64 = layout::mix(layout::mix_bytes(layout::EMPTY, stringify!($t).as_bytes()), size_of::<$t>() as u64);
            const SCALAR: Scalar = Scalar::$scalar;
            fn valid(bytes: &[u8]) -> bool {
                let valid: fn(&[u8]) -> bool = $valid;
                valid(bytes)
            }
        }
    )*};
}
plain_state! {
    u8, U8, |_| true;
    u16, U16, |_| true;
    u32, U32, |_| true;
    u64, U64, |_| true;
    i8, I8, |_| true;
    i16, I16, |_| true;
    i32, I32, |_| true;
    i64, I64, |_| true;
    f32, F32, |_| true;
    f64, F64, |_| true;
    bool, Bool, |bytes| matches!(bytes, [0 | 1]);
}

// SAFETY: an array of State has no padding of its own and the layout of its elements.
unsafe impl<T: State, const N: usize> State for [T; N] {
    const FINGERPRINT: u64 = layout::mix(layout::mix(T::FINGERPRINT, 0xa77a), N as u64);
    const SCALAR: Scalar = T::SCALAR;
    const PADDED: bool = T::PADDED;
    fn valid(bytes: &[u8]) -> bool {
        bytes.chunks_exact(size_of::<T>().max(1)).all(T::valid)
    }
    unsafe fn clear_padding(at: *mut u8) {
        for index in 0..N {
            // SAFETY: contract, for each element.
            unsafe { T::clear_padding(at.add(index * size_of::<T>())) }
        }
    }
}

/// A piece of an actor's state. Only the context can open it: [`RingContext::read`](crate::RingContext::read) and
/// [`RingContext::update`](crate::RingContext::update).
#[repr(transparent)]
pub struct Resident<T: State>(UnsafeCell<T>);

impl<T: State> Resident<T> {
    /// The value that the state has before `initialize`.
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The value, while nobody runs the actor.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }

    #[inline(always)]
    pub(crate) const fn get(&self) -> *mut T {
        self.0.get()
    }
}

impl<T: State + Default> Default for Resident<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: State> From<T> for Resident<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: State> fmt::Debug for Resident<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value belongs to the worker that runs the actor, so it cannot be read here.
        f.write_str("Resident(..)")
    }
}

// SAFETY: the content is opened only through a RingContext, which checks that the field belongs to the actor whose message
// it handles, and an actor is run by one worker at a time.
unsafe impl<T: State> Sync for Resident<T> {}
