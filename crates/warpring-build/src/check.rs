//! What must not stand in the PTX of a module: rules that each were seen to bite, checked over the text.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use crate::ptx::{Function, Ptx, Statement, code, label, statements, words};

/// A rule that the text of a module must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Everything that is named is there: the driver links nothing.
    Extern,
    /// Only the module's own constants are read through the read-only cache. What a pointer names can change while the grid
    /// runs, and that cache does not hear of it.
    ReadOnlyLoad,
    /// Each atomic names its scope. Without one it means the device, and the host is left out.
    UnscopedAtomic,
    /// Nothing is copied byte by byte.
    ByteCopy,
    /// No barrier stands in `asm!`: LLVM copies it into both arms of a divergent branch.
    AsmBarrier,
    /// An entry takes addresses, as 64-bit values. A reference promises that nobody writes.
    EntryParameter,
    /// No debug information: it names the paths of the machine that built it, and the driver refuses some of it.
    DebugInfo,
}

impl Rule {
    /// What breaks the rule.
    const fn says(self) -> &'static str {
        match self {
            Self::Extern => "not in the module, and on the GPU nothing else is linked",
            Self::ReadOnlyLoad => "read through the read-only cache, which does not see what the host or another worker writes",
            Self::UnscopedAtomic => "an atomic without a scope",
            Self::ByteCopy => "a loop that copies byte by byte",
            Self::AsmBarrier => "a barrier in `asm!`, which LLVM may copy into both arms of a branch",
            Self::EntryParameter => "a parameter that is not a raw pointer",
            Self::DebugInfo => "debug information",
        }
    }

    /// What to do about it.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::Extern => {
                "kernels cannot allocate, call C or use statics of other languages; keep state in `Resident` fields of fixed size"
            }
            Self::ReadOnlyLoad => {
                "take raw pointers where memory is shared, no `&T` without a cell, and read through a scoped word"
            }
            Self::UnscopedAtomic => "use the words of `warpring_core::scoped` in place of core's atomics",
            Self::ByteCopy => {
                "LLVM copies a value of more than 128 bytes in this way: use it where it is (a message in an `async move` block, state \
                 through the reference), or copy it by elements"
            }
            Self::AsmBarrier => "use the collectives of `RingContext`, which are LLVM's convergent intrinsics",
            Self::EntryParameter => "declare it `*const T` or `*mut T`",
            Self::DebugInfo => "build with `debug = 0`",
        }
    }
}

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// Line of the PTX, from 1.
    pub line: usize,
    /// The function that it stands in, demangled.
    pub function: Option<String>,
    /// What stands there; for [`Rule::Extern`] the name that is missing, demangled.
    pub what: String,
    /// The functions that this comes from: those of the kernel crate, where they can be told.
    pub users: Vec<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}", self.line)?;
        if let Some(function) = &self.function {
            write!(f, ", in `{function}`")?;
        }
        write!(f, ": `{}`: {}", self.what, self.rule.says())?;
        self.users.iter().try_for_each(|user| write!(f, "\n    from `{user}`"))
    }
}

/// All places of a module that break a rule. `kernels` is the name of the kernel crate's library, by which its functions are told
/// from others.
pub fn check(text: &str, kernels: &str) -> Vec<Finding> {
    let ptx = Ptx::read(text);
    let mut found = externs(&ptx, kernels);
    for function in &ptx.functions {
        entry_parameters(function, &mut found);
        read_only_loads(function, &ptx, &mut found);
        byte_copies(function, &mut found);
        let mut in_asm = false;
        for &(line, text) in &function.body {
            in_asm = match text.trim() {
                "// begin inline asm" => true,
                "// end inline asm" => false,
                _ => in_asm,
            };
            for statement in statements(text) {
                if is_unscoped(statement) {
                    found.push(place(Rule::UnscopedAtomic, function, line, statement.opcode));
                }
                if in_asm && is_barrier(statement) {
                    found.push(place(Rule::AsmBarrier, function, line, statement.opcode));
                }
            }
        }
    }
    debug_info(&ptx, &mut found);
    found.sort_by_key(|finding| finding.line);
    found
}

/// The name that the programmer gave.
pub fn demangled(symbol: &str) -> String {
    match rustc_demangle::try_demangle(symbol) {
        Ok(name) => format!("{name:#}"),
        Err(_) => symbol.to_owned(),
    }
}

