//! Encrypted members: which password opens one, and what is said where none
//! does.

use std::io;

use crate::ReadSeek;
use crate::decode;
use crate::decode::{PasswordCheck, UnlockError};
use crate::source::RangeReader;
use crate::traverse::member_facts::MemberFacts;
use crate::traverse::zip_members::PackedRange;
use crate::traverse::{Traversal, TraverseResult, TraverseStop};
use crate::zip::ZipEntry;
use evidence::ProblemKind;

enum PasswordAttempt {
    Opens,
    PassesCheckOnly,
    Refused,
    Damaged(String),
}

impl Traversal<'_> {
    pub(crate) fn locked_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        facts: &MemberFacts,
        stretch: PackedRange,
    ) -> TraverseResult {
        let Some((check, password)) = self.find_password(source, entry, stretch)? else {
            return Ok(());
        };
        if check == PasswordCheck::None {
            self.problem(ProblemKind::Lying, "says it is encrypted and is not".into());
            return self.plain_member(source, &entry.unencrypted(), facts, stretch);
        }
        let settings = self.settings;
        let Some(password) = settings.passwords.get(password) else {
            return Ok(());
        };
        let mut window = self.world(RangeReader::new(
            source,
            self.shared,
            stretch.at,
            stretch.len,
        ))?;
        let shared = self.shared;
        let unlocked = decode::unlock(entry, check, password, &mut window, |plain| {
            decode::inflate(shared, entry, plain, |bytes| {
                self.content(bytes, entry, facts)
            })
        });
        match unlocked {
            Ok(opened) => self.settle_opened(opened),
            Err(UnlockError::WrongPassword) => Ok(()),
            Err(UnlockError::Damaged(why)) => self.settle_opened(Err(io::Error::other(why))),
        }
    }

    /// The check and password that open a member; where there is none, that
    /// is told.
    fn find_password(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        stretch: PackedRange,
    ) -> Result<Option<(PasswordCheck, usize)>, TraverseStop> {
        let settings = self.settings;
        let count = settings.passwords.len();
        let mut passed_check = 0;
        for turn in 0..count {
            // the likely one first, then all in order
            let index = match turn {
                0 => self.likely,
                t if t <= self.likely => t - 1,
                t => t,
            };
            let Some(password) = settings.passwords.get(index) else {
                continue;
            };
            for check in decode::checks(entry) {
                match self.try_password(source, entry, stretch, check, password)? {
                    PasswordAttempt::Opens => {
                        self.likely = index;
                        return Ok(Some((check, index)));
                    }
                    PasswordAttempt::PassesCheckOnly => passed_check += 1,
                    PasswordAttempt::Refused => {}
                    PasswordAttempt::Damaged(why) => {
                        self.problem(
                            ProblemKind::Damaged,
                            format!("encrypted bytes break off: {why}"),
                        );
                        return Ok(None);
                    }
                }
            }
        }
        let plain = entry.unencrypted();
        if entry.aes().is_none()
            && entry.crc().is_some()
            && self.makes_sense(source, &plain, stretch)?
        {
            return Ok(Some((PasswordCheck::None, 0)));
        }
        self.summary.locked += 1;
        let mut message = format!("none of {count} passwords opens it");
        if passed_check > 0 {
            message.push_str(&format!(
                " ({passed_check} passed the first check, but the bytes made no sense)"
            ));
        }
        self.problem(ProblemKind::Encrypted, message);
        Ok(None)
    }

    fn try_password(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        stretch: PackedRange,
        check: PasswordCheck,
        password: &str,
    ) -> Result<PasswordAttempt, TraverseStop> {
        let mut window = self.world(RangeReader::new(
            source,
            self.shared,
            stretch.at,
            stretch.len,
        ))?;
        let shared = self.shared;
        let proven = decode::unlock(entry, check, password, &mut window, |plain| {
            decode::proves(shared, entry, check, plain)
        });
        self.no_fault()?;
        Ok(match proven {
            Ok(true) => PasswordAttempt::Opens,
            Ok(false) => PasswordAttempt::PassesCheckOnly,
            Err(UnlockError::WrongPassword) => PasswordAttempt::Refused,
            Err(UnlockError::Damaged(why)) => PasswordAttempt::Damaged(why),
        })
    }
}
