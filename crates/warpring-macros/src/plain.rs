//! What cannot be plain data, judged by the name of the type: the errors that say what to write instead. A type that has no
//! rule here is judged by the traits, whose `on_unimplemented` notes say the same in general words.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Error, Fields, GenericArgument, Generics, PathArguments, Type};

/// What the field is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    Message,
    State,
    Kernel,
}

impl Holder {
    fn is(self) -> &'static str {
        match self {
            Self::Message => "a ring message is plain data that may cross to another device",
            Self::State => "state is plain data that lies in device memory",
            Self::Kernel => "a ring kernel is plain data that lies in device memory",
        }
    }

    /// What a message says and state keeps where the thing itself is impossible.
    fn index(self) -> &'static str {
        match self {
            Self::Message => "send an index",
            Self::State | Self::Kernel => "store an index",
        }
    }

    fn derive(self) -> &'static str {
        match self {
            Self::Message => "RingMessage",
            Self::State | Self::Kernel => "State",
        }
    }
}

/// Tokens as a reader would write them.
pub(crate) fn spell(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" < ", "<"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ;", ";"),
        (" ,", ","),
        ("& ", "&"),
        ("* const", "*const"),
        ("* mut", "*mut"),
    ] {
        text = text.replace(from, to);
    }
    text
}

/// Checks every field and returns all errors at once.
pub(crate) fn check_fields(fields: &Fields, holder: Holder) -> Result<(), Error> {
    collect(fields.iter().filter_map(|field| check(&field.ty, holder).err()))
}

/// All errors in one, or none.
pub(crate) fn collect(errors: impl IntoIterator<Item = Error>) -> Result<(), Error> {
    let all = errors.into_iter().reduce(|mut all, next| {
        all.combine(next);
        all
    });
    all.map_or(Ok(()), Err)
}

