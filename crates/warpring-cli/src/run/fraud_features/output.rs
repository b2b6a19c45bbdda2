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

/// Writes one row. Floats are written in the shortest way that reads back to the same value, whole ones without a
/// point, as in the published files.
///
/// # Errors
/// Those of the writer.
pub fn write_row(to: &mut dyn Write, row: &Row, answer: &Answer) -> io::Result<()> {
    let Answer { customer, terminal } = answer;
    write!(to, "{},{},{}", row.id, u8::from(customer.during_weekend), u8::from(customer.during_night))?;
    for window in 0..3 {
        write!(to, ",{},{}", customer.counts[window], customer.means[window])?;
    }
    for window in 0..3 {
        write!(to, ",{},{}", terminal.counts[window], terminal.risks[window])?;
    }
    writeln!(to)
}
