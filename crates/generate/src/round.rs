//! One round on one device: steps run until there is enough text.

use std::io;

use memchr::memmem::Finder;

use crate::action::Session;
use crate::error::{GenerateError, put};
use crate::needle::NeedlePlace;
use crate::plan::{CommandPlan, TriageFile};
use crate::section::{Scene, Section};
use crate::share::measure;
use crate::sink::OutputSink;
use crate::summary::{UnitOutput, lines_with};
use crate::text::TextBuilder;
use crate::wrap::{Packed, Transcript, gzip, utf16, zip};
use evidence::{Layer, Locator, ResultId, ResultKey, Version};

/// Mean excess of a round over its target: half of a large step.
const HALF_A_STEP: u64 = 60_000;

/// Start of a PowerShell transcript, up to its GUID.
pub(crate) const TRANSCRIPT_STARTED: &str = "Transcript started, output file is C:\\ProgramData\\Microsoft\\Windows Defender Advanced Threat Protection\\Temp\\PSScriptOutputs\\PSScript_Transcript_";

pub(crate) struct RoundBuilder<'a> {
    sink: &'a dyn OutputSink,
    finders: &'a [Finder<'static>],
    scene: Scene<'a>,
    scripts: Session,
    files: Session,
    made: UnitOutput,
}

