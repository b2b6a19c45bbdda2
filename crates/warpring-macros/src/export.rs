//! `export!`: the tables of a module. All that runs is in `warpring_core::module`; here are the matches that call it.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Path, Token, Type, braced};

use crate::path;
use crate::plain::{collect, spell};

const FORM: &str = "write each kernel with its messages and their replies: `Account { Deposit => Balance, Query => Balance }`";

/// What stands in `export! { .. }`.
pub(crate) struct Module {
    warpring: Option<Path>,
    kernels: Vec<Kernel>,
}

struct Kernel {
    ty: Type,
    handlers: Vec<Handler>,
}

struct Handler {
    message: Type,
    reply: Type,
}

impl Parse for Module {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let warpring = if input.peek(Token![crate]) && input.peek2(Token![=]) {
            let path = path::of_list(input)?;
            input.parse::<Token![;]>()?;
            Some(path)
        } else {
            None
        };
        let mut kernels = Vec::new();
        while !input.is_empty() {
            kernels.push(kernel(input).map_err(|error| Error::new(error.span(), format!("{error}; {FORM}")))?);
        }
        let module = Self { warpring, kernels };
        module.check()?;
        Ok(module)
    }
}

fn docs(input: ParseStream<'_>) -> syn::Result<()> {
    let others = Attribute::parse_outer(input)?.into_iter().filter(|attribute| !attribute.path().is_ident("doc"));
    collect(others.map(|attribute| {
        Error::new_spanned(attribute, "only doc comments may stand here: the numbers of kinds and messages must be the same in every build")
    }))
}

fn kernel(input: ParseStream<'_>) -> syn::Result<Kernel> {
    docs(input)?;
    let ty = input.parse()?;
    let inside;
    braced!(inside in input);
    let mut handlers = Vec::new();
    while !inside.is_empty() {
        docs(&inside)?;
        let message = inside.parse()?;
        inside.parse::<Token![=>]>()?;
        handlers.push(Handler { message, reply: inside.parse()? });
        inside.parse::<Option<Token![,]>>()?;
    }
    input.parse::<Option<Token![,]>>()?;
    Ok(Kernel { ty, handlers })
}

impl Module {
    fn check(&self) -> syn::Result<()> {
        if self.kernels.is_empty() {
            return Err(Error::new(proc_macro2::Span::call_site(), format!("a module exports at least one kernel; {FORM}")));
        }
        let mut errors = Vec::new();
        let mut kernels = Vec::new();
        for kernel in &self.kernels {
            let name = spell(&kernel.ty);
            if kernel.handlers.is_empty() {
                errors.push(Error::new_spanned(&kernel.ty, format!("`{name}` lists no message, so nobody could reach it; {FORM}")));
            }
            let mut messages = Vec::new();
            for handler in &kernel.handlers {
                let message = spell(&handler.message);
                if messages.contains(&message) {
                    errors.push(Error::new_spanned(
                        &handler.message,
                        format!("`{message}` is listed twice for `{name}`: a message has one handler, and so one reply"),
                    ));
                }
                messages.push(message);
            }
            if kernels.contains(&name) {
                errors.push(Error::new_spanned(&kernel.ty, format!("`{name}` is listed twice: put all its messages into one pair of braces")));
            }
            kernels.push(name);
        }
        collect(errors)
    }
}

/// What the kernels contribute to the items of the module.
#[derive(Default)]
struct Parts {
    items: Vec<TokenStream>,
    kinds: Vec<TokenStream>,
    begin: Vec<TokenStream>,
    resume: Vec<TokenStream>,
    cancel: Vec<TokenStream>,
    futures: Vec<TokenStream>,
    lines: Vec<TokenStream>,
    prints: Vec<TokenStream>,
}

pub(crate) fn expand(module: &Module) -> TokenStream {
    let core = path::core(module.warpring.as_ref());
    let mut parts = Parts::default();
    let mut tag = 0;
    for (kind, kernel) in module.kernels.iter().enumerate() {
        add_kernel(&mut parts, &core, kind as u16, kernel, &mut tag);
    }
    let names: Vec<_> = module.kernels.iter().map(|kernel| format!("`{}`", spell(&kernel.ty))).collect();
    let docs = format!("The ring kernels that are exported here: {}.", names.join(", "));
    let Parts { items, kinds, begin, resume, cancel, futures, lines, prints } = parts;
    quote! {
        #[doc = #docs]
        pub static MODULE: #core::module::ModuleTable = #core::module::ModuleTable::new::<__WarpringModule>(
            ::core::concat!(::core::env!("CARGO_PKG_NAME"), "/", ::core::module_path!()),
            __WarpringModule::FINGERPRINT,
            __WarpringModule::KINDS,
        );

        #[doc(hidden)]
        #[derive(::core::fmt::Debug)]
        pub struct __WarpringModule;

        const _: () = {
            #(#items)*

            impl __WarpringModule {
                const FINGERPRINT: u64 = #core::module::fingerprint(&[#(#prints),*]);
                const KINDS: &'static [#core::module::KindTable] = &[#(#kinds),*];
            }

            // SAFETY: the three matches have the same arms, each for the future of one function; `FUTURE_BYTES` is over all.
            #[automatically_derived]
            unsafe impl #core::module::Module for __WarpringModule {
                const FUTURE_BYTES: usize = #core::module::largest(0, &[#(#futures),*]);
                // The worker's own reports need two lines.
                const MAX_LINES: usize = #core::module::largest(2, &[#(#lines),*]);

                #[inline(always)]
                unsafe fn begin(
                    kind: u16,
                    op: #core::module::Op,
                    lane: &#core::module::Lane,
                    request: #core::ring::Lines,
                    lines: u8,
                ) -> ::core::option::Option<::core::task::Poll<#core::Outcome>> {
                    match (kind, op) {
                        #(#begin)*
                        _ => ::core::option::Option::None,
                    }
                }

                #[inline(always)]
                unsafe fn resume(kind: u16, op: #core::module::Op, lane: &#core::module::Lane) -> ::core::task::Poll<#core::Outcome> {
                    match (kind, op) {
                        #(#resume)*
                        _ => #core::module::not_begun(),
                    }
                }

                #[inline(always)]
                unsafe fn cancel(kind: u16, op: #core::module::Op, lane: &#core::module::Lane) {
                    match (kind, op) {
                        #(#cancel)*
                        _ => {}
                    }
                }
            }
        };
    }
}

