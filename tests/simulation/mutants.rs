//! Which deliberate defects there are, and how those of the scripts are made.

/// A change of the text of a script: a defect.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite {
    pub from: &'static str,
    pub to: &'static str,
}
