//! Whether a saved kind has the layout that its kernel has here, and if not, which field is another.

use std::fmt;

use warpring_core::module::{KindTable, ModuleTable};
use warpring_core::{FieldTable, Scalar};

/// A field of a saved kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedField {
    /// Its name; that of a field in a field after its holder's and a point.
    pub name: String,
    /// Its type, as the source said it.
    pub ty: String,
    /// Where it begins in the state.
    pub offset: u32,
    /// Its bytes.
    pub bytes: u32,
    /// Hash over its type.
    pub fingerprint: u64,
    /// What it is, or each element of it, where it is an array.
    pub scalar: Scalar,
    /// In how many fields it lies.
    pub depth: u8,
}

/// A kind of actor, as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SavedKind {
    /// The kernel's id.
    pub id: String,
    /// The kernel's version.
    pub version: u32,
    /// Bytes of each state.
    pub bytes: u32,
    /// Its alignment.
    pub align: u32,
    /// Hash over its layout.
    pub fingerprint: u64,
    /// Its fields, each before those in it.
    pub fields: Vec<SavedField>,
}

/// A saved kind has not the layout that its kernel has here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutError {
    /// The kernel's id.
    pub kind: String,
    /// What is different.
    pub difference: LayoutDifference,
}

/// The first difference between a saved layout and one here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayoutDifference {
    /// The module has no kernel with this id.
    NoSuchKind {
        /// The module.
        module: &'static str,
    },
    /// The field is not there any more, or has another name.
    FieldRemoved {
        /// Its name.
        field: String,
        /// Its type.
        ty: String,
    },
    /// The field was not there.
    FieldAdded {
        /// Its name.
        field: String,
        /// Its type.
        ty: String,
    },
    /// The field has another type.
    FieldRetyped {
        /// Its name.
        field: String,
        /// The type that was saved.
        saved: String,
        /// The type here.
        here: String,
    },
    /// The field lies elsewhere.
    FieldMoved {
        /// Its name.
        field: String,
        /// The offset that was saved.
        saved: u32,
        /// The offset here.
        here: u32,
    },
    /// The fields are the same, but there are more or fewer bytes behind or between them.
    Size {
        /// Bytes and alignment that were saved.
        saved: (u32, u32),
        /// Bytes and alignment here.
        here: (u32, u32),
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, difference } = self;
        match difference {
            LayoutDifference::NoSuchKind { module } => write!(f, "module `{module}` has no kernel `{kind}`"),
            LayoutDifference::FieldRemoved { field, ty } => {
                write!(f, "kernel `{kind}` has no field `{field}: {ty}` any more, or it has another name")
            }
            LayoutDifference::FieldAdded { field, ty } => {
                write!(f, "kernel `{kind}` has a field `{field}: {ty}` that was not saved")
            }
            LayoutDifference::FieldRetyped { field, saved, here } if saved == here => {
                write!(f, "field `{field}: {here}` of kernel `{kind}` has another layout than was saved")
            }
            LayoutDifference::FieldRetyped { field, saved, here } => {
                write!(f, "field `{field}` of kernel `{kind}` was saved as `{saved}` and is `{here}` here")
            }
            LayoutDifference::FieldMoved { field, saved, here } => {
                write!(f, "field `{field}` of kernel `{kind}` was saved at byte {saved} and is at byte {here} here")
            }
            LayoutDifference::Size { saved: (bytes, align), here: (bytes_here, align_here) } => write!(
                f,
                "kernel `{kind}` was saved with {bytes} bytes aligned to {align} and has {bytes_here} aligned to {align_here} here"
            ),
        }
    }
}
impl std::error::Error for LayoutError {}

impl SavedKind {
    pub(super) fn of(kind: &KindTable) -> Self {
        let mut fields = Vec::new();
        add(&mut fields, kind.fields, "", 0, 0);
        Self {
            id: kind.metadata.id.to_owned(),
            version: kind.metadata.version,
            bytes: kind.bytes,
            align: kind.align,
            fingerprint: kind.fingerprint,
            fields,
        }
    }

    /// The kernel of a module whose layout is the saved one: its number.
    pub(super) fn find(&self, module: &ModuleTable) -> Result<u16, LayoutError> {
        let Some(number) = module.kinds.iter().position(|kind| kind.metadata.id == self.id) else {
            let difference = LayoutDifference::NoSuchKind { module: module.name };
            return Err(LayoutError { kind: self.id.clone(), difference });
        };
        self.matches(&module.kinds[number])?;
        Ok(number as u16)
    }

    /// Whether a kernel here has the saved layout.
    pub(super) fn matches(&self, kind: &KindTable) -> Result<(), LayoutError> {
        let here = Self::of(kind);
        let size = || {
            let (saved, here) = ((self.bytes, self.align), (here.bytes, here.align));
            (saved != here).then_some(LayoutDifference::Size { saved, here })
        };
        match difference(&self.fields, &here.fields, 0).or_else(size) {
            Some(difference) => Err(LayoutError { kind: self.id.clone(), difference }),
            None => Ok(()),
        }
    }
}

fn add(to: &mut Vec<SavedField>, fields: &[FieldTable], holder: &str, offset: u32, depth: u8) {
    for field in fields {
        let name = format!("{holder}{}", field.name);
        let offset = offset + field.offset;
        to.push(SavedField {
            name: name.clone(),
            ty: field.ty.to_owned(),
            offset,
            bytes: field.bytes,
            fingerprint: field.fingerprint,
            scalar: field.scalar,
            depth,
        });
        add(to, field.fields, &format!("{name}."), offset, depth.saturating_add(1));
    }
}

/// The fields of a depth, each with those in it.
fn level(fields: &[SavedField], depth: u8) -> impl Iterator<Item = (&SavedField, &[SavedField])> {
    fields.iter().enumerate().filter(move |(_, field)| field.depth == depth).map(move |(i, field)| {
        let rest = &fields[i + 1..];
        let inner = rest.iter().take_while(|field| field.depth > depth).count();
        (field, &rest[..inner])
    })
}

/// What was removed, retyped or added comes before what only moved because of that.
fn difference(saved: &[SavedField], here: &[SavedField], depth: u8) -> Option<LayoutDifference> {
    let same = |of: &[SavedField], name: &str| level(of, depth).position(|(field, _)| field.name == name);
    for (field, inside) in level(saved, depth) {
        let Some((now, now_inside)) = level(here, depth).find(|(now, _)| now.name == field.name) else {
            return Some(LayoutDifference::FieldRemoved { field: field.name.clone(), ty: field.ty.clone() });
        };
        if field.fingerprint != now.fingerprint || field.bytes != now.bytes {
            let inner = if inside.is_empty() || now_inside.is_empty() {
                None
            } else {
                difference(inside, now_inside, depth.saturating_add(1))
            };
            return Some(inner.unwrap_or_else(|| LayoutDifference::FieldRetyped {
                field: field.name.clone(),
                saved: field.ty.clone(),
                here: now.ty.clone(),
            }));
        }
    }
    if let Some((added, _)) = level(here, depth).find(|(now, _)| same(saved, &now.name).is_none()) {
        return Some(LayoutDifference::FieldAdded { field: added.name.clone(), ty: added.ty.clone() });
    }
    level(saved, depth).zip(level(here, depth)).find_map(|((field, _), _)| {
        let (now, _) = level(here, depth).find(|(now, _)| now.name == field.name)?;
        (field.offset != now.offset).then(|| LayoutDifference::FieldMoved {
            field: field.name.clone(),
            saved: field.offset,
            here: now.offset,
        })
    })
}
