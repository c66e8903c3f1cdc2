//! What became of every frame, one `name: count` a line.

use std::collections::BTreeMap;

/// Complaints that are printed; all are counted.
const SHOWN: usize = 20;

/// The counts of a run.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Frames answered 202.
    pub(crate) accepted: u64,
    /// Of these, those that left the spool and are not in its quarantine.
    pub(crate) acked: u64,
    /// Of the accepted, those with a record in the cloud.
    pub(crate) stored: u64,
    /// Of these, those decoded, with the content that was accepted.
    pub(crate) reconstructed: u64,
    /// Records beyond one for each frame.
    pub(crate) duplicated: u64,
    /// Accepted frames without a record.
    pub(crate) lost: u64,
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
    /// Takes down what is wrong.
    pub(crate) fn complain(&mut self, what: String) {
        self.complaints.push(what);
    }

    /// A further line.
    pub(crate) fn note(&mut self, name: impl Into<String>, count: u64) {
        self.others.insert(name.into(), count);
    }

    /// Whether every accepted frame is reconstructed, once.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.acked == self.accepted
            && self.reconstructed == self.accepted
            && self.complaints.is_empty()
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
            ("duplicated", self.duplicated),
            ("lost", self.lost),
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
    }
}
