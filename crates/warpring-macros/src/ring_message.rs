//! `derive(RingMessage)`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DataStruct, DeriveInput, Error, Member};

use crate::path;
use crate::plain::{self, Holder, Repr};

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let core = path::of_derive(&input.attrs, "ring_message")?;
    let generics = plain::check_generics(&input.generics, "RingMessage");
    if let Data::Struct(data) = &input.data {
        plain::collect(generics.err().into_iter().chain(plain::check_fields(&data.fields, Holder::Message).err()))?;
    } else {
        generics?;
    }
    match &input.data {
        Data::Struct(data) => of_struct(input, data, &core),
        Data::Enum(data) => {
            let (integer, variants) = plain::plain_enum(input, data, Holder::Message)?;
            Ok(of_enum(input, &integer, &variants, &core))
        }
        Data::Union(data) => Err(Error::new_spanned(
            data.union_token,
            "a union does not say which of its fields is there; send a struct with a `#[repr(u8)]` enum that says which case it is",
        )),
    }
}

fn of_struct(input: &DeriveInput, data: &DataStruct, core: &TokenStream) -> syn::Result<TokenStream> {
    if let Some(packed) = Repr::of(&input.attrs)?.packed {
        return Err(Error::new(packed, "a ring message is encoded field by field, whatever its own layout: remove `packed`"));
    }
    let name = &input.ident;
    let text = name.to_string();
    let (impl_generics, ty_generics, where_clause) = input.generics.split_for_impl();
    let types: Vec<_> = data.fields.iter().map(|field| &field.ty).collect();
    let members: Vec<Member> = data.fields.members().collect();
    let names = members.iter().map(|member| match member {
        Member::Named(ident) => ident.to_string(),
        Member::Unnamed(index) => index.index.to_string(),
    });
    let message: Vec<_> = types.iter().map(|ty| quote_spanned!(ty.span()=> <#ty as #core::RingMessage>)).collect();
    let count = types.len();
    let list = quote!(&[#((#message::SIZE, #message::ALIGN)),*]);
    // A constant of the impl's own would be visible in the user's type, and a free one cannot name const parameters.
    let (fields_const, fields) = if input.generics.params.is_empty() {
        (quote!(const __WARPRING_FIELDS: &[(usize, usize)] = #list;), quote!(__WARPRING_FIELDS))
    } else {
        (TokenStream::new(), list)
    };
    let too_large = input.generics.params.is_empty().then(|| {
        quote_spanned! {name.span()=>
            const _: () = if #core::message::field_offset(__WARPRING_FIELDS, #count) > #core::message::MAX_PAYLOAD {
                ::core::panic!("a ring message holds at most 424 bytes: send it in parts, or keep it in resident state and send an index")
            };
        }
    });
    let at: Vec<_> = (0..count).map(|i| quote!(const { #core::message::field_offset(#fields, #i) })).collect();
    let end: Vec<_> = message
        .iter()
        .enumerate()
        .map(|(i, message)| quote!(const { #core::message::field_offset(#fields, #i) + #message::SIZE }))
        .collect();
    Ok(quote! {
        const _: () = {
            #fields_const
            #[automatically_derived]
            impl #impl_generics #core::RingMessage for #name #ty_generics #where_clause {
                const SIZE: usize = #core::message::field_offset(#fields, #count);
                const ALIGN: usize = #core::message::field_align(#fields);
                const FINGERPRINT: u64 = {
                    let hash = #core::layout::mix_bytes(#core::layout::EMPTY, #text.as_bytes());
                    #(let hash = #core::layout::mix(#core::layout::mix_bytes(hash, #names.as_bytes()), #message::FINGERPRINT);)*
                    hash
                };
                #[inline(always)]
                #[allow(unused_variables)]
                fn encode(&self, out: &mut [u8]) {
                    #(#message::encode(&self.#members, &mut out[#at..#end]);)*
                }
                #[inline(always)]
                #[allow(unused_variables)]
                fn decode(bytes: &[u8]) -> ::core::result::Result<Self, #core::Malformed> {
                    ::core::result::Result::Ok(Self { #(#members: #message::decode(&bytes[#at..#end])?),* })
                }
            }
            #too_large
        };
    })
}

fn of_enum(input: &DeriveInput, integer: &syn::Ident, variants: &[&syn::Ident], core: &TokenStream) -> TokenStream {
    let name = &input.ident;
    let text = name.to_string();
    let names = variants.iter().map(|variant| variant.to_string());
    quote! {
        const _: () = {
            #[automatically_derived]
            impl #core::RingMessage for #name {
                const SIZE: usize = <#integer as #core::RingMessage>::SIZE;
                const ALIGN: usize = <#integer as #core::RingMessage>::ALIGN;
                const FINGERPRINT: u64 = {
                    let hash = #core::layout::mix_bytes(#core::layout::EMPTY, #text.as_bytes());
                    let hash = #core::layout::mix(hash, <#integer as #core::RingMessage>::FINGERPRINT);
                    #(let hash = #core::layout::mix(#core::layout::mix_bytes(hash, #names.as_bytes()), #name::#variants as u64);)*
                    hash
                };
                #[inline(always)]
                fn encode(&self, out: &mut [u8]) {
                    <#integer as #core::RingMessage>::encode(&(*self as #integer), out)
                }
                #[inline(always)]
                fn decode(bytes: &[u8]) -> ::core::result::Result<Self, #core::Malformed> {
                    // Compared before the value is made: a number without a variant would be undefined behaviour.
                    let number = <#integer as #core::RingMessage>::decode(bytes)?;
                    #(if number == #name::#variants as #integer {
                        return ::core::result::Result::Ok(#name::#variants);
                    })*
                    ::core::result::Result::Err(#core::Malformed)
                }
            }
        };
    }
}
