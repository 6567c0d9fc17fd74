//! The manual: `afteraction help TOPIC`, and the same pages as man pages.

use std::io::{self, Write};
use std::path::Path;

use crate::app::Failure;

/// A page of the manual.
pub struct Topic {
    pub name: &'static str,
    pub text: &'static str,
}

/// All pages. The texts are the files of `docs/`.
pub const TOPICS: [Topic; 12] = [
    page("install", include_str!("../../docs/install.md")),
    page("collect", include_str!("../../docs/collect.md")),
    page("import", include_str!("../../docs/import.md")),
    page("search", include_str!("../../docs/search.md")),
    page("query", include_str!("../../docs/query.md")),
    page("compare", include_str!("../../docs/compare.md")),
    page("fleet", include_str!("../../docs/fleet.md")),
    page("emulator", include_str!("../../docs/emulator.md")),
    page("custody", include_str!("../../docs/custody.md")),
    page("formats", include_str!("../../docs/formats.md")),
    page("exit-codes", include_str!("../../docs/exit-codes.md")),
    page("performance", include_str!("../../docs/performance.md")),
];

const fn page(name: &'static str, text: &'static str) -> Topic {
    Topic { name, text }
}

fn topic(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// Prints a page of the manual or the help of a command. If both have the name,
/// prints the page and how to list the options of the command.
pub fn print(mut root: clap::Command, words: &[String]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let page = match words {
        [name] => topic(name),
        _ => None,
    };
    if let Some(topic) = page {
        out.write_all(topic.text.as_bytes())?;
        if root.find_subcommand(topic.name).is_some() {
            writeln!(out, "\nOptions: afteraction {} --help", topic.name)?;
        }
        return Ok(());
    }
    root.build();
    let mut command = &mut root;
    for word in words {
        command = command
            .find_subcommand_mut(word)
            .ok_or_else(|| unknown(word))?;
    }
    write!(out, "{}", command.render_long_help())?;
    Ok(())
}

fn unknown(word: &str) -> Failure {
    let names: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    Failure::usage(format!("no command or topic named `{word}`"))
        .hint(format!("topics: {}", names.join(", ")))
}

/// Writes each page as `afteraction-TOPIC.7`.
pub fn write_man(dir: &Path) -> io::Result<()> {
    TOPICS.iter().try_for_each(|topic| {
        let file = dir.join(format!("afteraction-{}.7", topic.name));
        std::fs::write(file, man(topic))
    })
}

/// Converts headings; everything else keeps its layout, because tables and
/// examples depend on it.
fn man(topic: &Topic) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let name = topic.name;
    let mut lines = topic.text.lines();
    let title = lines.next().unwrap_or_default().trim_start_matches('#');
    let mut page = format!(
        ".TH afteraction-{name} 7 \"\" \"afteraction {version}\"\n.SH NAME\n\
         afteraction\\-{name} \\-{}\n.nf\n",
        escaped(title)
    );
    for line in lines {
        match line.strip_prefix("## ") {
            Some(heading) => page += &format!(".SH {}\n.nf\n", escaped(heading)),
            None => page += &format!("{}\n", escaped(line)),
        }
    }
    page
}

/// Escapes characters that troff interprets.
fn escaped(line: &str) -> String {
    let text = line.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_fit_into_a_terminal() {
        for topic in &TOPICS {
            let mut is_console = false;
            for line in topic.text.lines() {
                if line.starts_with("```") {
                    is_console = !is_console;
                }
                let is_free = is_console || line.starts_with('|') || line.contains("](");
                assert!(
                    is_free || line.chars().count() <= 80,
                    "{}: {line}",
                    topic.name
                );
            }
        }
    }

    #[test]
    fn every_page_has_a_title() {
        for topic in &TOPICS {
            assert!(topic.text.starts_with("# "), "{}", topic.name);
        }
    }

    #[test]
    fn man_page_keeps_backslashes_and_leading_dots() {
        assert_eq!(escaped(r".a\d-1"), r"\&.a\ed\-1");
        let page = man(topic("query").unwrap());
        assert!(page.contains("/evil\\ed+\\e.exe/i"), "{page}");
        assert!(page.contains(".SH Fields\n.nf\n"));
    }
}
