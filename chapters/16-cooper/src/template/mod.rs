//! Go templates, as `--format` takes them: `{{.Name}}`, `{{json .}}`, `{{range .Mounts}}...{{end}}`.
//!
//! Container users' scripts are full of these, and Go's package is not at hand. What is here is the part of the language that
//! such scripts use, over JSON values instead of Go's: fields, pipes, variables, `if`, `with`, `range`, and the functions
//! that docker adds. What is not here is an error that names it. There are no loops but those over a value and no
//! recursion, so that a template always ends.
//!
//! # References
//! Go's package text/template; Docker, "Format command and log output"

mod functions;
mod parser;
mod run;
mod scan;

use serde_json::{Map, Value};

/// What can be wrong with a template, or with the value that it is applied to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {0}")]
pub(crate) struct Error(String);

type Result<T> = std::result::Result<T, Error>;

fn fail<T>(message: impl Into<String>) -> Result<T> {
    Err(Error(message.into()))
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    /// Printed as it is.
    Text(String),
    /// `{{.A | upper}}`: its value is printed.
    Print(Pipeline),
    /// `{{$x := .A}}`, `{{$x = .A}}`.
    Assign { name: String, declared: bool, value: Pipeline },
    /// `{{if}}...{{else}}...{{end}}`.
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    /// `{{with}}`: the same, with the value as `.` inside.
    With { value: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    /// `{{range $index, $element := .List}}`.
    Range { names: Vec<String>, over: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
}

/// Commands, each given the value of the one before as its last argument.
type Pipeline = Vec<Command>;

/// A value, or a function, and its arguments.
type Command = Vec<Operand>;

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    /// A literal.
    Literal(Value),
    /// `.A.B`; none for `.` itself.
    Field(Vec<String>),
    /// `$x.A`; the name is empty for `$`.
    Variable(String, Vec<String>),
    /// `(...)`, and fields of it.
    Group(Pipeline, Vec<String>),
    /// A function's name.
    Function(String),
}

/// A template that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template(Vec<Node>);

impl std::str::FromStr for Template {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(Self(parser::parse(scan::scan(text)?)?))
    }
}

impl Template {
    /// The text for a value.
    ///
    /// # Errors
    /// A field that the value has not, and functions that are given what they do not take.
    pub(crate) fn render(&self, value: &Value) -> Result<String> {
        self.render_row(value, &Map::new())
    }

    /// The text for a row of a listing; `labels` is what `{{.Label "name"}}` looks into.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub(crate) fn render_row(&self, row: &Value, labels: &Map<String, Value>) -> Result<String> {
        run::Run::new(row, labels).text(&self.0)
    }

    /// The headings of a table whose rows this template makes: it is applied to the names of the columns.
    ///
    /// # Errors
    /// A column that there is not.
    pub(crate) fn headings(&self, names: &Value) -> Result<String> {
        run::Run::headings(names).text(&self.0)
    }
}

#[cfg(test)]
mod tests;
