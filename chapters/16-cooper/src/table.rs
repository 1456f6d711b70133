//! Listings as docker lays them out: columns at least ten wide, three spaces apart.

use clap::Args;

/// The flags that every listing has.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Listing {
    /// Only display IDs (or names, where these identify)
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Don't truncate output
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// Filter output based on conditions provided (KEY=VALUE)
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Format of the output: table, or json (one object a line)
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = parse_format)]
    pub(crate) format: Format,
}

/// How a listing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// Columns with a line of headings.
    #[default]
    Table,
    /// One JSON object a line, all values strings, as docker prints them.
    Json,
}

/// Reads `--format`.
pub(crate) fn parse_format(text: &str) -> Result<Format, String> {
    match text {
        "table" => Ok(Format::Table),
        "json" => Ok(Format::Json),
        text if text.contains("{{") => Err("Go templates are not supported: use table or json".to_owned()),
        text => Err(format!("unknown format {text:?}: use table or json")),
    }
}

/// Rows under headings.
#[derive(Debug)]
pub(crate) struct Table {
    headings: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(headings: &'static [&'static str]) -> Self {
        let rows = Vec::new();
        Self { headings, rows }
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
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            let heading = self.headings[column].chars().count();
            (cells.max().unwrap_or(0).max(heading) + 3).max(10)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let headings: Vec<String> = self.headings.iter().map(|&h| h.to_owned()).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            for (column, cell) in row.iter().enumerate() {
                match column + 1 == row.len() {
                    true => writeln!(out, "{cell}")?,
                    false => write!(out, "{cell:width$}", width = widths[column])?,
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
    fn templates_are_refused_by_name() {
        assert!(parse_format("{{.ID}}").unwrap_err().contains("Go templates"));
        assert_eq!(parse_format("json").unwrap(), Format::Json);
    }

    #[test]
    fn an_id_is_cut_to_twelve_digits_without_its_algorithm() {
        assert_eq!(short_id("sha256:f0ac53deb327ca1eca28"), "f0ac53deb327");
    }
}
