//! `warpring dead-letters`: prints a log of dead letters, and asks the program that writes it to send letters again.
//!
//! This command has none of the actors that the letters are for: they live in the program that wrote the log, whose module and state
//! nobody else has. So `resend` leaves a request beside the log; the program's runtime sees it within a second, sends the letters
//! from inside, and marks them in the log, which is what this command waits for.

use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use warpring::{ActorId, DeadLetter, DeadLetterLog, DeadLetterLogError, KernelError, Priority};

/// Print a log of dead letters, or have letters sent again
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct DeadLetters {
    #[command(subcommand)]
    again: Option<Again>,
    /// The log: what `RuntimeBuilder::dead_letter_log` names
    #[arg(value_name = "FILE", required = true)]
    file: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
    /// Print the log as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Again {
    Resend(Resend),
}

/// Ask the running program that writes the log to send letters again
///
/// The program must be running, for only it has the actors. Its runtime looks for such requests about once a second. A letter
/// whose message a handler had taken, or that was sent again before, is not sent.
#[derive(Debug, clap::Args)]
struct Resend {
    /// The log: what `RuntimeBuilder::dead_letter_log` names
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    which: Which,
    /// Send them to this actor, as the log writes it (worker:slot.generation), and not each to its own target
    #[arg(long, value_name = "ACTOR", value_parser = actor)]
    to: Option<ActorId>,
    /// How many seconds to wait for the program
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    wait: u64,
}

/// Which letters.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only letters with this reason
    #[arg(long, value_parser = REASONS)]
    reason: Option<String>,
    /// Only letters to kernels with this id
    #[arg(long, value_name = "ID")]
    kernel: Option<String>,
}

const REASONS: [&str; 11] = [
    "rejected",
    "deadline",
    "stopped",
    "mailbox-full",
    "overloaded",
    "malformed",
    "panicked",
    "asked-itself",
    "too-many-actors",
    "interrupted",
    "wrong-module",
];

/// The reason's name, as `--reason` takes it.
const fn name(reason: KernelError) -> &'static str {
    match reason {
        KernelError::Rejected { .. } => REASONS[0],
        KernelError::Deadline => REASONS[1],
        KernelError::Stopped => REASONS[2],
        KernelError::MailboxFull { .. } => REASONS[3],
        KernelError::Overloaded => REASONS[4],
        KernelError::Malformed => REASONS[5],
        KernelError::Panicked { .. } => REASONS[6],
        KernelError::AskedItself => REASONS[7],
        KernelError::TooManyActors => REASONS[8],
        KernelError::Interrupted => REASONS[9],
        KernelError::WrongModule => REASONS[10],
        _ => "other",
    }
}

/// The inverse of `ActorId`'s `Display`.
fn actor(text: &str) -> Result<ActorId, String> {
    let parts = || {
        let (worker, rest) = text.split_once(':')?;
        let (slot, generation) = rest.split_once('.')?;
        Some(ActorId { worker: worker.parse().ok()?, slot: slot.parse().ok()?, generation: generation.parse().ok()? })
    };
    parts().ok_or_else(|| "write worker:slot.generation, such as 0:17.1".to_owned())
}

/// Why letters were not printed or sent.
#[derive(Debug)]
pub enum DeadLettersError {
    /// The log.
    Log(DeadLetterLogError),
    /// Standard output.
    Output(io::Error),
    /// No program writes the log.
    NobodyThere { file: PathBuf },
    /// No letter can be sent.
    NothingToSend { file: PathBuf },
    /// The program has not looked at the request in time.
    NotMet { file: PathBuf, seconds: u64 },
    /// Some letters were not accepted.
    NotSent { refused: usize, wanted: usize },
}

impl fmt::Display for DeadLettersError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(error) => error.fmt(f),
            Self::Output(error) => write!(f, "standard output: {error}"),
            Self::NobodyThere { file } => write!(f, "{}: no running program writes this log", file.display()),
            Self::NothingToSend { file } => write!(f, "{}: no letter of this log can be sent", file.display()),
            Self::NotMet { file, seconds } => {
                write!(f, "{}: the program has not met the request within {seconds} s", file.display())
            }
            Self::NotSent { refused, wanted } => write!(f, "{refused} of {wanted} letters were not accepted"),
        }
    }
}

impl std::error::Error for DeadLettersError {}

impl DeadLettersError {
    /// What to do about it, where something can be done.
    pub const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NobodyThere { .. } => {
                Some("start the program, whose actors take the letters; or have it call `Runtime::resend_dead_letters`")
            }
            Self::NothingToSend { .. } => Some("print the log to see which letters have a payload and were not sent again"),
            Self::NotMet { .. } => Some("the request stays where it is; look at the log later, or wait longer with `--wait`"),
            Self::NotSent { .. } => {
                Some("see `warpring dead-letters` for those that are left, and name a living actor with `--to`")
            }
            _ => None,
        }
    }
}

impl From<DeadLetterLogError> for DeadLettersError {
    fn from(error: DeadLetterLogError) -> Self {
        Self::Log(error)
    }
}

