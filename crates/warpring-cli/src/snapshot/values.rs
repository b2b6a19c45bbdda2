//! The fields of a saved state as a reader wants them: numbers and truth values as such, all else as bytes.

use serde_json::{Map, Value, json};
use warpring::snapshot::{SavedField, SavedKind, Scalar};

/// A line for each field.
pub(super) fn as_text(kind: &SavedKind, state: &[u8]) -> Vec<String> {
    let line = |(field, holds): (&SavedField, bool)| {
        let head = format!("{:indent$}{}: {}", "", field.name, field.ty, indent = 2 * usize::from(field.depth));
        if holds { head } else { format!("{head} = {}", text(&value(field, state))) }
    };
    with_holders(kind).map(line).collect()
}

/// The fields by name; those in fields by their whole names.
pub(super) fn as_json(kind: &SavedKind, state: &[u8]) -> Value {
    let plain = with_holders(kind).filter(|(_, holds)| !holds);
    Value::Object(plain.map(|(field, _)| (field.name.clone(), value(field, state))).collect::<Map<_, _>>())
}

/// Each field, and whether those after it are its own.
fn with_holders(kind: &SavedKind) -> impl Iterator<Item = (&SavedField, bool)> {
    let next = kind.fields.iter().skip(1).map(Some).chain([None]);
    kind.fields.iter().zip(next).map(|(field, next)| (field, next.is_some_and(|next| next.depth > field.depth)))
}

fn text(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn value(field: &SavedField, state: &[u8]) -> Value {
    let end = (field.offset as usize).saturating_add(field.bytes as usize);
    let bytes = state.get(field.offset as usize..end).unwrap_or_default();
    let width = width(field.scalar);
    if width == 0 || !bytes.len().is_multiple_of(width) {
        return Value::String(hex(bytes));
    }
    // An array, of however many: its type says which.
    if field.bytes as usize == width && !field.ty.contains('[') {
        return scalar(field.scalar, bytes);
    }
    bytes.chunks_exact(width).map(|bytes| scalar(field.scalar, bytes)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn width(scalar: Scalar) -> usize {
    match scalar {
        Scalar::Other => 0,
        Scalar::Bool | Scalar::U8 | Scalar::I8 => 1,
        Scalar::U16 | Scalar::I16 => 2,
        Scalar::U32 | Scalar::I32 | Scalar::F32 => 4,
        Scalar::U64 | Scalar::I64 | Scalar::F64 => 8,
    }
}

fn scalar(scalar: Scalar, bytes: &[u8]) -> Value {
    let mut low = [0; 8];
    low[..bytes.len()].copy_from_slice(bytes);
    let bits = u64::from_le_bytes(low);
    match scalar {
        Scalar::Bool if bits <= 1 => json!(bits == 1),
        Scalar::Bool | Scalar::Other => Value::String(hex(bytes)),
        Scalar::U8 | Scalar::U16 | Scalar::U32 | Scalar::U64 => json!(bits),
        Scalar::I8 => json!(bits as i8),
        Scalar::I16 => json!(bits as i16),
        Scalar::I32 => json!(bits as i32),
        Scalar::I64 => json!(bits as i64),
        Scalar::F32 => float(f64::from(f32::from_bits(bits as u32)), &f32::from_bits(bits as u32).to_string()),
        Scalar::F64 => float(f64::from_bits(bits), &f64::from_bits(bits).to_string()),
    }
}

/// JSON has no infinities and no NaN: these are texts. The shortest text of an `f32` is not that of the `f64` of the same value.
fn float(value: f64, text: &str) -> Value {
    if !value.is_finite() {
        return Value::String(text.to_owned());
    }
    json!(text.parse::<f64>().unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_shown_as_such() {
        assert_eq!(scalar(Scalar::Bool, &[1]), json!(true));
        assert_eq!(scalar(Scalar::Bool, &[2]), json!("0x02"));
        assert_eq!(scalar(Scalar::U64, &u64::MAX.to_le_bytes()), json!(u64::MAX));
        assert_eq!(scalar(Scalar::I16, &(-2i16).to_le_bytes()), json!(-2));
        assert_eq!(scalar(Scalar::I64, &i64::MIN.to_le_bytes()), json!(i64::MIN));
        assert_eq!(scalar(Scalar::F32, &0.1f32.to_le_bytes()), json!(0.1));
        assert_eq!(scalar(Scalar::F64, &f64::NAN.to_le_bytes()), json!("NaN"));
    }
}