fn add_kernel(parts: &mut Parts, core: &TokenStream, kind: u16, kernel: &Kernel, tag: &mut u16) {
    let ty = &kernel.ty;
    let name = spell(ty);
    let span = ty.span();
    parts.prints.push(quote_spanned!(span=> <#ty as #core::module::KernelLayout>::FINGERPRINT));
    parts.items.push(quote_spanned! {span=>
        #[automatically_derived]
        impl #core::module::Exported for #ty {
            const KIND: u16 = #kind;
            #[inline]
            fn module() -> &'static #core::module::ModuleTable {
                &MODULE
            }
        }
    });

    let mut rows = Vec::new();
    for Handler { message, reply } in &kernel.handlers {
        let span = message.span();
        let handle = function(core, ty, message, reply, "handle");
        let number = *tag;
        *tag += 1;
        rows.push(quote!((::core::stringify!(#message), ::core::stringify!(#reply), #number)));
        parts.items.push(quote_spanned! {span=>
            #[automatically_derived]
            impl #core::module::Handles<#message> for #ty {
                type Reply = #reply;
                const TAG: u16 = #number;
            }
        });
        parts.futures.push(quote!(#core::module::handler_bytes(&#handle)));
        parts.lines.push(quote_spanned!(span=> #core::module::message_lines::<#message>()));
        parts.lines.push(quote_spanned!(reply.span()=> #core::module::message_lines::<#reply>()));
        parts.prints.push(quote_spanned!(span=> <#message as #core::RingMessage>::FINGERPRINT));
        parts.prints.push(quote_spanned!(reply.span()=> <#reply as #core::RingMessage>::FINGERPRINT));
        let op = quote!((#kind, #core::module::Op::Handle(#number)));
        parts.begin.push(quote! {
            #op => ::core::option::Option::Some(unsafe { #core::module::begin_handle::<#ty, #message, #reply>(lane, request, lines) }),
        });
        parts.resume.push(quote!(#op => unsafe { #core::module::resume_handle(lane, #handle) },));
        parts.cancel.push(quote!(#op => unsafe { #core::module::cancel_handle(lane, #handle) },));
    }

    let hooks = [("initialize", "Initialize", "initialized"), ("shutdown", "Shutdown", "shut down")];
    let written = hooks.map(|(hook, op, done)| {
        let constant = format_ident!("__{}_{}", hook.to_uppercase(), kind);
        let op = format_ident!("{op}");
        let op = quote!((#kind, #core::module::Op::#op));
        let futures: Vec<_> = kernel.handlers.iter().map(|handler| function(core, ty, &handler.message, &handler.reply, hook)).collect();
        let index = 0..futures.len();
        let (resume_index, cancel_index) = (index.clone(), index.clone());
        parts.futures.extend(futures.iter().map(|future| quote!(#core::module::future_bytes(&#future))));
        let message = format!(
            "{name}: `{hook}` is written in two implementations of RingKernelHandler; an actor is {done} once, so keep it in one"
        );
        parts.items.push(quote! {
            /// How many implementations have the hook, and the number of the first.
            const #constant: (usize, usize) = #core::module::written(&[#(#core::module::future_bytes(&#futures)),*]);
        });
        parts.items.push(quote_spanned! {span=>
            const _: () = if #constant.0 > 1 {
                ::core::panic!(#message)
            };
        });
        parts.begin.push(quote! {
            #op => match #constant.1 {
                #(#index => ::core::option::Option::Some(unsafe { #core::module::begin_hook(lane, #futures) }),)*
                _ => ::core::option::Option::None,
            },
        });
        parts.resume.push(quote! {
            #op => match #constant.1 {
                #(#resume_index => unsafe { #core::module::resume_hook(lane, #futures) },)*
                _ => #core::module::not_begun(),
            },
        });
        parts.cancel.push(quote! {
            #op => match #constant.1 {
                #(#cancel_index => unsafe { #core::module::cancel_hook(lane, #futures) },)*
                _ => {}
            },
        });
        quote!(#constant.0 > 0)
    });
    let [initialize, shutdown] = written;
    parts.kinds.push(quote!(#core::module::KindTable::new::<#ty>(#initialize, #shutdown, &[#(#rows),*])));
}

/// The function item of a handler or hook, of which only the type of its future is of interest.
fn function(core: &TokenStream, kernel: &Type, message: &Type, reply: &Type, name: &str) -> TokenStream {
    let name = format_ident!("{name}");
    quote_spanned!(message.span()=> <#kernel as #core::RingKernelHandler<#message, #reply>>::#name)
}