fn check(ty: &Type, holder: Holder) -> Result<(), Error> {
    let name = spell(ty);
    let index = holder.index();
    let no = |what: String, cure: String| Err(Error::new_spanned(ty, format!("{}: `{name}` {what}; {cure}", holder.is())));
    match ty {
        Type::Array(array) => check(&array.elem, holder),
        Type::Paren(inner) => check(&inner.elem, holder),
        Type::Group(inner) => check(&inner.elem, holder),
        Type::Reference(reference) => {
            let text = matches!(&*reference.elem, Type::Path(path) if path.path.is_ident("str"));
            let cure = if text {
                format!("use a fixed array `[u8; N]`, or keep the text on the host and {index}")
            } else {
                format!("put the value itself here, or {index} or an `Address<K>`")
            };
            no("is a pointer".into(), cure)
        }
        Type::Ptr(_) => no("is a pointer".into(), format!("put the value itself here, or {index} or an `Address<K>`")),
        Type::BareFn(_) => no("is a pointer to code".into(), "use a `#[repr(u8)]` enum that says which function is meant".into()),
        Type::Slice(_) => no("has no fixed size".into(), "use a fixed array `[T; N]` and a count".into()),
        Type::TraitObject(_) | Type::ImplTrait(_) => no("is not one type with one layout".into(), "name the type".into()),
        Type::Tuple(tuple) if !tuple.elems.is_empty() => no(
            "is laid out as the compiler likes".into(),
            format!("name its parts in a struct with `#[derive(Clone, Copy, {})]`", holder.derive()),
        ),
        Type::Path(path) => {
            let Some(last) = path.path.segments.last() else { return Ok(()) };
            let inner = match &last.arguments {
                PathArguments::AngleBracketed(arguments) => arguments.args.iter().find_map(|argument| match argument {
                    GenericArgument::Type(ty) => Some(ty),
                    _ => None,
                }),
                _ => None,
            };
            let ident = last.ident.to_string();
            // Names of the standard library are taken for what they are there; those that take a type only where one is given,
            // so that a type of the user's with such a name is left to the traits.
            match (ident.as_str(), inner) {
                ("String" | "OsString" | "CString" | "PathBuf" | "str", None) => no(
                    "has a pointer in it".into(),
                    format!("use a fixed array `[u8; N]`, or keep the text on the host and {index}"),
                ),
                ("Vec" | "VecDeque", Some(item)) => {
                    no("has a pointer in it".into(), format!("use a fixed array `[{}; N]` and a count", spell(item)))
                }
                ("HashMap" | "BTreeMap" | "HashSet" | "BTreeSet" | "BinaryHeap" | "LinkedList", Some(_)) => {
                    no("has pointers in it".into(), "use a fixed array of entries and a count".into())
                }
                ("Box" | "Rc" | "Arc" | "Cow" | "NonNull" | "Weak", Some(_)) => {
                    no("has a pointer in it".into(), format!("put the value itself here, or {index} or an `Address<K>`"))
                }
                ("usize" | "isize", None) => {
                    let fixed = if ident == "usize" { "`u32` or `u64`" } else { "`i32` or `i64`" };
                    no("has a size that depends on the machine".into(), format!("use {fixed}"))
                }
                ("u128" | "i128", None) => no("is aligned differently on different machines".into(), "use `[u64; 2]`".into()),
                ("char", None) => no("is not a plain number".into(), "use a `u32` and `char::from_u32`".into()),
                ("Option", Some(item)) => no(
                    "is laid out as the compiler likes".into(),
                    format!("use a `{}` and a `bool` beside it, or a value that means none", spell(item)),
                ),
                ("Result", Some(_)) => {
                    no("is laid out as the compiler likes".into(), "use the value and a code beside it".into())
                }
                ("Duration" | "Instant" | "SystemTime", None) => {
                    no("is laid out as the compiler likes".into(), "use a `u64` of nanoseconds".into())
                }
                ("Cell" | "RefCell" | "UnsafeCell" | "OnceCell" | "Mutex" | "RwLock", Some(item)) if holder == Holder::Kernel => {
                    no(
                        "is changed behind `&self`".into(),
                        format!("use `Resident<{}>`, and change it in `ctx.update`", spell(item)),
                    )
                }
                ("Cell" | "RefCell" | "UnsafeCell" | "OnceCell" | "Mutex" | "RwLock", Some(item)) => {
                    no("is changed behind `&self`".into(), format!("use a plain `{}`", spell(item)))
                }
                (atomic, None) if ATOMICS.contains(&atomic) => {
                    let cure = if holder == Holder::Kernel {
                        "use a `Resident` number, and change it in `ctx.update`"
                    } else {
                        "use a plain number"
                    };
                    no("is changed behind `&self`".into(), cure.into())
                }
                ("Resident", Some(item)) => match holder {
                    Holder::Kernel => check(item, Holder::State),
                    Holder::Message => no("belongs to one actor".into(), format!("send its value, a `{}`", spell(item))),
                    Holder::State => no(
                        "cannot be inside another state".into(),
                        format!("make it a field of the kernel, or use a plain `{}` here", spell(item)),
                    ),
                },
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

const ATOMICS: &[&str] = &[
    "AtomicBool",
    "AtomicU8",
    "AtomicU16",
    "AtomicU32",
    "AtomicU64",
    "AtomicUsize",
    "AtomicI8",
    "AtomicI16",
    "AtomicI32",
    "AtomicI64",
    "AtomicIsize",
];

/// Only const parameters: a type parameter would make the layout unknown to the other side.
pub(crate) fn check_generics(generics: &Generics, derive: &str) -> Result<(), Error> {
    collect(generics.params.iter().filter_map(|parameter| {
        let why = match parameter {
            syn::GenericParam::Const(_) => return None,
            syn::GenericParam::Type(_) => {
                "its layout must be known: write a struct for each type that it is used with (const parameters are fine)"
            }
            syn::GenericParam::Lifetime(_) => "it is plain data without references, so a lifetime has nothing to bind",
        };
        Some(Error::new(parameter.span(), format!("derive({derive}) takes no such parameter: {why}")))
    }))
}

/// The unsigned integer of `#[repr(..)]`, and whether the type is packed.
pub(crate) struct Repr {
    pub(crate) integer: Option<syn::Ident>,
    pub(crate) packed: Option<proc_macro2::Span>,
}

impl Repr {
    pub(crate) fn of(attributes: &[syn::Attribute]) -> Result<Self, Error> {
        let mut repr = Self { integer: None, packed: None };
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("repr")) {
            attribute.parse_nested_meta(|meta| {
                if let Some(ident) = meta.path.get_ident() {
                    if ident == "u8" || ident == "u16" || ident == "u32" {
                        repr.integer = Some(ident.clone());
                    } else if ident == "packed" {
                        repr.packed = Some(ident.span());
                    }
                }
                if meta.input.peek(syn::token::Paren) {
                    let inside;
                    syn::parenthesized!(inside in meta.input);
                    inside.parse::<TokenStream>()?;
                }
                Ok(())
            })?;
        }
        Ok(repr)
    }
}

/// The integer of an enum without fields, or what is wrong with it.
pub(crate) fn plain_enum<'a>(
    input: &syn::DeriveInput,
    data: &'a syn::DataEnum,
    holder: Holder,
) -> Result<(syn::Ident, Vec<&'a syn::Ident>), Error> {
    let name = &input.ident;
    collect(data.variants.iter().filter(|variant| !matches!(variant.fields, Fields::Unit)).map(|variant| {
        let cure = match holder {
            Holder::Message => "send a struct with a `#[repr(u8)]` enum that says which case it is and the data beside it, or a message type for each case",
            Holder::State | Holder::Kernel => "use a struct with a `#[repr(u8)]` enum that says which case it is and the data beside it",
        };
        Error::new_spanned(variant, format!("an enum with data is laid out as the compiler likes; {cure}"))
    }))?;
    if data.variants.is_empty() {
        return Err(Error::new_spanned(name, format!("`{name}` has no variants, so there is no value of it")));
    }
    let Some(integer) = Repr::of(&input.attrs)?.integer else {
        return Err(Error::new_spanned(
            name,
            format!("the numbers of `{name}` must be the same on both sides: add `#[repr(u8)]` (or u16, u32) above the enum"),
        ));
    };
    Ok((integer, data.variants.iter().map(|variant| &variant.ident).collect()))
}
