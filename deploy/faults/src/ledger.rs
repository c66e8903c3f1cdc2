//! The counts of every outcome, one `name: count` per line, and the verdict.

use std::collections::BTreeMap;

/// Complaints that are printed; all are counted.
const SHOWN: usize = 20;

/// The counts of a run.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Frames answered 202.
    pub(crate) accepted: u64,
    /// Of these, those that left the spool because the cloud has them.
    pub(crate) acked: u64,
    /// Accepted frames with a record in the cloud.
    pub(crate) stored: u64,
    /// Of these, those decoded, or labelled where no more was asked for, and as they were accepted.
    pub(crate) reconstructed: u64,
    /// Accepted frames that the spool's time to live took, as the configuration says.
    pub(crate) expired: u64,
    /// Accepted frames that were stored and that retention took, as the configuration says.
    pub(crate) removed: u64,
    /// Frames that are not the ones that were accepted.
    pub(crate) altered: u64,
    /// Records beyond one for each frame.
    pub(crate) duplicated: u64,
    /// Accepted frames that are nowhere, and that nothing was allowed to take.
    pub(crate) lost: u64,
    /// Services that ended without being asked to, or in another way than they were asked to.
    pub(crate) unexpected_ends: u64,
    /// Frames answered with something else than 202.
    pub(crate) refused: u64,
    /// Frames whose connection ended before the answer.
    pub(crate) unanswered: u64,
    /// Of these, those that the cloud has.
    pub(crate) stored_unanswered: u64,
    /// Reconstructions compared byte by byte.
    pub(crate) compared: u64,
    /// Further lines, printed in order of their names.
    pub(crate) others: BTreeMap<String, u64>,
    complaints: Vec<String>,
}

impl Ledger {
    /// Records a fault of the run.
    pub(crate) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// A further line.
    pub(crate) fn note(&mut self, name: impl Into<String>, count: u64) {
        self.others.insert(name.into(), count);
    }

    /// A further line that counts something which the run exists for: none of it is a fault.
    pub(crate) fn require(&mut self, name: &str, count: u64) {
        self.note(name, count);
        if count == 0 {
            self.complain(format!("{name}: there should be some"));
        }
    }

    /// How long it took until all services were ready again, or why they are not.
    pub(crate) fn note_ready(&mut self, ready: anyhow::Result<u64>) {
        match ready {
            Ok(seconds) => self.note("seconds until all were ready", seconds),
            Err(error) => self.complain(format!("{error:#}")),
        }
    }

    /// Why the run failed: nothing when each accepted frame is there once and as it was, or was taken by what is
    /// allowed to.
    pub(crate) fn faults(&self) -> Vec<String> {
        let Self {
            accepted,
            acked,
            stored,
            reconstructed,
            expired,
            removed,
            altered,
            duplicated,
            lost,
            unexpected_ends,
            complaints,
            ..
        } = self;
        let checks = [
            (*accepted > 0, "nothing was accepted".to_owned()),
            (
                acked + expired == *accepted,
                format!("of {accepted} accepted, {acked} were acknowledged and {expired} expired"),
            ),
            (
                stored + removed + expired == *accepted,
                format!(
                    "of {accepted} accepted, {stored} are stored, {removed} removed and {expired} expired"
                ),
            ),
            (
                reconstructed == stored,
                format!("of {stored} stored, {reconstructed} are reconstructed"),
            ),
            (*altered == 0, format!("{altered} altered")),
            (*duplicated == 0, format!("{duplicated} duplicated")),
            (*lost == 0, format!("{lost} lost")),
            (
                *unexpected_ends == 0,
                format!("{unexpected_ends} unexpected ends of services"),
            ),
            (
                complaints.is_empty(),
                format!("{} complaints", complaints.len()),
            ),
        ];
        let wrong = checks.into_iter().filter(|(holds, _)| !holds);
        wrong.map(|(_, why)| why).collect()
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        for complaint in self.complaints.iter().take(SHOWN) {
            println!("! {complaint}");
        }
        if self.complaints.len() > SHOWN {
            println!("! and {} more", self.complaints.len() - SHOWN);
        }
        let counts = [
            ("accepted", self.accepted),
            ("acked", self.acked),
            ("stored", self.stored),
            ("reconstructed", self.reconstructed),
            ("expired", self.expired),
            ("removed", self.removed),
            ("altered", self.altered),
            ("duplicated", self.duplicated),
            ("lost", self.lost),
            ("unexpected ends", self.unexpected_ends),
            ("refused", self.refused),
            ("unanswered", self.unanswered),
            ("unanswered and stored", self.stored_unanswered),
            ("pictures compared", self.compared),
        ];
        for (name, count) in counts {
            println!("{name}: {count}");
        }
        for (name, count) in &self.others {
            println!("{name}: {count}");
        }
        for fault in self.faults() {
            println!("FAILED: {fault}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Spoil = fn(&mut Ledger);

    fn good() -> Ledger {
        Ledger {
            accepted: 10,
            acked: 9,
            stored: 7,
            reconstructed: 7,
            expired: 1,
            removed: 2,
            ..Ledger::default()
        }
    }

    #[test]
    fn a_run_in_which_each_frame_is_accounted_for_passes() {
        assert_eq!(good().faults(), [""; 0]);
    }

    #[test]
    fn a_run_that_accepts_nothing_fails() {
        assert_eq!(Ledger::default().faults(), ["nothing was accepted"]);
    }

    #[test]
    fn each_count_that_is_off_by_one_fails_the_run() {
        let spoil: [(&str, Spoil); 9] = [
            ("acked", |ledger| ledger.acked -= 1),
            ("stored", |ledger| ledger.stored += 1),
            ("reconstructed", |ledger| ledger.reconstructed -= 1),
            ("expired", |ledger| ledger.expired += 1),
            ("removed", |ledger| ledger.removed -= 1),
            ("altered", |ledger| ledger.altered = 1),
            ("duplicated", |ledger| ledger.duplicated = 1),
            ("lost", |ledger| ledger.lost = 1),
            ("unexpected ends", |ledger| ledger.unexpected_ends = 1),
        ];
        for (name, spoil) in spoil {
            let mut ledger = good();
            spoil(&mut ledger);
            assert_ne!(ledger.faults(), [""; 0], "{name} does not count");
        }
    }

    #[test]
    fn a_line_that_has_to_be_above_zero_fails_the_run_at_zero() {
        let mut ledger = good();
        ledger.require("labels", 1);
        assert_eq!(ledger.faults(), [""; 0]);
        ledger.require("originals", 0);
        assert_eq!(ledger.faults(), ["1 complaints"]);
    }
}