impl Which {
    fn takes(&self, letter: &DeadLetter) -> bool {
        self.reason.as_deref().is_none_or(|reason| reason == name(letter.reason))
            && self.kernel.as_deref().is_none_or(|kernel| letter.kernel.as_deref() == Some(kernel))
    }
}

impl DeadLetters {
    /// Prints, or asks for letters to be sent again.
    ///
    /// # Errors
    /// [`DeadLettersError`].
    pub fn run(&self) -> Result<(), DeadLettersError> {
        match (&self.again, &self.file) {
            (Some(Again::Resend(resend)), _) => resend.run(),
            (None, Some(file)) => self.print(file),
            (None, None) => unreachable!("the parser asks for one of them"),
        }
    }

    fn print(&self, file: &Path) -> Result<(), DeadLettersError> {
        let log = DeadLetterLog::read(file)?;
        let letters = log.letters.iter().filter(|letter| self.which.takes(letter));
        if self.json {
            let letters: Vec<_> = letters.map(as_json).collect();
            let modules: Vec<_> = log
                .modules
                .iter()
                .map(|(name, fingerprint)| json!({ "name": name, "fingerprint": format!("{fingerprint:016x}") }))
                .collect();
            let text = json!({
                "modules": modules,
                "letters": letters,
                "missed": log.missed,
                "damaged_bytes": log.damaged_bytes,
            });
            return crate::stdout::print(&text.to_string()).map_err(DeadLettersError::Output);
        }
        let mut lines: Vec<_> = letters.map(as_text).collect();
        lines.push(format!("{} of {} letters", lines.len(), log.letters.len()));
        if log.missed > 0 {
            lines.push(format!("{} more came faster than they were written", log.missed));
        }
        if log.damaged_bytes > 0 {
            lines.push(format!("{} bytes of torn or damaged records", log.damaged_bytes));
        }
        crate::stdout::print(&lines.join("\n")).map_err(DeadLettersError::Output)
    }
}

impl Resend {
    fn run(&self) -> Result<(), DeadLettersError> {
        let file = || self.file.clone();
        let log = DeadLetterLog::read(&self.file)?;
        let can_be = |letter: &&DeadLetter| !letter.is_resent() && letter.payload().is_some() && self.which.takes(letter);
        let wanted: Vec<_> = log.letters.iter().filter(can_be).collect();
        if wanted.is_empty() {
            return Err(DeadLettersError::NothingToSend { file: file() });
        }
        if !log.is_written()? {
            return Err(DeadLettersError::NobodyThere { file: file() });
        }
        log.request_resend(wanted.iter().copied(), self.to)?;
        let start = Instant::now();
        while log.has_request() {
            if start.elapsed() > Duration::from_secs(self.wait) {
                return Err(DeadLettersError::NotMet { file: file(), seconds: self.wait });
            }
            sleep(Duration::from_millis(50));
        }
        let now = DeadLetterLog::read(&self.file)?;
        let left = |letter: &&&DeadLetter| now.letters.iter().any(|after| after == **letter && !after.is_resent());
        let refused = wanted.iter().filter(left).count();
        let sent = wanted.len() - refused;
        let letters = if sent == 1 { "letter" } else { "letters" };
        crate::stdout::print(&format!("{sent} {letters} sent again")).map_err(DeadLettersError::Output)?;
        if refused > 0 { Err(DeadLettersError::NotSent { refused, wanted: wanted.len() }) } else { Ok(()) }
    }
}

fn as_json(letter: &DeadLetter) -> Value {
    json!({
        "sequence": letter.sequence,
        "time": date(letter.time),
        "to": letter.to.to_string(),
        "from": letter.from.map(|from| from.to_string()),
        "kernel": letter.kernel,
        "message": letter.message_type,
        "reason": name(letter.reason),
        "why": letter.reason.to_string(),
        "high_priority": letter.priority == Priority::High,
        "payload": letter.payload().map(hex),
        "resent": letter.is_resent(),
    })
}

fn as_text(letter: &DeadLetter) -> String {
    let text = |text: &Option<std::borrow::Cow<'static, str>>| text.as_deref().unwrap_or("?").to_owned();
    let from = letter.from.map_or_else(|| "the host".to_owned(), |from| from.to_string());
    let fate = if letter.is_resent() { ", sent again" } else { "" };
    let payload = letter.payload().map_or_else(|| "  payload gone".to_owned(), |bytes| format!("  payload {}", hex(bytes)));
    format!(
        "{:>6}  {}  {} to {} {} from {from}: {}{fate}\n      {payload}",
        letter.sequence,
        date(letter.time),
        text(&letter.message_type),
        text(&letter.kernel),
        letter.to,
        letter.reason,
    )
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// As RFC 3339 writes it, in UTC. The calendar is Howard Hinnant's `civil_from_days`, for the years from 1970 on.
fn date(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59.000Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59.000Z");
    }

    #[test]
    fn actors_are_read_as_they_are_written() {
        let id = ActorId { slot: 70_000, generation: 3, worker: 12 };
        assert_eq!(actor(&id.to_string()), Ok(id));
        for wrong in ["", "1", "1:2", "1.2", "a:1.1", "1:2.70000", "1:2.3.4"] {
            assert!(actor(wrong).is_err(), "{wrong}");
        }
    }
}
