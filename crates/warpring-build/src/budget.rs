//! What the entries of a module may need, as a file that lies beside the PTX:
//!
//! ```toml
//! [warpring_run]
//! registers = 128
//! stack = 512
//! spills = 0
//! ```
//!
//! `stack` and `spills` are bytes for each thread; `spills` counts stores and loads. The limits hold on every architecture.

use std::fmt;

use crate::ptxas::Usage;

/// The limits of all entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    entries: Vec<Limits>,
}

/// The limits of one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Limits {
    name: String,
    registers: Option<u32>,
    stack: Option<u32>,
    spills: Option<u32>,
}

/// A figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Registers of a thread.
    Registers,
    /// Bytes of stack of a thread.
    Stack,
    /// Bytes of spilled registers, stored and loaded.
    Spills,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Registers => "registers",
            Self::Stack => "bytes of stack",
            Self::Spills => "bytes of spills",
        })
    }
}

/// A budget that is not one, or that is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BudgetError {
    /// A line of the file cannot be read.
    Line {
        /// Its number, from 1.
        line: usize,
        /// Why.
        why: String,
    },
    /// An entry has no limit for a figure.
    NoLimit {
        /// The entry.
        entry: String,
        /// The figure.
        figure: Figure,
    },
    /// The budget has an entry that the module has not.
    NoEntry {
        /// The entry.
        entry: String,
    },
    /// An entry needs more than it may.
    Exceeded {
        /// The entry.
        entry: String,
        /// The architecture.
        arch: String,
        /// The figure.
        figure: Figure,
        /// What it needs.
        needs: u32,
        /// What it may.
        limit: u32,
    },
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { line, why } => write!(f, "line {line} of the budget: {why}"),
            Self::NoLimit { entry, figure } => write!(f, "the budget has no limit for the {figure} of `{entry}`"),
            Self::NoEntry { entry } => write!(f, "the budget has `{entry}`, which is no entry of the module"),
            Self::Exceeded { entry, arch, figure, needs, limit } => {
                write!(f, "`{entry}` needs {needs} {figure} on {arch}, and its limit is {limit}")
            }
        }
    }
}

impl std::error::Error for BudgetError {}

impl BudgetError {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Line { .. } => "a budget has sections `[entry]` with lines `registers = n`, `stack = n`, `spills = n`",
            Self::NoLimit { .. } => "add the line to the entry's section",
            Self::NoEntry { .. } => "remove the section",
            Self::Exceeded { .. } => "make the handlers smaller, or raise the limit, and say in the commit why",
        }
    }
}

