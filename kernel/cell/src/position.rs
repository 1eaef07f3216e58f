//! Places in a cell: messages count Unicode code points, Rust counts bytes.

/// The byte offset of a code point; the end of the text if there are not so many.
pub fn byte_of(text: &str, code_point: usize) -> usize {
    text.char_indices().nth(code_point).map_or(text.len(), |(at, _)| at)
}

/// How many code points stand before a byte offset.
pub fn code_point_of(text: &str, byte: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < byte).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        let text = "a😀é";
        for (code_point, byte) in [(0, 0), (1, 1), (2, 5), (3, 7)] {
            assert_eq!(byte_of(text, code_point), byte);
            assert_eq!(code_point_of(text, byte), code_point);
        }
        assert_eq!(byte_of(text, 99), 7);
        assert_eq!(code_point_of(text, 99), 3);
    }
}
