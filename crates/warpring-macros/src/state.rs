//! `derive(State)`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Member};

use crate::path;
use crate::plain::{self, Holder};

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let core = path::of_derive(&input.attrs, "state")?;
    plain::check_generics(&input.generics, "State")?;
    let name = &input.ident;
    let text = name.to_string();
    let mut scalar = None;
    // The fingerprint's statements, the fields, what shows that bytes are a value, and what no field covers.
    let (parts, table, valid, padding) = match &input.data {
        Data::Struct(data) => {
            plain::check_fields(&data.fields, Holder::State)?;
            (
                fields_fingerprint(&data.fields, &core, |ty| quote_spanned!(ty.span()=> <#ty as #core::State>::FINGERPRINT)),
                field_table(&data.fields, &core),
                fields_valid(&data.fields, &core),
                fields_padding(&data.fields, &core),
            )
        }
        Data::Enum(data) => {
            let (integer, variants) = plain::plain_enum(input, data, Holder::State)?;
            let names = variants.iter().map(|variant| variant.to_string());
            let fingerprint = quote! {
                let hash = #core::layout::mix(hash, <#integer as #core::State>::FINGERPRINT);
                #(let hash = #core::layout::mix(#core::layout::mix_bytes(hash, #names.as_bytes()), #name::#variants as u64);)*
            };
            let valid = quote! {
                <[u8; ::core::mem::size_of::<#integer>()] as ::core::convert::TryFrom<&[u8]>>::try_from(bytes).is_ok_and(|bytes| {
                    let number = #integer::from_ne_bytes(bytes);
                    [#(#name::#variants as #integer),*].contains(&number)
                })
            };
            scalar = Some(quote!(const SCALAR: #core::Scalar = <#integer as #core::State>::SCALAR;));
            (fingerprint, quote!(&[]), valid, TokenStream::new())
        }
        Data::Union(data) => {
            return Err(Error::new_spanned(
                data.union_token,
                "a union does not say which of its fields is there; use a struct with a `#[repr(u8)]` enum that says which case it is",
            ));
        }
    };
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        const _: () = {
            // SAFETY: every field is `State` (its fingerprint is taken through that trait), or it is an enum of fixed size; the
            // fingerprint holds the size, the alignment and every offset.
            #[automatically_derived]
            unsafe impl #impl_generics #core::State for #name #ty_generics #where_clause {
                const FINGERPRINT: u64 = {
                    let hash = #core::layout::mix_bytes(#core::layout::EMPTY, #text.as_bytes());
                    let hash = #core::layout::mix(hash, ::core::mem::size_of::<Self>() as u64);
                    let hash = #core::layout::mix(hash, ::core::mem::align_of::<Self>() as u64);
                    #parts
                    hash
                };
                #scalar
                const FIELDS: &'static [#core::FieldTable] = #table;
                #padding

                #[cfg(not(target_arch = "nvptx64"))]
                fn valid(bytes: &[u8]) -> bool {
                    #valid
                }
            }
        };
    })
}

fn names(fields: &Fields) -> Vec<String> {
    let name = |member| match member {
        Member::Named(ident) => ident.to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    };
    fields.members().map(name).collect()
}

/// The table of the fields of `Self`.
pub(crate) fn field_table(fields: &Fields, core: &TokenStream) -> TokenStream {
    let rows = fields.members().zip(names(fields)).zip(fields).map(|((member, name), field)| {
        let (ty, text) = (&field.ty, plain::spell(&field.ty));
        quote_spanned!(ty.span()=> #core::FieldTable::new::<#ty>(#name, #text, ::core::mem::offset_of!(Self, #member)))
    });
    quote!(&[#(#rows),*])
}

/// Whether `Self` has bytes that belong to no field, and how they become zeros.
pub(crate) fn fields_padding(fields: &Fields, core: &TokenStream) -> TokenStream {
    let spans = fields.members().zip(fields).map(|(member, field)| {
        let ty = &field.ty;
        quote_spanned!(ty.span()=> (::core::mem::offset_of!(Self, #member), ::core::mem::size_of::<#ty>()))
    });
    let spans = quote!(&[#(#spans),*]);
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let members = fields.members();
    quote! {
        const PADDED: bool = #core::padding::leave_gaps(::core::mem::size_of::<Self>(), #spans)
            #(|| <#types as #core::module::KernelField>::PADDED)*;

        unsafe fn clear_padding(at: *mut u8) {
            if Self::PADDED {
                // SAFETY: contract; each field is a value where it lies.
                unsafe {
                    #core::padding::clear_gaps(at, ::core::mem::size_of::<Self>(), #spans);
                    #(<#types as #core::module::KernelField>::clear_padding(at.add(::core::mem::offset_of!(Self, #members)));)*
                }
            }
        }
    }
}

/// Whether `bytes` are values of all fields of `Self`.
pub(crate) fn fields_valid(fields: &Fields, core: &TokenStream) -> TokenStream {
    let checks = fields.members().zip(fields).map(|(member, field)| {
        let ty = &field.ty;
        quote_spanned! {ty.span()=>
            bytes
                .get(::core::mem::offset_of!(Self, #member)..)
                .and_then(|bytes| bytes.get(..::core::mem::size_of::<#ty>()))
                .is_some_and(<#ty as #core::module::KernelField>::valid)
        }
    });
    quote!(bytes.len() == ::core::mem::size_of::<Self>() #(&& #checks)*)
}

/// Statements that mix the name, the offset and the type of each field of `Self` into `hash`.
pub(crate) fn fields_fingerprint(
    fields: &Fields,
    core: &TokenStream,
    of_type: impl Fn(&syn::Type) -> TokenStream,
) -> TokenStream {
    let members: Vec<Member> = fields.members().collect();
    let names = names(fields);
    let prints = fields.iter().map(|field| of_type(&field.ty));
    quote! {
        #(
            let hash = #core::layout::mix_bytes(hash, #names.as_bytes());
            let hash = #core::layout::mix(hash, ::core::mem::offset_of!(Self, #members) as u64);
            let hash = #core::layout::mix(hash, #prints);
        )*
    }
}
