//! The same source gives the same text, wherever it lies.
//!
//! rustc puts a number for each crate into every symbol, made from where the crate lies and from the flags it is built with, and
//! names constants by hashes of such numbers. So two checkouts of one source give texts that differ in names alone. Here those names are
//! replaced: a symbol by its demangled name, written in the older mangling of Rust, which every tool reads too, with a hash of that
//! name; a constant by its ordinal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::ptx::is_word;

/// The text with canonical names, and without comments that name versions or paths.
pub fn canonical(text: &str) -> String {
    let mut names = Names::default();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if is_noise(line) {
            continue;
        }
        let mut rest = line.trim_end();
        while let Some(start) = rest.find(is_word) {
            let end = rest[start..].find(|c| !is_word(c)).map_or(rest.len(), |length| start + length);
            out.push_str(&rest[..start]);
            names.push(&rest[start..end], &mut out);
            rest = &rest[end..];
        }
        out.push_str(rest);
        out.push('\n');
    }
    let body = out.trim_start_matches('\n').trim_end();
    format!("{body}\n")
}

/// The text in which each entry may use so many registers: the rest of a multiprocessor's is for other blocks. rustc has no
/// attribute for it.
pub fn with_registers(text: &str, registers: u32) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut in_head = false;
    for line in text.lines() {
        in_head |= line.starts_with(".visible .entry");
        if in_head && line.starts_with('{') {
            in_head = false;
            let _ = writeln!(out, ".maxnreg {registers}");
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Comments at module level: LLVM's banner, `.globl` lines. Those that bracket inline assembly say where it is, and stay.
fn is_noise(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix("//") else { return false };
    !matches!(comment.trim(), "begin inline asm" | "end inline asm")
}

#[derive(Default)]
struct Names {
    /// What each name of the text became.
    given: BTreeMap<String, String>,
    taken: BTreeSet<String>,
    constants: usize,
}

impl Names {
    /// Writes the canonical form of a word.
    fn push(&mut self, word: &str, out: &mut String) {
        // A parameter is named after its function.
        let (symbol, parameter) = match word.rfind("_param_") {
            Some(at) if word[at + 7..].bytes().all(|b| b.is_ascii_digit()) => word.split_at(at),
            _ => (word, ""),
        };
        let (lead, symbol) = match symbol.find("_R").filter(|at| is_v0(&symbol[*at..])) {
            Some(at) => symbol.split_at(at),
            None if is_hashed(symbol) => ("", symbol),
            None => return out.push_str(word),
        };
        if !self.given.contains_key(symbol) {
            let name = self.fresh(symbol);
            self.given.insert(symbol.to_owned(), name);
        }
        out.push_str(lead);
        out.push_str(&self.given[symbol]);
        out.push_str(parameter);
    }

    fn fresh(&mut self, symbol: &str) -> String {
        if !is_v0(symbol) {
            self.constants += 1;
            return format!("constant_{}", self.constants);
        }
        // LLVM appends what it has split off with `$`; the rest is the mangled name.
        let (mangled, split_off) = symbol.split_once("_$").map_or((symbol, false), |(mangled, _)| (mangled, true));
        // And digits to tables that it has made of a function's branches, so that no two have one name.
        let digits = mangled.len() - mangled.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let known = (0..=digits).find_map(|cut| rustc_demangle::try_demangle(&mangled[..mangled.len() - cut]).ok());
        let human = known.map_or_else(|| mangled.to_owned(), |name| format!("{name:#}"));
        // Two symbols may have one name (two versions of a crate): they are told apart in the order in which they come.
        let ordinals = usize::from(split_off)..;
        let mut names = ordinals.map(|ordinal| legacy(&human, ordinal));
        names.find(|name| self.taken.insert(name.clone())).unwrap_or_default()
    }
}

fn is_v0(symbol: &str) -> bool {
    symbol.strip_prefix("_R").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))
}

