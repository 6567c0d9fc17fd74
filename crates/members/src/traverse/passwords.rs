//! Encrypted zip members: finds the password, or reports that there is none.

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

/// The result of one password with one check.
enum PasswordAttempt {
    Opens,
    /// The check accepts the password, but the decrypted data is invalid.
    PassesCheckOnly,
    Rejected,
    Damaged(String),
}

impl Traversal<'_> {
    pub(crate) fn encrypted_member(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        facts: &MemberFacts,
        range: PackedRange,
    ) -> TraverseResult {
        let Some((check, password)) = self.find_password(source, entry, range)? else {
            return Ok(());
        };
        if check == PasswordCheck::None {
            self.problem(
                ProblemKind::Lying,
                "header states that the member is encrypted, but it is not".into(),
            );
            return self.plain_member(source, &entry.unencrypted(), facts, range);
        }
        let settings = self.settings;
        let Some(password) = settings.passwords.get(password) else {
            return Ok(());
        };
        let context = self.context;
        let mut packed =
            self.check_source(RangeReader::new(source, context, range.at, range.len))?;
        let unlocked = decode::unlock(entry, check, password, &mut packed, |plain| {
            decode::inflate(context, entry, plain, |bytes| {
                self.zip_content(bytes, entry, facts)
            })
        });
        match unlocked {
            Ok(decoded) => self.finish_decoding(decoded),
            Err(UnlockError::WrongPassword) => Ok(()),
            Err(UnlockError::Damaged(reason)) => {
                self.finish_decoding(Err(io::Error::other(reason)))
            }
        }
    }

    /// The check and the index of the password that open a member. If there
    /// are none, a problem is reported.
    fn find_password(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        range: PackedRange,
    ) -> Result<Option<(PasswordCheck, usize)>, TraverseStop> {
        let settings = self.settings;
        let count = settings.passwords.len();
        let mut passed_checks = 0;
        for turn in 0..count {
            // The password of the previous member first, then all in order.
            let index = match turn {
                0 => self.last_password,
                turn if turn <= self.last_password => turn - 1,
                turn => turn,
            };
            let Some(password) = settings.passwords.get(index) else {
                continue;
            };
            for check in decode::password_checks(entry) {
                match self.try_password(source, entry, range, check, password)? {
                    PasswordAttempt::Opens => {
                        self.last_password = index;
                        return Ok(Some((check, index)));
                    }
                    PasswordAttempt::PassesCheckOnly => passed_checks += 1,
                    PasswordAttempt::Rejected => {}
                    PasswordAttempt::Damaged(reason) => {
                        self.problem(ProblemKind::Damaged, format!("could not decrypt: {reason}"));
                        return Ok(None);
                    }
                }
            }
        }
        let plain = entry.unencrypted();
        if entry.aes().is_none() && entry.crc().is_some() && self.is_valid(source, &plain, range)? {
            return Ok(Some((PasswordCheck::None, 0)));
        }
        self.report_locked(count, passed_checks);
        Ok(None)
    }

    fn report_locked(&mut self, passwords: usize, passed_checks: u64) {
        self.summary.locked += 1;
        let mut message = format!("encrypted, none of {passwords} passwords works");
        if passed_checks > 0 {
            message.push_str(&format!(
                " ({passed_checks} passed the header check but decrypts to invalid data)"
            ));
        }
        self.problem(ProblemKind::Encrypted, message);
    }

    fn try_password(
        &mut self,
        source: &mut dyn ReadSeek,
        entry: &ZipEntry,
        range: PackedRange,
        check: PasswordCheck,
        password: &str,
    ) -> Result<PasswordAttempt, TraverseStop> {
        let context = self.context;
        let mut packed =
            self.check_source(RangeReader::new(source, context, range.at, range.len))?;
        let proven = decode::unlock(entry, check, password, &mut packed, |plain| {
            decode::is_decrypted(context, entry, check, plain)
        });
        self.check_failure()?;
        Ok(match proven {
            Ok(is_decrypted) => {
                if is_decrypted {
                    PasswordAttempt::Opens
                } else {
                    PasswordAttempt::PassesCheckOnly
                }
            }
            Err(UnlockError::WrongPassword) => PasswordAttempt::Rejected,
            Err(UnlockError::Damaged(reason)) => PasswordAttempt::Damaged(reason),
        })
    }
}
