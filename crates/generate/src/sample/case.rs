//! The case under construction: devices, and sessions on them.

use serde_json::json;

use crate::action::Session;
use crate::clock::UnixTime;
use crate::device::SyntheticDevice;
use crate::error::{GenerateError, put, put_json};
use crate::golden::{IMAGES, Image};
use crate::random::Random;
use crate::round::TRANSCRIPT_STARTED;
use crate::sample::quirk::TranscriptFormat;
use crate::section::{Plant, Scene, Section};
use crate::sink::OutputSink;
use crate::text::TextBuilder;
use crate::wrap::{Transcript, gzip};
use evidence::{ActionId, ResultKey};

const SEED: u64 = 20_260_311;

/// 11 March 2026, 08:00 UTC: the morning after the incident.
pub(crate) const MORNING: UnixTime = UnixTime(1_773_216_000);

/// Shorter lists than on real devices keep the folder small.
const PLENTY: u64 = 30;

/// Name, user, address, image (4 is a server), health.
const DEVICES: [(&str, &str, &str, u64, &str); 14] = [
    ("FIN-WS-05", "agnes.holm", "10.20.4.35", 0, "Active"),
    ("FIN-WS-07", "petra.lind", "10.20.4.37", 0, "Active"),
    ("FIN-WS-09", "jonas.feld", "10.20.4.39", 0, "Active"),
    ("OPS-LT-03", "tomas.brandt", "10.20.6.21", 1, "Active"),
    ("OPS-LT-04", "maren.voss", "10.20.6.22", 1, "Active"),
    (
        "HR-WS-02",
        "ida.keller",
        "10.20.5.12",
        2,
        "ImpairedCommunication",
    ),
    ("IT-WS-01", "nils.aker", "10.20.2.11", 3, "Active"),
    ("SAL-LT-11", "rhea.stone", "10.20.7.31", 1, "Inactive"),
    ("SAL-LT-12", "omar.dietz", "10.20.7.32", 1, "Active"),
    ("WHS-KI-21", "kiosk", "10.20.9.21", 2, "Active"),
    ("WHS-KI-22", "kiosk", "10.20.9.22", 2, "Active"),
    ("FS-01", "svc-files", "10.20.1.12", 4, "Active"),
    ("DC-01", "svc-dns", "10.20.1.10", 4, "Active"),
    ("WEB-01", "svc-web", "10.20.1.20", 4, "Active"),
];

/// A line of the incident and the section that contains it.
pub(crate) type Line<'a> = (Section, &'a str);

pub(crate) struct Case<'a> {
    sink: &'a dyn OutputSink,
    images: Vec<Image>,
    devices: Vec<SyntheticDevice>,
    actions: u64,
}

impl<'a> Case<'a> {
    pub fn new(sink: &'a dyn OutputSink) -> Self {
        let devices = DEVICES.iter().zip(0..).map(|(row, number)| {
            let (name, user, address, image, _) = *row;
            SyntheticDevice {
                name: name.into(),
                user: user.into(),
                address: address.into(),
                image,
                ..SyntheticDevice::of_fleet(SEED, number, IMAGES, MORNING)
            }
        });
        Self {
            sink,
            images: (0..IMAGES).map(|n| Image::new(SEED, n, 400)).collect(),
            devices: devices.collect(),
            actions: 0,
        }
    }

