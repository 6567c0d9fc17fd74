//! Names of members: UTF-8 if they are valid UTF-8, otherwise CP437, the code
//! page of the original format.

/// Upper half of CP437.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// Decodes a raw name.
pub(crate) fn decode(raw: &[u8]) -> String {
    match std::str::from_utf8(raw) {
        Ok(name) => name.to_string(),
        Err(_) => raw.iter().map(|&b| from_cp437(b)).collect(),
    }
}

fn from_cp437(byte: u8) -> char {
    match byte.checked_sub(0x80) {
        None => char::from(byte),
        Some(upper) => CP437
            .chars()
            .nth(usize::from(upper))
            .unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_decode_as_utf8_or_as_cp437() {
        assert_eq!(decode("ключ.log".as_bytes()), "ключ.log");
        assert_eq!(decode(b"Gr\x81\xe1e.txt"), "Grüße.txt");
        assert_eq!(decode(b"\xff"), "\u{a0}");
        assert_eq!(CP437.chars().count(), 128);
    }
}
