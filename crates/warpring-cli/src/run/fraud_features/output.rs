//! The features as CSV, with the header and the order of columns of the published feature files.

use super::Answer;
use crate::input::transactions::Row;
use std::io::{self, Write};

/// The published header.
pub const HEADER: &str = "TRANSACTION_ID,TX_DURING_WEEKEND,TX_DURING_NIGHT,\
CUSTOMER_ID_NB_TX_1DAY_WINDOW,CUSTOMER_ID_AVG_AMOUNT_1DAY_WINDOW,\
CUSTOMER_ID_NB_TX_7DAY_WINDOW,CUSTOMER_ID_AVG_AMOUNT_7DAY_WINDOW,\
CUSTOMER_ID_NB_TX_30DAY_WINDOW,CUSTOMER_ID_AVG_AMOUNT_30DAY_WINDOW,\
TERMINAL_ID_NB_TX_1DAY_WINDOW,TERMINAL_ID_RISK_1DAY_WINDOW,\
TERMINAL_ID_NB_TX_7DAY_WINDOW,TERMINAL_ID_RISK_7DAY_WINDOW,\
TERMINAL_ID_NB_TX_30DAY_WINDOW,TERMINAL_ID_RISK_30DAY_WINDOW";

/// Writes the header.
///
/// # Errors
/// Those of the writer.
pub fn write_header(to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{HEADER}")
}

/// Writes rows, each collected in one buffer first: a call of the writer for each field costs as much as the fields.
#[derive(Default)]
pub struct RowWriter {
    line: Vec<u8>,
}

impl RowWriter {
    /// Writes one row. Floats are written in the shortest way that reads back to the same value, whole ones without a
    /// point, as in the published files.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&mut self, to: &mut dyn Write, row: &Row, answer: &Answer) -> io::Result<()> {
        let Answer { customer, terminal } = answer;
        let line = &mut self.line;
        line.clear();
        push_whole(line, row.id);
        for flag in [customer.during_weekend, customer.during_night] {
            line.extend([b',', b'0' + u8::from(flag)]);
        }
        for (counts, floats) in [(&customer.counts, &customer.means), (&terminal.counts, &terminal.risks)] {
            for (count, float) in counts.iter().zip(floats) {
                line.push(b',');
                push_whole(line, u64::from(*count));
                line.push(b',');
                push_float(line, *float)?;
            }
        }
        line.push(b'\n');
        to.write_all(line)
    }
}

fn push_whole(line: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[start..]);
}

/// As `{}` writes it. The search for the shortest digits is left out where there is nothing to search: most risks are zero.
fn push_float(line: &mut Vec<u8>, float: f64) -> io::Result<()> {
    if float.to_bits() == 0 {
        line.push(b'0');
        return Ok(());
    }
    write!(line, "{float}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_written_as_by_display(whole in any::<u64>(), float in any::<f64>(), small in 0..3u32) {
            for float in [float, f64::from(small), f64::from(small) / 3.0, -0.0] {
                let mut line = Vec::new();
                push_float(&mut line, float).unwrap();
                prop_assert_eq!(String::from_utf8(line).unwrap(), float.to_string());
            }
            for whole in [whole, u64::from(small)] {
                let mut line = Vec::new();
                push_whole(&mut line, whole);
                prop_assert_eq!(String::from_utf8(line).unwrap(), whole.to_string());
            }
        }
    }
}
