//! The demo as pages on a terminal.

use std::io::{self, Write};
use std::path::Path;

use crate::app::{
    CollectReport, CompareSummary, DemoView, GapRow, HitRow, IndexReport, SearchSummary, StackRow,
};

use crate::cli::output::{Output, Paint, Row, counted, human_bytes, human_count};

/// Hits shown for each question; the count says how many there are.
const HITS_SHOWN: u64 = 4;

pub struct Story {
    out: Output,
    paint: Paint,
    hits: u64,
    gaps: u64,
    /// Nothing of it stays.
    discards: bool,
}

impl Story {
    pub fn new(out: Output, discards: bool) -> Self {
        let paint = out.paint;
        Self {
            out,
            paint,
            hits: 0,
            gaps: 0,
            discards,
        }
    }
}

impl DemoView for Story {
    fn begin(&mut self, folder: &Path, api_base: &str) -> io::Result<()> {
        writeln!(
            self.out,
            "{}\nAn emulator of the Defender API serves {} at {api_base}.\n",
            self.paint
                .bold("A made-up incident, from dying links to found words"),
            folder.display()
        )?;
        self.out.flush()
    }

    fn collected(&mut self, collected: &CollectReport, caught: &IndexReport) -> io::Result<()> {
        let report = &collected.report;
        let missing: u64 = report.gaps.values().sum();
        writeln!(
            self.out,
            "{} {} results ({}) of {} actions over HTTP in {:.1} s; {} there already, {} missing, {} pending.",
            self.paint.green("collected"),
            human_count(report.sealed),
            human_bytes(report.bytes),
            human_count(report.actions),
            report.duration_ms as f64 / 1000.0,
            human_count(report.already_there),
            human_count(missing),
            human_count(report.pending)
        )?;
        writeln!(
            self.out,
            "{}   {} members, {} of text, {} problems noted.",
            self.paint.green("indexed"),
            human_count(caught.members),
            human_bytes(caught.text_bytes),
            human_count(caught.problems)
        )?;
        self.out.flush()
    }

    fn question(&mut self, tells: &str, command: &str) -> io::Result<()> {
        self.hits = 0;
        writeln!(
            self.out,
            "\n{}\n  $ {command}",
            self.paint.bold(&format!("… {tells}"))
        )
    }

    fn hit(&mut self, hit: &HitRow) -> io::Result<()> {
        self.hits += 1;
        if self.hits > HITS_SHOWN {
            return Ok(());
        }
        hit.write_line(&mut self.out, self.paint)
    }

    fn answered(&mut self, summary: &SearchSummary) -> io::Result<()> {
        if self.hits > HITS_SHOWN {
            writeln!(self.out, "    … {} more", self.hits - HITS_SHOWN)?;
        }
        writeln!(
            self.out,
            "  {} {} on {}",
            self.paint.green("→"),
            counted(summary.hits, "hit"),
            counted(summary.devices_hit.unwrap_or(0), "device")
        )?;
        self.out.flush()
    }

    fn rare(&mut self, command: &str) -> io::Result<()> {
        writeln!(
            self.out,
            "\n{}\n  $ {command}",
            self.paint
                .bold("… and what is rare, without asking for a word?")
        )
    }

    fn stacked(&mut self, row: &StackRow) -> io::Result<()> {
        row.write_line(&mut self.out, self.paint)
    }

    fn compared(&mut self, summary: &CompareSummary) -> io::Result<()> {
        writeln!(
            self.out,
            "  {} the rarest {} of {} on {}",
            self.paint.green("→"),
            human_count(summary.rows),
            counted(summary.texts, "different line"),
            counted(summary.devices, "device")
        )?;
        self.out.flush()
    }

    fn missing(&mut self, gap: &GapRow) -> io::Result<()> {
        if self.gaps == 0 {
            writeln!(
                self.out,
                "\n{}  $ afteraction gaps",
                self.paint.bold("What is missing, and why?")
            )?;
        }
        self.gaps += 1;
        gap.write_line(&mut self.out, self.paint)
    }

    fn end(&mut self, archive: &Path, shown: &str) -> io::Result<()> {
        if self.discards {
            writeln!(
                self.out,
                "\nThe archive is deleted. Without --discard it stays."
            )?;
            return self.out.flush();
        }
        writeln!(
            self.out,
            "\n{}\n  export AFTERACTION_ARCHIVE={}\n  afteraction list\n  afteraction show '{shown}'\n  afteraction search 'mimikatz' -C 2\n  afteraction search --regex '203\\.0\\.113\\.45:\\d+' --count --by device\n  afteraction status\n  afteraction verify",
            self.paint.bold("The archive stays. Try:"),
            archive.display()
        )?;
        self.out.flush()
    }
}
