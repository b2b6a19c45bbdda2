//! Bytes between the fields of a value. They hold nothing, not even a number: whoever reads a value as bytes writes zeros there first.

/// Writes zeros where no field lies: `fields` are offsets and sizes in bytes, in any order, of a value of `size` bytes.
///
/// # Safety
/// `at` points to as many bytes, which belong to the caller alone.
pub unsafe fn clear_gaps(at: *mut u8, size: usize, fields: &[(usize, usize)]) {
    let ends = fields.iter().map(|(offset, bytes)| offset + bytes);
    for start in core::iter::once(0).chain(ends) {
        // A field that begins here leaves no gap; one without bytes hides none.
        let next = fields.iter().filter(|(offset, bytes)| offset + bytes > start && *bytes > 0).map(|(offset, _)| *offset);
        let next = next.min().unwrap_or(size);
        for byte in start..next {
            // SAFETY: below `size`, and of no field.
            unsafe { at.add(byte).write(0) }
        }
    }
}

/// Whether fields of these sizes leave gaps in a value of `size` bytes.
pub const fn leave_gaps(size: usize, fields: &[(usize, usize)]) -> bool {
    let (mut sum, mut index) = (0, 0);
    while index < fields.len() {
        sum += fields[index].1;
        index += 1;
    }
    sum < size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleared<const N: usize>(fields: &[(usize, usize)]) -> [u8; N] {
        let mut bytes = [7; N];
        // SAFETY: an array of this test.
        unsafe { clear_gaps(bytes.as_mut_ptr(), N, fields) }
        bytes
    }

    #[test]
    fn only_what_no_field_covers_becomes_zero() {
        assert_eq!(cleared::<8>(&[(4, 4), (0, 1)]), [7, 0, 0, 0, 7, 7, 7, 7]);
        assert_eq!(cleared::<8>(&[(0, 4), (4, 1), (5, 1)]), [7, 7, 7, 7, 7, 7, 0, 0]);
        assert_eq!(cleared::<4>(&[(2, 0), (2, 1)]), [0, 0, 7, 0]);
        assert_eq!(cleared::<2>(&[(0, 2), (2, 0)]), [7, 7]);
        assert_eq!(cleared::<3>(&[]), [0, 0, 0]);
        assert!(leave_gaps(8, &[(4, 4), (0, 1)]) && !leave_gaps(5, &[(1, 4), (0, 1)]) && !leave_gaps(0, &[]));
    }
}