/// `anon_$_<hash>_$_3`, `alloc_<hash>`, `vtable_<hash>`: a name that is a hash of 32 digits.
fn is_hashed(word: &str) -> bool {
    !word.starts_with(['%', '0'])
        && word.split(['_', '$']).any(|part| part.len() == 32 && part.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The name in the mangling `_ZN5crate4item17h<hash>E`: its parts between `::`, each with its length, what PTX does not allow in a
/// name escaped as rustc did.
fn legacy(human: &str, ordinal: usize) -> String {
    let mut name = "_ZN".to_owned();
    for part in human.split("::") {
        let mut escaped = String::new();
        for c in part.chars() {
            match c {
                '<' => escaped.push_str("$LT$"),
                '>' => escaped.push_str("$GT$"),
                '&' => escaped.push_str("$RF$"),
                '*' => escaped.push_str("$BP$"),
                '(' => escaped.push_str("$LP$"),
                ')' => escaped.push_str("$RP$"),
                ',' => escaped.push_str("$C$"),
                '@' => escaped.push_str("$SP$"),
                c if c.is_ascii_alphanumeric() || c == '_' => escaped.push(c),
                c => drop(write!(escaped, "$u{:x}$", u32::from(c))),
            }
        }
        if escaped.starts_with('$') {
            escaped.insert(0, '_');
        }
        let _ = write!(name, "{}{escaped}", escaped.len());
    }
    let _ = write!(name, "17h{:016x}E", fnv(human.bytes().chain(ordinal.to_le_bytes())));
    name
}

/// FNV-1a.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #[test]
    fn entries_and_only_they_get_a_limit_of_registers() {
        let text = ".func f()\n{\n}\n.visible .entry run(\n\t.param .u64 p\n)\n{\n\tret;\n}\n";
        let limited = ".func f()\n{\n}\n.visible .entry run(\n\t.param .u64 p\n)\n.maxnreg 128\n{\n\tret;\n}\n";
        assert_eq!(super::with_registers(text, 128), limited);
    }

    use super::*;
    use crate::check::demangled;

    /// One function of a crate whose number is `crate_number`, called by an entry.
    fn text(crate_number: &str, hash: &str) -> String {
        format!(
            "//\n// Generated by LLVM NVPTX Back-End\n//\n\n.version 7.0\n.target sm_70\n\
             .global .align 8 .b8 anon_$_{hash}_$_3[32] = {{6, 1}};\n\
             \t// .globl\twarpring_run\n\
             .visible .entry warpring_run()\n{{\n\
             \tcall.uni _RNvNtCs{crate_number}_4core9panicking9panic_fmt, (param0);\n\
             \tld.param.b64 \t%rd1, [_RNvNtCs{crate_number}_4core9panicking9panic_fmt_param_0];\n\
             \tmov.b64 \t%rd2, anon_$_{hash}_$_3;\n\
             \t// begin inline asm\n\texit;\n\t// end inline asm\n}}\n"
        )
    }

    #[test]
    fn names_do_not_tell_where_a_crate_lies() {
        let here = canonical(&text("bSE61zFgCyu", "1e57b79d8f77bad496b50bb60c2a87ad"));
        let there = canonical(&text("bSE61zFgCy", "51d116cae7e181dd6fa255d32d112170"));
        assert_eq!(here, there);
        assert!(here.starts_with(".version 7.0\n.target sm_70\n"), "{here}");
        assert!(!here.contains("globl") && here.contains("// begin inline asm"), "{here}");
        assert!(here.contains("mov.b64 \t%rd2, constant_1;"), "{here}");
        let symbol = here.split_whitespace().find(|word| word.starts_with("_ZN")).unwrap().trim_end_matches(',');
        assert_eq!(demangled(symbol), "core::panicking::panic_fmt");
        assert!(here.contains(&format!("[{symbol}_param_0]")), "{here}");
    }

    #[test]
    fn two_symbols_of_one_name_stay_two() {
        let text = "_RNvNtCsbSE61zFgCyu_4core9panicking9panic_fmt\n_RNvNtCs4usWltvQ1Wu_4core9panicking9panic_fmt\n";
        let canonical = canonical(text);
        let names: Vec<_> = canonical.lines().collect();
        assert_eq!(names.len(), 2);
        assert_ne!(names[0], names[1]);
        assert_eq!(demangled(names[0]), demangled(names[1]));
    }

    #[test]
    fn tables_of_a_function_do_not_tell_where_a_crate_lies() {
        let text = |crate_number: &str| {
            let table = format!("switch_$_table_$__RNvNtCs{crate_number}_4core9panicking9panic_fmt");
            format!(".global .align 8 .b8 {table}182[8];\n.global .align 8 .b8 {table}183[8];\nmov.b64 %rd1, {table}182;\n")
        };
        let here = canonical(&text("bSE61zFgCyu"));
        assert_eq!(here, canonical(&text("bSE61zFgCy")));
        let names: Vec<_> = here.split_whitespace().filter(|word| word.contains("switch")).collect();
        assert_ne!(names[0].trim_end_matches("[8];"), names[1].trim_end_matches("[8];"));
        assert_eq!(names[0].trim_end_matches("[8];"), names[2].trim_end_matches(';'));
    }

    #[test]
    fn every_sign_of_a_name_survives() {
        for human in [
            "<bank::Account as warpring_core::handler::RingKernelHandler<bank::Deposit, i64>>::handle::{closure#0}",
            "<&[u8; 4] as core::fmt::Debug>::fmt",
            "core::ptr::drop_in_place::<(*mut u8, dyn core::any::Any)>",
        ] {
            let symbol = legacy(human, 0);
            assert!(symbol.chars().all(is_word), "{symbol}");
            assert_eq!(demangled(&symbol), human);
        }
    }
}
