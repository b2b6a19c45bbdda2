//! A reader of PTX text, line by line: functions, entries, their parameters, their statements and whom they call.
//!
//! It knows what LLVM prints and no more: a header ends at a line `{` or `;`, a body at a line `}` in the first column.

use std::collections::{BTreeMap, BTreeSet};

/// A PTX module.
pub struct Ptx<'a> {
    /// All lines, the first at index 0.
    pub lines: Vec<&'a str>,
    /// Functions and entries with a body, in the order of the text.
    pub functions: Vec<Function<'a>>,
    /// What the module names and does not have.
    pub externs: Vec<Extern<'a>>,
    /// Variables of the module.
    pub variables: BTreeSet<&'a str>,
}

/// A function or an entry.
pub struct Function<'a> {
    /// Its symbol.
    pub name: &'a str,
    /// Whether it can be launched.
    pub entry: bool,
    /// Its parameters as declared, with the numbers of their lines.
    pub parameters: Vec<(usize, &'a str)>,
    /// Lines of the body, with their numbers.
    pub body: Vec<(usize, &'a str)>,
}

/// A declaration that nothing in the module defines.
pub struct Extern<'a> {
    /// Its symbol.
    pub name: &'a str,
    /// Number of its line.
    pub line: usize,
}

/// One instruction of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// What is done, with all its qualifiers: `ld.global.b32`.
    pub opcode: &'a str,
    /// The operands as written.
    pub operands: &'a str,
}

impl<'a> Statement<'a> {
    /// Whether the opcode has this word between its dots.
    pub fn has(&self, word: &str) -> bool {
        self.opcode.split('.').any(|part| part == word)
    }

    /// The word before the first dot.
    pub fn kind(&self) -> &'a str {
        self.opcode.split('.').next().unwrap_or_default()
    }

    /// The operands, one by one.
    pub fn each(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.operands.split(',').map(str::trim)
    }
}

/// What stands before a comment.
pub fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default().trim()
}

/// The label that a line begins with.
pub fn label(line: &str) -> Option<&str> {
    let (label, _) = code(line).split_once(':')?;
    (!label.is_empty() && label.chars().all(is_word)).then_some(label)
}

/// The instructions of a line: without labels, braces and predicates.
pub fn statements(line: &str) -> impl Iterator<Item = Statement<'_>> {
    let line = code(line);
    let line = label(line).map_or(line, |label| line[label.len() + 1..].trim());
    line.split(';').filter_map(|text| {
        let text = text.trim().trim_start_matches(['{', '}']).trim();
        let text = match text.strip_prefix('@') {
            Some(guarded) => guarded.split_once(char::is_whitespace)?.1.trim(),
            None => text,
        };
        if text.is_empty() || text.starts_with('.') {
            return None;
        }
        let (opcode, operands) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        Some(Statement { opcode, operands: operands.trim() })
    })
}

/// Whether PTX allows it in a name.
pub fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || c == '%'
}

/// The names in a text.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

impl<'a> Ptx<'a> {
    /// Reads a module.
    pub fn read(text: &'a str) -> Self {
        let mut ptx =
            Self { lines: text.lines().collect(), functions: Vec::new(), externs: Vec::new(), variables: BTreeSet::new() };
        let lines = ptx.lines.clone();
        let mut at = 0;
        while at < lines.len() {
            let line = code(lines[at]);
            let external = line.starts_with(".extern");
            if let Some(name) = function_name(line) {
                at = ptx.function(&lines, at, name, external);
            } else if let Some(name) = variable_name(line) {
                if external {
                    ptx.externs.push(Extern { name, line: at + 1 });
                } else {
                    ptx.variables.insert(name);
                }
            }
            at += 1;
        }
        ptx
    }

    /// Reads the function whose header begins at `start`, and returns the index of its last line.
    fn function(&mut self, lines: &[&'a str], start: usize, name: &'a str, external: bool) -> usize {
        let mut function = Function { name, entry: code(lines[start]).contains(".entry"), parameters: vec![], body: vec![] };
        let mut at = start;
        loop {
            let Some(line) = lines.get(at).map(|line| code(line)) else { return at };
            if line.ends_with(';') {
                if external {
                    self.externs.push(Extern { name, line: start + 1 });
                }
                return at;
            }
            if at > start && line.starts_with(".param") {
                function.parameters.push((at + 1, line.trim_end_matches(',')));
            }
            if line.ends_with('{') {
                break;
            }
            at += 1;
        }
        at += 1;
        while let Some(line) = lines.get(at).filter(|line| !line.starts_with('}')) {
            function.body.push((at + 1, line));
            at += 1;
        }
        self.functions.push(function);
        at
    }

    /// The names of the entries.
    pub fn entries(&self) -> impl Iterator<Item = &'a str> {
        self.functions.iter().filter(|function| function.entry).map(|function| function.name)
    }