fn place(rule: Rule, function: &Function<'_>, line: usize, what: &str) -> Finding {
    Finding { rule, line, function: Some(demangled(function.name)), what: what.to_owned(), users: Vec::new() }
}

fn externs(ptx: &Ptx<'_>, kernels: &str) -> Vec<Finding> {
    let callers = ptx.callers();
    let findings = ptx.externs.iter().map(|missing| Finding {
        rule: Rule::Extern,
        line: missing.line,
        function: None,
        what: demangled(missing.name),
        users: users(missing.name, &callers, kernels),
    });
    findings.collect()
}

/// Who needs a name: up the callers to the first functions of the kernel crate; where no function of it has kept its name, the
/// direct callers.
fn users(name: &str, callers: &BTreeMap<&str, BTreeSet<&str>>, kernels: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut queue = VecDeque::from([name]);
    while let Some(callee) = queue.pop_front() {
        for &caller in callers.get(callee).into_iter().flatten() {
            if !seen.insert(caller) {
                continue;
            }
            let human = demangled(caller);
            if is_of(&human, kernels) {
                found.insert(human);
            } else {
                queue.push_back(caller);
            }
        }
    }
    if found.is_empty() {
        found = callers.get(name).into_iter().flatten().map(|caller| demangled(caller)).collect();
    }
    found.into_iter().collect()
}

/// Whether the function belongs to the crate: `bank::audit`, `<bank::Account>::audit`, `<bank::Account as core::fmt::Debug>::fmt`.
/// A generic function of another crate that is instantiated with a type of this one is not.
fn is_of(function: &str, krate: &str) -> bool {
    let owner = function.trim_start_matches(['<', '&', '(']);
    owner.strip_prefix(krate).is_some_and(|rest| rest.starts_with("::"))
}

/// Whether a finding is in a function of the crate, or in one that was made for its types.
pub fn is_about(finding: &Finding, krate: &str) -> bool {
    let path = format!("{krate}::");
    finding.function.as_ref().is_some_and(|function| function.contains(&path))
}

/// Whether a finding names a function of the crate.
pub fn names_crate(finding: &Finding, krate: &str) -> bool {
    finding.function.iter().chain(&finding.users).any(|function| is_of(function, krate))
}

/// `.param .u64 name` and `.param .u64 .ptr .align 1 name` are raw values. rustc gives a reference its alignment, so a larger one
/// is a reference; other types are values that do not fit the launch.
fn entry_parameters(function: &Function<'_>, found: &mut Vec<Finding>) {
    for &(line, parameter) in function.parameters.iter().filter(|_| function.entry) {
        let mut parts = parameter.split_whitespace().skip(1).peekable();
        let is_word = matches!(parts.next(), Some(".u64" | ".b64"));
        let plain = is_word
            && match parts.next() {
                Some(".ptr") => matches!((parts.next(), parts.next()), (Some(".align"), Some("1")) | (Some(_), None)),
                Some(name) => !name.starts_with('.') && !name.contains('['),
                None => false,
            };
        if !plain {
            found.push(place(Rule::EntryParameter, function, line, parameter));
        }
    }
}

/// A load through the read-only cache is right for a constant of the module, and LLVM makes such loads for tables and literals. Any
/// other address is a pointer that came from outside.
fn read_only_loads(function: &Function<'_>, ptx: &Ptx<'_>, found: &mut Vec<Finding>) {
    let mut definitions = BTreeMap::<&str, Vec<Statement<'_>>>::new();
    let mut loads = Vec::new();
    for &(line, text) in &function.body {
        for statement in statements(text) {
            if let Some(to) = statement.each().next().filter(|to| to.starts_with('%')) {
                definitions.entry(to).or_default().push(statement);
            }
            if matches!(statement.kind(), "ld" | "ldu") && (statement.has("nc") || statement.kind() == "ldu") {
                loads.push((line, statement));
            }
        }
    }
    for (line, load) in loads {
        let address = load.operands.split_once('[').map_or("", |(_, address)| address);
        let base = words(address).next().unwrap_or_default();
        if !is_constant(base, &definitions, ptx, &mut BTreeSet::new()) {
            found.push(place(Rule::ReadOnlyLoad, function, line, &format!("{} {}", load.opcode, load.operands)));
        }
    }
}

