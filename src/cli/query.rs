//! The page on the query language, as help and as a man page.

use std::io;
use std::path::Path;

/// Examples stand four blanks in, with what they mean two blanks or more
/// behind them: a test reads each of them as a query.
pub const PAGE: &str = include_str!("query.txt");

/// What `man afteraction-query` shows, in place of what is made of the
/// arguments, of which there are none.
pub fn write_man(dir: &Path) -> io::Result<()> {
    std::fs::write(dir.join("afteraction-query.1"), man())
}

fn man() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(
        ".TH afteraction-query 1 \"\" \"afteraction {version}\"\n.SH NAME\n\
         afteraction\\-query \\- the query language of afteraction\\-search(1)\n"
    );
    for line in PAGE.lines().skip(1) {
        let is_title = !line.is_empty() && !line.starts_with(' ');
        if is_title {
            // As it stands: the columns mean something.
            page += &format!(".SH {}\n.nf\n", escaped(line));
        } else {
            page += &format!("{}\n", escaped(line.strip_prefix("  ").unwrap_or(line)));
        }
    }
    page
}

/// Text that troff takes for nothing else.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_fits_a_terminal() {
        for line in PAGE.lines() {
            assert!(line.chars().count() < 80, "{line}");
        }
    }

    #[test]
    fn the_man_page_shows_backslashes_and_dots() {
        assert_eq!(escaped(r".a\d-1"), r"\&.a\ed\-1");
        let page = man();
        assert!(page.contains("/evil\\ed+\\e.exe/i"), "{page}");
        assert!(page.contains(".SH FIELDS\n.nf\n"));
    }
}
