//! `export!`: the tables of a module. All that runs is in `warpring_core::module`; here are the matches that call it.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, Path, Token, Type, braced};

use crate::path;
use crate::plain::{collect, spell};

const FORM: &str = "write each kernel with its messages and their replies: `Account { Deposit => Balance, Query => Balance }`";

/// What stands in `export! { .. }`.
pub(crate) struct Module {
    warpring: Option<Path>,
    /// The text of the PTX module that was made from this crate.
    ptx: Option<Expr>,
    kernels: Vec<Kernel>,
}

mod keyword {
    syn::custom_keyword!(ptx);
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
        let ptx = if input.peek(keyword::ptx) && input.peek2(Token![=]) {
            input.parse::<keyword::ptx>()?;
            input.parse::<Token![=]>()?;
            let ptx = input.parse()?;
            input.parse::<Token![;]>()?;
            Some(ptx)
        } else {
            None
        };
        let mut kernels = Vec::new();
        while !input.is_empty() {
            kernels.push(kernel(input).map_err(|error| Error::new(error.span(), format!("{error}; {FORM}")))?);
        }
        let module = Self { warpring, ptx, kernels };
        module.check()?;
        Ok(module)
    }
}

fn docs(input: ParseStream<'_>) -> syn::Result<()> {
    let others = Attribute::parse_outer(input)?.into_iter().filter(|attribute| !attribute.path().is_ident("doc"));
    collect(others.map(|attribute| {
        Error::new_spanned(
            attribute,
            "only doc comments may stand here: the numbers of kinds and messages must be the same in every build",
        )
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
                errors
                    .push(Error::new_spanned(&kernel.ty, format!("`{name}` lists no message, so nobody could reach it; {FORM}")));
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
                errors.push(Error::new_spanned(
                    &kernel.ty,
                    format!("`{name}` is listed twice: put all its messages into one pair of braces"),
                ));
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
    // The GPU's own build has no use for it, and the file it names may be what that build makes.
    let image = match &module.ptx {
        Some(ptx) => quote! {{
            #[cfg(target_arch = "nvptx64")]
            { ::core::option::Option::None }
            #[cfg(not(target_arch = "nvptx64"))]
            { ::core::option::Option::Some(#ptx) }
        }},
        None => quote!(::core::option::Option::None),
    };
    let Parts { items, kinds, begin, resume, cancel, futures, lines, prints } = parts;
    quote! {
        #[doc = #docs]
        pub static MODULE: #core::module::ModuleTable = #core::module::ModuleTable::new::<__WarpringModule>(
            ::core::concat!(::core::env!("CARGO_PKG_NAME"), "/", ::core::module_path!()),
            __WarpringModule::KINDS,
            #image,
        );

        #[doc(hidden)]
        #[derive(::core::fmt::Debug)]
        pub struct __WarpringModule;

        const _: () = {
            #(#items)*

            impl __WarpringModule {
                const KINDS: &'static [#core::module::KindTable] = &[#(#kinds),*];
            }

            // SAFETY: the three matches have the same arms, each for the future of one function; `FUTURE_BYTES` is over all.
            #[automatically_derived]
            unsafe impl #core::module::Module for __WarpringModule {
                const FINGERPRINT: u64 = #core::module::fingerprint(&[#(#prints),*]);
                fn table() -> &'static #core::module::ModuleTable {
                    &MODULE
                }
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
    let span = ty.span();
    parts.prints.push(quote_spanned!(span=> #core::module::kernel_print::<#ty>()));
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

    let (mut rows, mut messages) = (Vec::new(), Vec::new());
    for Handler { message, reply } in &kernel.handlers {
        let span = message.span();
        let number = *tag;
        *tag += 1;
        rows.push(quote!((::core::stringify!(#message), ::core::stringify!(#reply), #number)));
        messages.push(quote_spanned!(span=> #core::module::MessageTable::new::<#message>()));
        parts.items.push(quote_spanned! {span=>
            #[automatically_derived]
            impl #core::module::Handles<#message> for #ty {
                type Reply = #reply;
                const TAG: u16 = #number;
            }
        });
        let op = quote!(#core::module::Op::Handle(#number));
        parts.futures.push(quote_spanned!(span=> #core::module::bytes_of::<#ty, #message>(#op)));
        parts.lines.push(quote_spanned!(span=> #core::module::handler_lines::<#ty, #message>()));
        parts.prints.push(quote_spanned!(span=> #core::module::handler_print::<#ty, #message>()));
        let (begin, resume, cancel) = calls(core, ty, message, &op);
        parts.begin.push(quote!((#kind, #op) => ::core::option::Option::Some(#begin),));
        parts.resume.push(quote!((#kind, #op) => #resume,));
        parts.cancel.push(quote!((#kind, #op) => #cancel,));
    }

    let initialize = add_hook(parts, core, kind, kernel, Hook { name: "initialize", op: "Initialize", done: "initialized" });
    let shutdown = add_hook(parts, core, kind, kernel, Hook { name: "shutdown", op: "Shutdown", done: "shut down" });
    parts.kinds.push(quote_spanned! {span=>
        #core::module::KindTable::new::<#ty>(#initialize, #shutdown, &[#(#rows),*], &[#(#messages),*])
    });
}

struct Hook {
    name: &'static str,
    op: &'static str,
    done: &'static str,
}

/// The arms of a hook, and whether anybody wrote it. Which implementation has it is known only after types are, so each arm
/// chooses by a constant.
fn add_hook(parts: &mut Parts, core: &TokenStream, kind: u16, kernel: &Kernel, hook: Hook) -> TokenStream {
    let ty = &kernel.ty;
    let constant = format_ident!("__{}_{}", hook.name.to_uppercase(), kind);
    let op = format_ident!("{}", hook.op);
    let op = quote!(#core::module::Op::#op);
    let bytes: Vec<_> = kernel
        .handlers
        .iter()
        .map(|Handler { message, .. }| quote_spanned!(message.span()=> #core::module::bytes_of::<#ty, #message>(#op)))
        .collect();
    let message = format!(
        "{}: `{}` is written in two implementations of RingKernelHandler; an actor is {} once, so keep it in one",
        spell(ty),
        hook.name,
        hook.done
    );
    let twice = quote_spanned! {ty.span()=>
        const _: () = if #constant.0 > 1 {
            ::core::panic!(#message)
        };
    };
    // How many implementations have the hook, and the number of the first.
    parts.items.push(quote! {
        const #constant: (usize, usize) = #core::module::written(&[#(#bytes),*]);
        #twice
    });
    parts.futures.extend(bytes);
    let (mut begin, mut resume, mut cancel) = (Vec::new(), Vec::new(), Vec::new());
    for (i, handler) in kernel.handlers.iter().enumerate() {
        let (begins, resumes, cancels) = calls(core, ty, &handler.message, &op);
        begin.push(quote!(#i => ::core::option::Option::Some(#begins),));
        resume.push(quote!(#i => #resumes,));
        cancel.push(quote!(#i => #cancels,));
    }
    parts.begin.push(quote!((#kind, #op) => match #constant.1 { #(#begin)* _ => ::core::option::Option::None },));
    parts.resume.push(quote!((#kind, #op) => match #constant.1 { #(#resume)* _ => #core::module::not_begun() },));
    parts.cancel.push(quote!((#kind, #op) => match #constant.1 { #(#cancel)* _ => {} },));
    quote!(#constant.0 > 0)
}

/// The calls that begin, resume and cancel one function of one implementation.
fn calls(core: &TokenStream, kernel: &Type, message: &Type, op: &TokenStream) -> (TokenStream, TokenStream, TokenStream) {
    let which = quote_spanned!(message.span()=> ::<#kernel, #message>);
    (
        quote!(unsafe { #core::module::begin_op #which (#op, lane, request, lines) }),
        quote!(unsafe { #core::module::resume_op #which (#op, lane) }),
        quote!(unsafe { #core::module::cancel_op #which (#op, lane) }),
    )
}