impl Budget {
    /// Reads a budget.
    ///
    /// # Errors
    /// [`BudgetError::Line`].
    pub fn read(text: &str) -> Result<Self, BudgetError> {
        let mut budget = Self::default();
        for (at, line) in text.lines().enumerate() {
            let refuse = |why: String| BudgetError::Line { line: at + 1, why };
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                let name = name.trim().to_owned();
                if budget.entries.iter().any(|entry| entry.name == name) {
                    return Err(refuse(format!("`{name}` has a section already")));
                }
                budget.entries.push(Limits { name, ..Limits::default() });
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| refuse("neither a section nor `key = number`".to_owned()))?;
            let entry = budget.entries.last_mut().ok_or_else(|| refuse("a limit before the first section".to_owned()))?;
            let value = value.trim().parse().map_err(|_| refuse(format!("`{}` is no number", value.trim())))?;
            let limit = match key.trim() {
                "registers" => &mut entry.registers,
                "stack" => &mut entry.stack,
                "spills" => &mut entry.spills,
                other => return Err(refuse(format!("`{other}` is no figure"))),
            };
            if limit.replace(value).is_some() {
                return Err(refuse(format!("`{}` has a limit already", key.trim())));
            }
        }
        Ok(budget)
    }

    /// Compares what ptxas says about a module with the limits.
    ///
    /// # Errors
    /// All that does not fit.
    pub fn check(&self, arch: &str, usages: &[Usage]) -> Result<(), Vec<BudgetError>> {
        let mut errors = Vec::new();
        let entries: Vec<&Usage> = usages.iter().filter(|usage| usage.registers.is_some()).collect();
        for limits in self.entries.iter().filter(|limits| !entries.iter().any(|usage| usage.name == limits.name)) {
            errors.push(BudgetError::NoEntry { entry: limits.name.clone() });
        }
        for usage in entries {
            let none = Limits::default();
            let limits = self.entries.iter().find(|limits| limits.name == usage.name).unwrap_or(&none);
            for (figure, needs, limit) in [
                (Figure::Registers, usage.registers.unwrap_or_default(), limits.registers),
                (Figure::Stack, usage.stack_bytes, limits.stack),
                (Figure::Spills, usage.spill_bytes(), limits.spills),
            ] {
                let entry = usage.name.clone();
                match limit {
                    None => errors.push(BudgetError::NoLimit { entry, figure }),
                    Some(limit) if needs > limit => {
                        errors.push(BudgetError::Exceeded { entry, arch: arch.to_owned(), figure, needs, limit });
                    }
                    Some(_) => {}
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# limits\n[warpring_run]\nregisters = 128 # of 255\nstack = 512\nspills = 8\n";

    fn usage(registers: u32, stack_bytes: u32, spill_store_bytes: u32, spill_load_bytes: u32) -> Vec<Usage> {
        let entry = Usage {
            name: "warpring_run".to_owned(),
            registers: Some(registers),
            stack_bytes,
            spill_store_bytes,
            spill_load_bytes,
        };
        // ptxas tells no registers of functions, and the budget has no limits for them.
        vec![entry, Usage { name: "f".to_owned(), stack_bytes: 9999, ..Usage::default() }]
    }

    #[test]
    fn limits_are_kept_to_the_last_unit() {
        let budget = Budget::read(TEXT).unwrap();
        assert_eq!(budget.check("sm_90", &usage(128, 512, 4, 4)), Ok(()));
        for (over, figure, needs, limit) in [
            (usage(129, 512, 4, 4), Figure::Registers, 129, 128),
            (usage(128, 513, 4, 4), Figure::Stack, 513, 512),
            (usage(128, 512, 4, 5), Figure::Spills, 9, 8),
        ] {
            let entry = "warpring_run".to_owned();
            let exceeded = BudgetError::Exceeded { entry, arch: "sm_90".to_owned(), figure, needs, limit };
            assert_eq!(budget.check("sm_90", &over), Err(vec![exceeded]));
        }
    }

    #[test]
    fn an_error_names_entry_figure_and_limit() {
        let errors = Budget::read(TEXT).unwrap().check("sm_90", &usage(200, 0, 0, 0)).unwrap_err();
        assert_eq!(errors[0].to_string(), "`warpring_run` needs 200 registers on sm_90, and its limit is 128");
    }

    #[test]
    fn budget_and_module_have_the_same_entries() {
        let missing = |text| Budget::read(text).unwrap().check("sm_90", &usage(1, 1, 0, 0)).unwrap_err();
        assert_eq!(missing("").len(), 3);
        assert!(
            missing("[warpring_run]\nregisters = 1\nstack = 1")
                .contains(&BudgetError::NoLimit { entry: "warpring_run".to_owned(), figure: Figure::Spills })
        );
        assert_eq!(missing(&format!("{TEXT}[gone]\n")), [BudgetError::NoEntry { entry: "gone".to_owned() }]);
    }

    #[test]
    fn what_is_no_budget_is_refused_with_its_line() {
        for (text, line) in [
            ("registers = 1", 1),
            ("[a]\nregisters", 2),
            ("[a]\nregisters = -1", 2),
            ("[a]\nregister = 1", 2),
            ("[a]\nstack = 1\nstack = 2", 3),
            ("[a]\n[b]\n[a]", 3),
        ] {
            assert!(matches!(Budget::read(text), Err(BudgetError::Line { line: found, .. }) if found == line), "{text}");
        }
    }
}
