//! What was found, how bad it is, and what to do.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Good,
    /// Containers run, with less speed, comfort or confinement.
    Weak,
    /// Containers do not run.
    Missing,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// How bad it is.
    pub grade: Grade,
    /// What was found.
    pub found: String,
    /// What to do about it: commands for a shell, or a sentence where none would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    pub(crate) fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, grade: Grade::Good, found: found.into(), remedy: None }
    }

    pub(crate) fn weak(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, grade: Grade::Weak, found: found.into(), remedy: Some(remedy.into()) }
    }

    pub(crate) fn missing(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what, grade: Grade::Missing, found: found.into(), remedy: Some(remedy.into()) }
    }
}

/// `ok   kernel  6.18.5`, and the remedy on a line of its own.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grade = match self.grade {
            Grade::Good => "ok",
            Grade::Weak => "weak",
            Grade::Missing => "MISS",
        };
        write!(f, "{grade:<4} {:<16} {}", self.what, self.found)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n     {:<16} -> {remedy}", ""),
            None => Ok(()),
        }
    }
}

/// Whether containers run here at all.
pub fn is_fit(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.grade != Grade::Missing)
}
