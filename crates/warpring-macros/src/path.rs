//! Where the generated code finds the framework.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Error, Path, Token};

/// The path of `warpring_core` by way of `warpring`.
pub(crate) fn core(warpring: Option<&Path>) -> TokenStream {
    match warpring {
        Some(path) => quote!(#path::__private::warpring_core),
        None => quote!(::warpring::__private::warpring_core),
    }
}

/// `#[name(crate = path)]`, for derives that take nothing else.
pub(crate) fn of_derive(attributes: &[Attribute], name: &str) -> Result<TokenStream, Error> {
    let mut warpring = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(name)) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("crate") {
                warpring = Some(meta.value()?.call(Path::parse_mod_style)?);
                return Ok(());
            }
            Err(meta.error(format!("unknown key; the only one is `#[{name}(crate = path)]`")))
        })?;
    }
    Ok(core(warpring.as_ref()))
}

/// `crate = path` in a list of other things.
pub(crate) fn of_list(input: syn::parse::ParseStream<'_>) -> Result<Path, Error> {
    input.parse::<Token![crate]>()?;
    input.parse::<Token![=]>()?;
    input.call(Path::parse_mod_style)
}