    /// An action on `device`, `minutes` after 08:00.
    pub fn visit(&mut self, device: &str, minutes: i64, comment: &str) -> Visit<'_> {
        let number = self.actions;
        self.actions += 1;
        let mut random = Random::new(SEED, &[number, 0x7669_7369]);
        let id = ActionId::from_bytes(random.guid_bytes());
        let begin = MORNING.plus(60 * minutes);
        let place = DEVICES.iter().position(|row| row.0 == device).unwrap_or(0);
        let device = &self.devices[place];
        Visit {
            sink: self.sink,
            session: Session::new(id, "mira.holt@contoso.example", comment.into(), begin),
            scene: Scene {
                device,
                image: &self.images[device.image as usize],
                now: begin,
                random,
                pending: Vec::new(),
                plenty: PLENTY,
                whole: false,
            },
        }
    }

    pub fn finish(self) -> Result<(), GenerateError> {
        let machines: Vec<_> = self
            .devices
            .iter()
            .zip(DEVICES)
            .map(|(device, row)| {
                let image = &self.images[device.image as usize];
                let away = if row.4 == "Inactive" { 9 * 86_400 } else { 0 };
                let seen = MORNING.plus(9_000).minus(away);
                device.to_json(image.edition, &image.build, seen, row.4)
            })
            .collect();
        put_json(self.sink, "machines.json", &json!({"value": machines}))
    }
}

/// One action on one device.
pub(crate) struct Visit<'a> {
    sink: &'a dyn OutputSink,
    pub session: Session,
    scene: Scene<'a>,
}

impl Visit<'_> {
    /// Prints `sections` with the lines of the incident.
    pub fn print(&mut self, sections: &[Section], story: &[Line<'_>]) -> TextBuilder {
        let mut text = TextBuilder::default();
        for section in sections {
            let lines = story.iter().enumerate();
            let mut scene = Scene {
                device: self.scene.device,
                image: self.scene.image,
                now: self.session.ended,
                random: Random::new(self.scene.random.draw(), &[]),
                pending: lines
                    .filter(|(_, (place, _))| place == section)
                    .map(|(number, (section, line))| Plant {
                        number,
                        section: *section,
                        line,
                        needle: line,
                    })
                    .collect(),
                plenty: self.scene.plenty,
                whole: false,
            };
            scene.write(*section, &mut text);
        }
        text
    }

    /// A successful script.
    pub fn script(
        &mut self,
        name: &str,
        args: &str,
        form: TranscriptFormat,
        sections: &[Section],
        story: &[Line<'_>],
    ) -> Result<(), GenerateError> {
        let output = self.print(sections, story).text;
        self.transcript(name, args, form, 0, &output, "")
    }

    /// A script with an exit code.
    pub fn transcript(
        &mut self,
        name: &str,
        args: &str,
        form: TranscriptFormat,
        exit_code: i32,
        output: &str,
        errors: &str,
    ) -> Result<(), GenerateError> {
        let output = format!(
            "{TRANSCRIPT_STARTED}{{{}}}.txt\r\n{output}",
            self.scene.random.guid()
        );
        let document = Transcript {
            script_name: name,
            exit_code,
            script_output: &output,
            script_errors: errors,
        };
        let (bytes, ending) = form.wrap(&document).map_err(|e| self.unpacked(e))?;
        self.put(self.session.next_key(), ending, &bytes)?;
        self.session
            .run_script(name, args, 14 + output.len() as i64 / 9_000);
        Ok(())
    }

    /// A fetched file: gzip with its name, as the service compresses it.
    pub fn get_file(&mut self, path: &str, bytes: &[u8]) -> Result<(), GenerateError> {
        let name = path.rsplit('\\').next();
        let bytes = gzip(name, bytes).map_err(|e| self.unpacked(e))?;
        self.put(self.session.next_key(), "gz", &bytes)?;
        self.session.run("GetFile", &[("Path", path)], 5);
        Ok(())
    }

    fn put(&self, key: ResultKey, ending: &str, bytes: &[u8]) -> Result<(), GenerateError> {
        put(
            self.sink,
            &format!("{}/{}.{ending}", key.action, key.index),
            bytes,
        )
    }

    pub fn unpacked(&self, source: std::io::Error) -> GenerateError {
        GenerateError::Pack {
            device: self.scene.device.name.clone(),
            source,
        }
    }

    pub fn now(&self) -> UnixTime {
        self.session.ended
    }

    /// Writes the action with its final status.
    pub fn close(mut self, status: &'static str) -> Result<(), GenerateError> {
        self.session.status = status;
        let json = self.session.to_json(self.scene.device);
        put(self.sink, &format!("{}.json", self.session.id), &json)
    }
}