/// Whether every definition of a register leads to the address of a variable of the module, plus an offset.
fn is_constant<'a>(
    base: &'a str,
    definitions: &BTreeMap<&'a str, Vec<Statement<'a>>>,
    ptx: &Ptx<'_>,
    under_way: &mut BTreeSet<&'a str>,
) -> bool {
    if !base.starts_with('%') {
        return ptx.variables.contains(base);
    }
    // A register that steps through a table is defined from itself; its other definition decides.
    if !under_way.insert(base) {
        return true;
    }
    let constant = definitions.get(base).is_some_and(|all| {
        all.iter().all(|statement| {
            let from: Vec<&str> = statement.each().skip(1).collect();
            let mut is = |operand: &'a str| is_constant(operand, definitions, ptx, under_way);
            match (statement.kind(), from.as_slice()) {
                ("mov" | "cvta", [from]) => is(from),
                // Two addresses are never added, so the other one is the offset.
                ("add", [a, b]) => is(a) || is(b),
                ("sub", [a, _]) => is(a),
                ("mad", [_, _, c]) => is(c),
                ("selp", [a, b, _]) => is(a) && is(b),
                _ => false,
            }
        })
    });
    under_way.remove(base);
    constant
}

fn is_unscoped(statement: Statement<'_>) -> bool {
    matches!(statement.kind(), "atom" | "red") && !["cta", "cluster", "gpu", "sys"].iter().any(|scope| statement.has(scope))
}

fn is_barrier(statement: Statement<'_>) -> bool {
    match statement.kind() {
        "bar" | "barrier" => true,
        "vote" | "shfl" | "match" | "redux" | "activemask" | "elect" => statement.has("sync") || statement.kind() == "activemask",
        _ => false,
    }
}

/// LLVM has no `memcpy` to call on the GPU. A copy of more than 128 bytes, or of unknown length, becomes a loop, and that loop moves
/// single bytes, however the memory is aligned. Its shape is always the same: one basic block that branches back to its own label, in it one load and one store of 8 bits through the same
/// register, which nothing else touches, and a step of one. A loop that computes on its bytes has another use of that register
/// between, one that scans has no store, and one that fills has no load.
fn byte_copies(function: &Function<'_>, found: &mut Vec<Finding>) {
    let mut block: Option<(&str, usize, Vec<Statement<'_>>)> = None;
    for &(line, text) in &function.body {
        if let Some(name) = label(text) {
            block = Some((name, line, Vec::new()));
        }
        for statement in statements(text) {
            let Some((name, start, body)) = &mut block else { continue };
            body.push(statement);
            if statement.kind() == "bra" && statement.operands == *name {
                if copies_bytes(body) {
                    found.push(place(Rule::ByteCopy, function, *start, name));
                }
                block = None;
            }
        }
    }
}

fn copies_bytes(body: &[Statement<'_>]) -> bool {
    let of = |kind: &str| body.iter().filter(|statement| statement.kind() == kind).copied().collect::<Vec<_>>();
    let (loads, stores) = (of("ld"), of("st"));
    let ([load], [store]) = (loads.as_slice(), stores.as_slice()) else { return false };
    let is_byte = |statement: &Statement<'_>| ["b8", "u8", "s8"].iter().any(|size| statement.has(size));
    let byte = load.each().next().unwrap_or_default();
    let uses = body.iter().filter(|statement| words(statement.operands).any(|word| word == byte)).count();
    let steps = body
        .iter()
        .any(|statement| matches!(statement.kind(), "add" | "sub") && matches!(statement.each().nth(2), Some("1" | "-1")));
    is_byte(load) && is_byte(store) && store.each().nth(1) == Some(byte) && uses == 2 && steps
}

fn debug_info(ptx: &Ptx<'_>, found: &mut Vec<Finding>) {
    let is_debug = |line: &str| {
        let code = code(line);
        let mut parts = code.split_whitespace();
        match parts.next() {
            Some(".loc" | ".file") => true,
            Some(".section") => parts.next().is_some_and(|name| name.starts_with(".debug")),
            _ => false,
        }
    };
    let first = ptx.lines.iter().enumerate().find(|(_, line)| is_debug(line));
    found.extend(first.map(|(at, line)| Finding {
        rule: Rule::DebugInfo,
        line: at + 1,
        function: None,
        what: code(line).to_owned(),
        users: Vec::new(),
    }));
}

#[cfg(test)]
mod tests;
