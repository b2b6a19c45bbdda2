//! What a kernel's value is made of, field by field: for whoever reads or compares states without their types.

use crate::module::KernelField;

/// A plain number or truth value, as bytes without a type are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Scalar {
    /// None of these: a struct, an id, or bytes.
    #[default]
    Other = 0,
    /// `bool`.
    Bool,
    /// `u8`.
    U8,
    /// `u16`.
    U16,
    /// `u32`.
    U32,
    /// `u64`.
    U64,
    /// `i8`.
    I8,
    /// `i16`.
    I16,
    /// `i32`.
    I32,
    /// `i64`.
    I64,
    /// `f32`.
    F32,
    /// `f64`.
    F64,
}

/// A field of a kernel, or of a state in it.
#[derive(Clone, Copy, Debug)]
pub struct FieldTable {
    /// Its name, or its number in a tuple struct.
    pub name: &'static str,
    /// Its type, as the source says it.
    pub ty: &'static str,
    /// Where it begins, in whatever it is a field of.
    pub offset: u32,
    /// Its bytes.
    pub bytes: u32,
    /// Hash over its type.
    pub fingerprint: u64,
    /// What it is, or each element of it, where it is an array.
    pub scalar: Scalar,
    /// Its own fields.
    pub fields: &'static [FieldTable],
}

impl FieldTable {
    /// The field of type `T`. For the derives.
    #[doc(hidden)]
    pub const fn new<T: KernelField>(name: &'static str, ty: &'static str, offset: usize) -> Self {
        Self {
            name,
            ty,
            offset: offset as u32,
            bytes: size_of::<T>() as u32,
            fingerprint: T::FINGERPRINT,
            scalar: T::SCALAR,
            fields: T::FIELDS,
        }
    }
}
