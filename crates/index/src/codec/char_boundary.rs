//! Places in a text that cut no character.

/// The last such place at or before `at`.
pub(crate) fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// The first such place at or after `at`.
pub(crate) fn ceil(text: &str, at: usize) -> usize {
    (at..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_is_cut() {
        let text = "aé東b";
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 9].map(|at| floor(text, at)),
            [0, 1, 1, 3, 3, 3, 6, 7]
        );
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 9].map(|at| ceil(text, at)),
            [0, 1, 3, 3, 6, 6, 6, 7]
        );
    }
}
