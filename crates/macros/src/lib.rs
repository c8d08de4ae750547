//! `#[bif("module:function/arity")]`: turns a Rust function into a built-in and registers it.
//!
//! The function takes the process and one term an argument, and returns a `BifResult`:
//!
//! ```ignore
//! #[bif("erlang:tuple_size/1", guard)]
//! fn tuple_size(_p: &mut Process, tuple: Term) -> BifResult { … }
//! ```
//!
//! Options: `guard` (may stand in a guard), `dirty_io`, `dirty_cpu` (runs on a pool of its own),
//! `brief_io` (as `dirty_io`, but mostly takes microseconds);
//! `unlisted` (OTP has it in Erlang or not at all: `system_info(snifs)` leaves it out); `since =
//! 26` (the first OTP release that has it), `until = 27` (the last one). One function may carry
//! several `#[bif]`s, one for each name; two functions may have the same name in different
//! releases.

use proc_macro::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Ident, ItemFn, LitInt, LitStr, Token, parse_macro_input};

struct Options {
    name: LitStr,
    flags: Vec<Ident>,
    since: Ident,
    until: Ident,
}

impl Parse for Options {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let name = input.parse()?;
        let mut flags = Vec::new();
        let (mut since, mut until) = (format_ident!("OLDEST"), format_ident!("NEWEST"));
        while input.peek(Token![,]) {
            input.parse::<Token![,]>()?;
            let flag: Ident = input.parse()?;
            if input.peek(Token![=]) {
                input.parse::<Token![=]>()?;
                let number: LitInt = input.parse()?;
                // A release that is not known has no such variant, which the compiler says.
                let release = Ident::new(&format!("R{}", number.base10_digits()), number.span());
                match flag.to_string().as_str() {
                    "since" => since = release,
                    "until" => until = release,
                    _ => return Err(syn::Error::new(flag.span(), "since or until")),
                }
            } else {
                flags.push(flag);
            }
        }
        Ok(Options { name, flags, since, until })
    }
}

fn split(name: &str) -> Option<(&str, &str, usize)> {
    let (module, rest) = name.split_once(':')?;
    let (function, arity) = rest.rsplit_once('/')?;
    Some((module, function, arity.parse().ok()?))
}

/// Makes a function a built-in; the head of this crate lists the options.
#[proc_macro_attribute]
pub fn bif(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(attribute as Options);
    let item = parse_macro_input!(item as ItemFn);
    let text = options.name.value();
    let Some((module, function, arity)) = split(&text) else {
        return syn::Error::new(options.name.span(), "expected \"module:function/arity\"")
            .to_compile_error()
            .into();
    };
    if item.sig.inputs.len() != arity + 1 {
        return syn::Error::new(
            options.name.span(),
            "a built-in takes the process and one term an argument",
        )
        .to_compile_error()
        .into();
    }
    let mut kind = format_ident!("Normal");
    let mut listed = true;
    for flag in &options.flags {
        kind = match flag.to_string().as_str() {
            "guard" => format_ident!("Guard"),
            "dirty_io" => format_ident!("DirtyIo"),
            "brief_io" => format_ident!("BriefIo"),
            "dirty_cpu" => format_ident!("DirtyCpu"),
            "unlisted" => {
                listed = false;
                kind
            }
            _ => {
                return syn::Error::new(
                    flag.span(),
                    "guard, dirty_io, brief_io, dirty_cpu or unlisted",
                )
                .to_compile_error()
                .into();
            }
        };
    }
    let rust_name = &item.sig.ident;
    let mangled: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    let (since, until) = (&options.since, &options.until);
    let entry = format_ident!("BIF_{mangled}_{since}");
    let indexes = 0..arity;
    let arity = arity as u8;
    quote! {
        #item
        #[allow(non_upper_case_globals, reason = "generated from the Erlang name")]
        #[::linkme::distributed_slice(::swarmrt_machine::bif::BIFS)]
        static #entry: ::swarmrt_machine::bif::BifEntry = ::swarmrt_machine::bif::BifEntry {
            module: #module,
            name: #function,
            arity: #arity,
            kind: ::swarmrt_machine::bif::BifKind::#kind,
            listed: #listed,
            since: ::swarmrt_machine::bif::Release::#since,
            until: ::swarmrt_machine::bif::Release::#until,
            function: |process, args| {
                let result = #rust_name(process, #(args[#indexes]),*);
                process.return_result(result)
            },
        };
    }
    .into()
}
