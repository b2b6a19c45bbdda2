//! `derive(RingKernel)`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Expr, ExprLit, Lit, LitBool, LitInt, LitStr, Meta};

use crate::path;
use crate::plain::{self, Holder};
use crate::state::{field_table, fields_fingerprint, fields_padding, fields_valid};

const FORM: &str = "write `#[ring_kernel(id = \"domain/name\")]` above the struct, where the id stays the same over versions";

/// What `#[ring_kernel(..)]` says.
struct Settings {
    id: LitStr,
    domain: String,
    version: u32,
    description: String,
    requires_gpu_native: bool,
    validate: Option<Expr>,
    core: TokenStream,
}

pub(crate) fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let data = match &input.data {
        Data::Struct(data) => data,
        Data::Enum(data) => {
            return Err(Error::new_spanned(data.enum_token, "a ring kernel is a struct; put the enum into a field"));
        }
        Data::Union(data) => return Err(Error::new_spanned(data.union_token, "a ring kernel is a struct")),
    };
    if let Some(parameter) = input.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "a ring kernel has one id, and so no parameters: write a struct for each use, around a state that has them",
        ));
    }
    let settings = settings(input);
    let fields = plain::check_fields(&data.fields, Holder::Kernel);
    let settings = match (settings, fields) {
        (Ok(settings), Ok(())) => settings,
        (settings, fields) => return Err(plain::collect(settings.err().into_iter().chain(fields.err())).unwrap_err()),
    };

    let Settings { id, domain, version, description, requires_gpu_native, validate, core } = settings;
    let name = &input.ident;
    let text = name.to_string();
    let (table, valid) = (field_table(&data.fields, &core), fields_valid(&data.fields, &core));
    let padding = fields_padding(&data.fields, &core);
    let fields = fields_fingerprint(
        &data.fields,
        &core,
        |ty| quote_spanned!(ty.span()=> <#ty as #core::module::KernelField>::FINGERPRINT),
    );
    let validate = validate.map(|check| {
        quote_spanned! {check.span()=>
            #[inline]
            fn validate(&self) -> #core::Result<()> {
                // A closure that is called where it stands is one that clippy would rather not see.
                let check: fn(&Self) -> #core::Result<()> = #check;
                check(self)
            }
        }
    });
    let dropped = format!("`{text}` is never dropped, because it lies in device memory: do what its `Drop` does in `shutdown`");
    let never_dropped = quote_spanned! {name.span()=>
        const _: () = if ::core::mem::needs_drop::<#name>() {
            ::core::panic!(#dropped)
        };
    };
    // The bound `Debug` is reported at the name of the struct, not at the whole derive.
    let gpu_kernel = quote_spanned!(name.span()=> #core::GpuKernel for #name);
    Ok(quote! {
        const _: () = {
            #[automatically_derived]
            impl #gpu_kernel {
                #[inline]
                fn metadata(&self) -> &#core::KernelMetadata {
                    &<Self as #core::module::KernelLayout>::METADATA
                }
                #validate
            }
            // SAFETY: every field is `State` or `Resident` (its fingerprint is taken through `KernelField`), and the value needs no
            // drop; the fingerprint holds the size, the alignment and every offset.
            #[automatically_derived]
            unsafe impl #core::module::KernelLayout for #name {
                const METADATA: #core::KernelMetadata = #core::KernelMetadata {
                    id: #id,
                    domain: #domain,
                    mode: #core::KernelMode::Ring,
                    description: #description,
                    version: #version,
                    requires_gpu_native: #requires_gpu_native,
                };
                const FINGERPRINT: u64 = {
                    let hash = #core::layout::mix_bytes(#core::layout::EMPTY, #id.as_bytes());
                    let hash = #core::layout::mix(hash, #version as u64);
                    let hash = #core::layout::mix(hash, ::core::mem::size_of::<Self>() as u64);
                    let hash = #core::layout::mix(hash, ::core::mem::align_of::<Self>() as u64);
                    #fields
                    hash
                };
                const FIELDS: &'static [#core::FieldTable] = #table;
                #padding

                #[cfg(not(target_arch = "nvptx64"))]
                fn valid(bytes: &[u8]) -> bool {
                    #valid
                }
            }
            #never_dropped
        };
    })
}

fn settings(input: &DeriveInput) -> syn::Result<Settings> {
    let (mut id, mut domain, mut version, mut description) = (None::<LitStr>, None::<LitStr>, None::<u32>, None::<LitStr>);
    let (mut requires_gpu_native, mut validate, mut warpring) = (false, None, None);
    let mut given = false;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("ring_kernel")) {
        given = true;
        if !matches!(attribute.meta, Meta::List(_)) {
            return Err(Error::new_spanned(attribute, FORM));
        }
        let mut seen = Vec::new();
        attribute.parse_nested_meta(|meta| {
            let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
            if seen.contains(&key) {
                return Err(meta.error(format!("`{key}` is given twice")));
            }
            match key.as_str() {
                "id" => id = Some(meta.value()?.parse()?),
                "domain" => domain = Some(meta.value()?.parse()?),
                "version" => version = Some(meta.value()?.parse::<LitInt>()?.base10_parse()?),
                "description" => description = Some(meta.value()?.parse()?),
                "requires_gpu_native" => requires_gpu_native = meta.value()?.parse::<LitBool>()?.value,
                "validate" => validate = Some(meta.value()?.parse()?),
                "crate" => warpring = Some(meta.value()?.call(syn::Path::parse_mod_style)?),
                _ => {
                    return Err(meta.error(
                        "unknown key; there are `id`, `domain`, `version`, `description`, `requires_gpu_native`, `validate` and `crate`",
                    ));
                }
            }
            seen.push(key);
            Ok(())
        })?;
    }
    let Some(id) = id else {
        let span = if given { attribute_span(&input.attrs) } else { input.ident.span() };
        return Err(Error::new(span, format!("a ring kernel needs an id: {FORM}")));
    };
    let value = id.value();
    let (before, after) = value.split_once('/').unwrap_or((&value, ""));
    if before.is_empty() || after.is_empty() || value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::new(id.span(), "an id is `domain/name`, without spaces: for example \"bank/account\""));
    }
    Ok(Settings {
        domain: domain.map_or_else(|| before.to_owned(), |domain| domain.value()),
        version: version.unwrap_or(1),
        description: description.map_or_else(|| first_line(&input.attrs), |description| description.value()),
        requires_gpu_native,
        validate,
        core: path::core(warpring.as_ref()),
        id,
    })
}

fn attribute_span(attributes: &[Attribute]) -> Span {
    attributes
        .iter()
        .find(|attribute| attribute.path().is_ident("ring_kernel"))
        .map_or_else(Span::call_site, |attribute| attribute.path().span())
}

fn first_line(attributes: &[Attribute]) -> String {
    attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
                _ => None,
            },
            _ => None,
        })
        .flat_map(|text| text.lines().map(|line| line.trim_matches([' ', '*']).to_owned()).collect::<Vec<_>>())
        .find(|line| !line.is_empty())
        .unwrap_or_default()
}
