//! Code pages: decoding of text that is not Unicode.

use std::fmt;

use encoding_rs::Encoding;

/// Upper half of CP437: consoles in the United States.
const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";
/// Upper half of CP850: consoles in Western Europe.
const CP850: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒáíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐└┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{ad}±‗¾¶§÷¸°¨·¹³²■\u{a0}";

/// A code page of Windows or its consoles, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CodePage(u16);

impl Default for CodePage {
    /// 1252: Western Europe and the Americas.
    fn default() -> Self {
        Self(1252)
    }
}

impl CodePage {
    /// `None` if the code page is not supported.
    pub fn from_number(number: u16) -> Option<Self> {
        let page = Self(number);
        (matches!(number, 437 | 850) || page.encoding().is_some()).then_some(page)
    }

    pub fn number(self) -> u16 {
        self.0
    }

    /// The usual name of the encoding.
    pub fn name(self) -> &'static str {
        match self.0 {
            437 => "ibm437",
            850 => "ibm850",
            866 => "ibm866",
            874 => "windows-874",
            932 => "shift_jis",
            936 => "gbk",
            949 => "euc-kr",
            950 => "big5",
            1250 => "windows-1250",
            1251 => "windows-1251",
            1253 => "windows-1253",
            1254 => "windows-1254",
            1255 => "windows-1255",
            1256 => "windows-1256",
            1257 => "windows-1257",
            1258 => "windows-1258",
            _ => "windows-1252",
        }
    }

    /// `None` for the two code pages with a table in this module.
    fn encoding(self) -> Option<&'static Encoding> {
        Some(match self.0 {
            866 => encoding_rs::IBM866,
            874 => encoding_rs::WINDOWS_874,
            932 => encoding_rs::SHIFT_JIS,
            936 => encoding_rs::GBK,
            949 => encoding_rs::EUC_KR,
            950 => encoding_rs::BIG5,
            1250 => encoding_rs::WINDOWS_1250,
            1251 => encoding_rs::WINDOWS_1251,
            1252 => encoding_rs::WINDOWS_1252,
            1253 => encoding_rs::WINDOWS_1253,
            1254 => encoding_rs::WINDOWS_1254,
            1255 => encoding_rs::WINDOWS_1255,
            1256 => encoding_rs::WINDOWS_1256,
            1257 => encoding_rs::WINDOWS_1257,
            1258 => encoding_rs::WINDOWS_1258,
            _ => return None,
        })
    }

    /// The encoding, if its characters have more than one byte.
    pub(crate) fn multi_byte(self) -> Option<&'static Encoding> {
        self.encoding().filter(|e| !e.is_single_byte())
    }

    /// The characters of bytes 128 to 255. A byte without a character yields
    /// the character of its number, so that no byte is lost. A multi-byte code
    /// page has no such table and yields that of 1252.
    pub(crate) fn upper_half(self) -> [char; 128] {
        let mut upper = ['\u{fffd}'; 128];
        for (i, slot) in upper.iter_mut().enumerate() {
            let byte = 0x80 + i as u8;
            let in_table = |table: &str| table.chars().nth(i);
            let decoded = match self.0 {
                437 => in_table(CP437),
                850 => in_table(CP850),
                _ => {
                    let single = self.encoding().filter(|e| e.is_single_byte());
                    let encoding = single.unwrap_or(encoding_rs::WINDOWS_1252);
                    let bytes = [byte];
                    let (text, _) = encoding.decode_without_bom_handling(&bytes);
                    text.chars().next().filter(|c| *c != '\u{fffd}')
                }
            };
            *slot = decoded.unwrap_or(char::from(byte));
        }
        upper
    }
}

impl fmt::Display for CodePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn char_of(page: u16, byte: u8) -> char {
        CodePage::from_number(page).unwrap().upper_half()[usize::from(byte - 0x80)]
    }

    #[test]
    fn code_pages_decode_their_bytes() {
        assert_eq!(char_of(1252, 0xfc), 'ü');
        assert_eq!(char_of(1252, 0x80), '€');
        assert_eq!(char_of(1251, 0xcf), 'П');
        assert_eq!(char_of(850, 0x81), 'ü');
        assert_eq!(char_of(850, 0xe1), 'ß');
        assert_eq!(char_of(437, 0xe1), 'ß');
        assert_eq!(char_of(866, 0x80), 'А');
        assert_eq!(CP437.chars().count(), 128);
        assert_eq!(CP850.chars().count(), 128);
    }

    #[test]
    fn unassigned_byte_yields_the_character_of_its_number() {
        assert_eq!(char_of(1252, 0x81), '\u{81}');
        assert_eq!(char_of(1253, 0xd2), '\u{d2}');
    }

    #[test]
    fn unknown_number_is_rejected() {
        assert_eq!(CodePage::from_number(37), None);
        assert_eq!(CodePage::from_number(932).unwrap().name(), "shift_jis");
    }
}
