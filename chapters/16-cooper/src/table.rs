//! Listings as docker lays them out: columns at least ten wide, three spaces apart.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use daemon::Filters;
use serde_json::{Map, Value};

use crate::template::Template;

/// The flags that every listing has.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Listing {
    /// Only display IDs (or names, where these identify)
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    #[command(flatten)]
    pub(crate) filter: Filtered,
    /// Format of the output: table, json (one object a line), or a template ('table {{.ID}}\\t{{.Names}}')
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = parse_format)]
    pub(crate) format: Format,
}

/// `--filter`, which not only listings have.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Filtered {
    /// Filter output based on conditions provided (KEY=VALUE)
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
}

impl Filtered {
    /// Those of a command whose `-f` means something else.
    pub(crate) fn of(filter: &[String]) -> Self {
        Self { filter: filter.to_vec() }
    }

    /// The filters that were given.
    ///
    /// # Errors
    /// One that is not `known`, or that is not `KEY=VALUE`.
    pub(crate) fn filters(&self, known: &[&str]) -> anyhow::Result<Filters> {
        let mut filters = Filters::default();
        for text in &self.filter {
            match text.split_once('=') {
                Some((key, value)) if known.contains(&key) => filters.add(key, value),
                Some((key, _)) => bail!("--filter {text:?}: unknown key {key:?} (known: {})", known.join(", ")),
                None => bail!("--filter {text:?}: write KEY=VALUE"),
            }
        }
        Ok(filters)
    }
}

/// How a listing is printed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Format {
    /// Columns with a line of headings.
    #[default]
    Table,
    /// One JSON object a line, all values strings, as docker prints them.
    Json,
    /// A template for each row.
    Template(Arc<Template>),
    /// A template for each row, whose tabs make columns under headings.
    Columns(Arc<Template>),
}

/// Reads `--format`.
pub(crate) fn parse_format(text: &str) -> Result<Format, String> {
    let template = |text: &str| {
        // As docker has it: on a command line a tab is hard to type.
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        text.parse::<Template>().map(Arc::new).map_err(|error| error.to_string())
    };
    match text {
        "table" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        text => match text.strip_prefix("table ") {
            Some(columns) => Ok(Format::Columns(template(columns)?)),
            None if text.contains("{{") => Ok(Format::Template(template(text)?)),
            None => Err(format!("unknown format {text:?}: use table, json or a template like {{{{.ID}}}}")),
        },
    }
}

impl Format {
    /// One document, as `inspect` prints it.
    pub(crate) fn document(&self, value: &Value) -> anyhow::Result<String> {
        match self {
            Self::Template(template) | Self::Columns(template) => Ok(template.render(value)?),
            Self::Table | Self::Json => Ok(value.to_string()),
        }
    }
}

/// A listing: rows of named values, of which the table shows some.
#[derive(Debug)]
pub(crate) struct Rows {
    shown: &'static [(&'static str, &'static str)],
    more: &'static [(&'static str, &'static str)],
    rows: Vec<(Value, Map<String, Value>)>,
}

impl Rows {
    /// An empty listing: the names of the values and their headings; `more` are those that only templates and JSON show.
    pub(crate) fn new(
        shown: &'static [(&'static str, &'static str)],
        more: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { shown, more, rows: Vec::new() }
    }