impl<'a> RoundBuilder<'a> {
    pub fn new(
        sink: &'a dyn OutputSink,
        finders: &'a [Finder<'static>],
        scene: Scene<'a>,
        scripts: Session,
        files: Session,
    ) -> Self {
        Self {
            sink,
            finders,
            scene,
            scripts,
            files,
            made: UnitOutput::default(),
        }
    }

    /// Runs steps in turn until there is about `target` text and every needle
    /// is planted.
    pub fn run(
        mut self,
        steps: &[CommandPlan],
        first: usize,
        target: u64,
    ) -> Result<UnitOutput, GenerateError> {
        // Two passes over all steps reach every section.
        let most = 2 * steps.len() + (target / HALF_A_STEP) as usize;
        for step in steps.iter().cycle().skip(first % steps.len()).take(most) {
            self.step(step)?;
            let enough = self.made.text_bytes + HALF_A_STEP >= target;
            if enough && self.scene.pending.is_empty() {
                break;
            }
        }
        self.finish()
    }

    fn step(&mut self, step: &CommandPlan) -> Result<(), GenerateError> {
        match step {
            CommandPlan::Script {
                name,
                args,
                gzipped,
                sections,
            } => self.script(name, args, *gzipped, sections),
            CommandPlan::File { path, section } => {
                let mut text = TextBuilder::with_capacity(32 << 10);
                self.scene.write(*section, &mut text);
                self.get_file(path, text.text.as_bytes(), vec![(Vec::new(), &text)])
            }
            CommandPlan::Triage { path, members } => self.triage(path, members),
        }
    }

    fn script(
        &mut self,
        name: &'static str,
        args: &str,
        gzipped: bool,
        sections: &[Section],
    ) -> Result<(), GenerateError> {
        if self.scripts.commands.is_empty() && self.scene.random.once_in(4) {
            self.scripts.run("PutFile", &[("FileName", name)], 1);
        }
        let key = self.scripts.next_key();
        self.scene.now = self.scripts.ended;
        let mut output = TextBuilder::with_capacity(96 << 10);
        output.put(format_args!(
            "{TRANSCRIPT_STARTED}{{{}}}.txt",
            self.scene.random.guid()
        ));
        for section in sections {
            self.scene.write(*section, &mut output);
        }
        let fails = self.scene.random.once_in(40);
        let mut errors = TextBuilder::default();
        if fails {
            errors.put(format_args!(
                "{name} : Access to the path 'C:\\Users\\{}' is denied.",
                self.scene.device.user
            ));
        }
        let json = Transcript {
            script_name: name,
            exit_code: i32::from(fails),
            script_output: &output.text,
            script_errors: &errors.text,
        }
        .to_json();
        let seconds = self.scene.random.between(2, 40) as i64;
        self.scripts.run_script(name, args, seconds);
        let mut layers = Vec::new();
        let (bytes, ending) = if gzipped {
            layers.push(Layer::numbered(0));
            (self.packed(gzip(None, &json))?, "gz")
        } else {
            (json, "json")
        };
        self.put_result(key, ending, &bytes)?;
        self.count(
            key,
            &[layers.clone(), vec![Layer::output()]].concat(),
            &output,
        );
        self.count(key, &[layers, vec![Layer::errors()]].concat(), &errors);
        Ok(())
    }

    fn triage(&mut self, path: &str, members: &[TriageFile]) -> Result<(), GenerateError> {
        let texts: Vec<_> = members
            .iter()
            .map(|member| {
                let mut text = TextBuilder::with_capacity(64 << 10);
                for section in member.sections {
                    self.scene.write(*section, &mut text);
                }
                text
            })
            .collect();
        let wide: Vec<_> = members
            .iter()
            .zip(&texts)
            .map(|(member, text)| member.utf16.then(|| utf16(&text.text)))
            .collect();
        let packed: Vec<_> = members
            .iter()
            .zip(texts.iter().zip(&wide))
            .map(|(member, (text, wide))| Packed {
                name: member.name,
                bytes: wide.as_deref().unwrap_or(text.text.as_bytes()),
                modified: self.scene.now,
            })
            .collect();
        let bytes = self.packed(zip(&packed))?;
        let documents = (0..)
            .zip(members)
            .zip(&texts)
            .map(|((n, member), text)| (vec![Layer::named(member.name, n)], text))
            .collect();
        self.get_file(path, &bytes, documents)
    }

    /// A fetched file: gzip with its name, and the texts inside it.
    fn get_file(
        &mut self,
        path: &str,
        bytes: &[u8],
        documents: Vec<(Vec<Layer>, &TextBuilder)>,
    ) -> Result<(), GenerateError> {
        let key = self.files.next_key();
        let name = path.rsplit('\\').next().unwrap_or(path);
        let bytes = self.packed(gzip(Some(name), bytes))?;
        self.put_result(key, "gz", &bytes)?;
        for (below, text) in documents {
            let layers = [vec![Layer::named(name, 0)], below].concat();
            self.count(key, &layers, text);
        }
        self.files.run("GetFile", &[("Path", path)], 4);
        Ok(())
    }

    fn packed(&self, bytes: io::Result<Vec<u8>>) -> Result<Vec<u8>, GenerateError> {
        bytes.map_err(|source| GenerateError::Pack {
            device: self.scene.device.name.clone(),
            source,
        })
    }

    fn put_result(
        &mut self,
        key: ResultKey,
        ending: &str,
        bytes: &[u8],
    ) -> Result<(), GenerateError> {
        self.made.results += 1;
        self.made.stored_bytes += bytes.len() as u64;
        put(
            self.sink,
            &format!("{}/{}.{ending}", key.action, key.index),
            bytes,
        )
    }

    /// Records the content of a finished document.
    fn count(&mut self, key: ResultKey, layers: &[Layer], text: &TextBuilder) {
        let made = &mut self.made;
        made.text_bytes += text.text.len() as u64;
        measure(&text.text, &mut made.lines);
        for (lines, finder) in made.common.iter_mut().zip(self.finders) {
            *lines += lines_with(&text.text, finder);
        }
        for planted in &text.planted {
            let locator = Locator {
                id: ResultId::new(key, Version::FIRST),
                layers: layers.to_vec(),
                range: None,
            };
            let place = NeedlePlace {
                reference: locator.to_string(),
                device: self.scene.device.dns_name(),
                action_id: key.action.to_string(),
                command_index: key.index.0,
                member: layers.iter().map(|layer| layer.to_string()).collect(),
                line: planted.line,
                offset: planted.offset,
            };
            made.found.push((planted.plant, place));
        }
    }

    fn finish(mut self) -> Result<UnitOutput, GenerateError> {
        for session in [&self.scripts, &self.files] {
            if !session.commands.is_empty() {
                let json = session.to_json(self.scene.device);
                put(self.sink, &format!("{}.json", session.id), &json)?;
                self.made.actions += 1;
            }
        }
        Ok(self.made)
    }
}