    /// Who calls whom: for each name, the functions of the module whose bodies mention it.
    pub fn callers(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let known: BTreeSet<&str> =
            self.functions.iter().map(|function| function.name).chain(self.externs.iter().map(|e| e.name)).collect();
        let mut callers = BTreeMap::<_, BTreeSet<_>>::new();
        for function in &self.functions {
            for word in function.body.iter().flat_map(|(_, line)| words(code(line))) {
                if word != function.name && known.contains(word) {
                    callers.entry(word).or_default().insert(function.name);
                }
            }
        }
        callers
    }
}

/// The function that a header line declares: its name follows `.func` or `.entry`, after what is returned, if anything is.
fn function_name(line: &str) -> Option<&str> {
    let mut head = line;
    while let Some(rest) = [".visible", ".weak", ".extern"].iter().find_map(|linkage| head.strip_prefix(linkage)) {
        head = rest.trim_start();
    }
    let rest = head.strip_prefix(".func").or_else(|| head.strip_prefix(".entry"))?.trim_start();
    let rest = if rest.starts_with('(') { rest.split_once(')')?.1 } else { rest };
    words(rest).next()
}

/// The variable that a line at module level declares.
fn variable_name(line: &str) -> Option<&str> {
    let mut head = line;
    while let Some(rest) = [".visible", ".weak", ".extern", ".common"].iter().find_map(|linkage| head.strip_prefix(linkage)) {
        head = rest.trim_start();
    }
    if ![".global", ".const", ".shared"].iter().any(|space| head.starts_with(space)) {
        return None;
    }
    let declared = head.split(['=', '[', ';']).next()?;
    declared.split_whitespace().last().filter(|name| name.chars().all(is_word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
.version 7.0
.func _R1f
()
.noreturn;
.extern .func  (.param .b64 func_retval0) malloc
(
\t.param .b64 malloc_param_0
)
;
.extern .global .align 4 .u32 WHAT;
.global .align 8 .b8 anon_$_1_$_3[32] = {6, 1};
.visible .entry warpring_run(
\t.param .u64 .ptr .align 1 warpring_run_param_0
)
{
\t.reg .b64 \t%rd<5>;
$L__BB0_1:
\t@%p1 bra \t$L__BB0_1;
\tcall.uni (retval0), malloc, (param0);
\ttrap; exit;
\tret;

}
.func  (.param .b32 func_retval0) _R1f()
{
\tret;
}
";

    #[test]
    fn a_module_is_read() {
        let ptx = Ptx::read(TEXT);
        let functions: Vec<_> = ptx.functions.iter().map(|f| (f.name, f.entry, f.parameters.len(), f.body.len())).collect();
        assert_eq!(functions, [("warpring_run", true, 1, 7), ("_R1f", false, 0, 1)]);
        let externs: Vec<_> = ptx.externs.iter().map(|e| (e.name, e.line)).collect();
        assert_eq!(externs, [("malloc", 5), ("WHAT", 10)]);
        assert_eq!(ptx.variables.iter().copied().collect::<Vec<_>>(), ["anon_$_1_$_3"]);
        assert_eq!(ptx.callers()["malloc"].iter().copied().collect::<Vec<_>>(), ["warpring_run"]);
        assert_eq!(ptx.entries().collect::<Vec<_>>(), ["warpring_run"]);
    }

    #[test]
    fn a_line_is_taken_apart() {
        let both: Vec<_> = statements("$L_1: @!%p1 ld.global.nc.b32 \t%r1, [%rd3+4]; exit; // why").collect();
        assert_eq!(
            both,
            [Statement { opcode: "ld.global.nc.b32", operands: "%r1, [%rd3+4]" }, Statement { opcode: "exit", operands: "" }]
        );
        assert!(both[0].has("nc") && !both[0].has("n"));
        assert_eq!(both[0].each().collect::<Vec<_>>(), ["%r1", "[%rd3+4]"]);
        assert_eq!(statements("\t.reg .b64 %rd<5>;").count(), 0);
        assert_eq!(label("$L__BB0_1:"), Some("$L__BB0_1"));
        assert_eq!(label("\tmov.b64 %rd1, x;"), None);
    }
}