    /// The names of a row's values, in the order in which docker's JSON has them.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.shown.iter().chain(self.more).map(|(name, _)| *name).collect();
        names.sort_unstable();
        // What the table shows at times is among the others, too.
        names.dedup();
        names
    }

    /// Adds a row: an object with every name, and what `{{.Label}}` looks into.
    pub(crate) fn add(&mut self, fields: Value, labels: &BTreeMap<String, String>) {
        let labels = labels.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
        self.rows.push((fields, labels));
    }

    /// All of it as text.
    ///
    /// # Errors
    /// A template that asks for what the rows have not.
    pub(crate) fn render(&self, format: &Format) -> anyhow::Result<String> {
        let text = |row: &Value, name: &str| match &row[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match format {
            Format::Table => {
                let mut table = Table::new(&self.shown.iter().map(|(_, heading)| *heading).collect::<Vec<_>>());
                for (row, _) in &self.rows {
                    table.row(self.shown.iter().map(|(name, _)| text(row, name)));
                }
                Ok(table.to_string())
            }
            Format::Json => Ok(self.rows.iter().map(|(row, _)| format!("{row}\n")).collect()),
            Format::Template(template) => {
                let mut lines = String::new();
                for (row, labels) in &self.rows {
                    lines.push_str(&template.render_row(row, labels)?);
                    lines.push('\n');
                }
                Ok(lines)
            }
            Format::Columns(template) => {
                let names = self.shown.iter().chain(self.more);
                let names: Map<String, Value> = names.map(|(name, it)| ((*name).to_owned(), (*it).into())).collect();
                let headings = template.headings(&Value::Object(names))?;
                let mut table = Table::new(&headings.split('\t').collect::<Vec<_>>());
                for (row, labels) in &self.rows {
                    table.row(template.render_row(row, labels)?.split('\t').map(str::to_owned));
                }
                Ok(table.to_string())
            }
        }
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(|&heading| heading.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row with one cell a heading.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A column is as wide as its widest cell and three spaces, and never under ten.
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            let heading = self.headings[column].chars().count();
            (cells.max().unwrap_or(0).max(heading) + 3).max(10)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        for row in std::iter::once(&self.headings).chain(&self.rows) {
            for (column, cell) in row.iter().enumerate() {
                match column + 1 == row.len() {
                    true => writeln!(out, "{cell}")?,
                    false => write!(out, "{cell:width$}", width = widths.get(column).copied().unwrap_or(10))?,
                }
            }
        }
        Ok(())
    }
}

/// At most `limit` characters, the last an ellipsis where something was cut off.
pub(crate) fn ellipsis(text: &str, limit: usize) -> String {
    match text.chars().count() > limit {
        true => text.chars().take(limit - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// The short form of an id: twelve hexadecimal digits, without the algorithm.
pub(crate) fn short_id(id: &str) -> String {
    let hex = id.split_once(':').map_or(id, |(_, hex)| hex);
    hex.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn columns_are_ten_wide_and_grow_with_their_cells() {
        let mut table = Table::new(&["DRIVER", "VOLUME NAME"]);
        table.row(["local".to_owned(), "vv".to_owned()]);
        table.row(["a-long-driver".to_owned(), "w".to_owned()]);
        assert_eq!(table.to_string(), "DRIVER          VOLUME NAME\nlocal           vv\na-long-driver   w\n");
    }

    #[test]
    fn long_commands_end_in_an_ellipsis() {
        assert_eq!(ellipsis("sleep 1000", 20), "sleep 1000");
        assert_eq!(ellipsis("sh -c 'while true; do :; done'", 20), "sh -c 'while true; …");
    }

    #[test]
    fn rows_are_a_table_json_or_what_a_template_makes_of_them() {
        let mut rows = Rows::new(&[("ID", "CONTAINER ID"), ("Names", "NAMES")], &[("State", "STATE")]);
        let labels = BTreeMap::from([("a.tier".to_owned(), "db".to_owned())]);
        rows.add(serde_json::json!({ "ID": "4f", "Names": "web", "State": "running" }), &labels);
        let render = |format: &str| rows.render(&parse_format(format).unwrap()).unwrap();
        assert_eq!(render("table"), "CONTAINER ID   NAMES\n4f             web\n");
        assert_eq!(render("json"), "{\"ID\":\"4f\",\"Names\":\"web\",\"State\":\"running\"}\n");
        assert_eq!(render("{{.Names}}: {{.State}}"), "web: running\n");
        let table = "table {{.Names}}\\t{{upper .State}}\\t{{.Label \"a.tier\"}}";
        assert_eq!(render(table), "NAMES     STATE     tier\nweb       RUNNING   db\n");
        assert!(rows.render(&parse_format("{{.Nope}}").unwrap()).is_err());
        assert!(parse_format("tables").unwrap_err().contains("unknown format"));
        assert!(parse_format("{{.ID").is_err());
    }

    #[test]
    fn an_id_is_cut_to_twelve_digits_without_its_algorithm() {
        assert_eq!(short_id("sha256:f0ac53deb327ca1eca28"), "f0ac53deb327");
    }
}
