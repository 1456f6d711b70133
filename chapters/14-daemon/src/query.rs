//! What stands behind the `?`: flags, numbers, and Docker's JSON in a string, `filters`.

use std::collections::BTreeMap;

use crate::error::ApiError;

/// A request's query, decoded: the last value of a name counts.
pub type Query = axum::extract::Query<BTreeMap<String, String>>;

/// Whether a flag is on. Docker's clients write `1`, `true`, `True`; nothing is off.
pub fn flag(query: &Query, name: &str) -> bool {
    let value = query.get(name).map(|value| value.to_ascii_lowercase());
    !matches!(value.as_deref(), None | Some("" | "0" | "false" | "no" | "none"))
}

/// A value that is there and not empty.
pub fn text<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    query.get(name).map(String::as_str).filter(|v| !v.is_empty())
}

/// A number, if there is one.
///
/// # Errors
/// 400 with the parameter's name when it is not a number.
pub fn number(query: &Query, name: &str) -> Result<Option<i64>, ApiError> {
    text(query, name)
        .map(|value| value.parse().map_err(|_| ApiError::bad_request(format!("{name}={value}: not a number"))))
        .transpose()
}

/// `filters={"status":["exited"],"name":["web"]}`: a name is passed when any of its values
/// matches, an object when all names are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads the `filters` parameter; `known` names those that the endpoint understands.
    ///
    /// Older clients write the values as an object whose keys count: `{"name":{"web":true}}`.
    ///
    /// # Errors
    /// 400 for what is no such JSON, and for a name that the endpoint does not know: a filter
    /// silently ignored would make `rm $(docker ps -q --filter ...)` remove too much.
    pub fn parse(query: &Query, known: &[&str]) -> Result<Self, ApiError> {
        let Some(text) = text(query, "filters") else {
            return Ok(Self::default());
        };
        let invalid = || ApiError::bad_request(format!("invalid filters: {text}"));
        let json: serde_json::Value = serde_json::from_str(text).map_err(|_| invalid())?;
        let mut filters = BTreeMap::new();
        for (name, values) in json.as_object().ok_or_else(invalid)? {
            if !known.contains(&name.as_str()) {
                return Err(ApiError::bad_request(format!("invalid filter '{name}'")));
            }
            let values = match values {
                serde_json::Value::Array(list) => list
                    .iter()
                    .map(|v| v.as_str().map(str::to_owned).ok_or_else(invalid))
                    .collect::<Result<Vec<_>, _>>()?,
                serde_json::Value::Object(map) => map.keys().cloned().collect(),
                _ => return Err(invalid()),
            };
            filters.insert(name.clone(), values);
        }
        Ok(Self(filters))
    }

    /// As a client writes them in the `filters` parameter.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!(self.0)
    }

    /// Adds one value, as `--filter name=value` on a command line does.
    pub fn add(&mut self, name: &str, value: &str) {
        let values = self.0.entry(name.to_owned()).or_default();
        values.push(value.to_owned());
    }

    /// Whether an object passes the filter `name`: there is none, or some value matches.
    pub fn pass(&self, name: &str, matches: impl Fn(&str) -> bool) -> bool {
        self.0.get(name).is_none_or(|values| values.iter().any(|value| matches(value)))
    }

    /// The values of the filter `name`; none if it was not given.
    pub fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether an object's labels hold every `label=KEY` and `label=KEY=VALUE` asked for, and none of those after `label!=`.
    pub fn pass_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |label: &String| match label.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|have| have == value),
            None => labels.contains_key(label),
        };
        self.values("label").iter().all(has) && !self.values("label!").iter().any(has)
    }

    /// Whether the filter `name` was given at all.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn query(pairs: &[(&str, &str)]) -> Query {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        axum::extract::Query(pairs.collect())
    }

    #[test]
    fn both_spellings_of_filters_mean_the_same() {
        let list = query(&[("filters", r#"{"name":["web"]}"#)]);
        let map = query(&[("filters", r#"{"name":{"web":true}}"#)]);
        assert_eq!(Filters::parse(&list, &["name"]).unwrap(), Filters::parse(&map, &["name"]).unwrap());
    }

    #[test]
    fn an_unknown_filter_is_refused_not_ignored() {
        let odd = query(&[("filters", r#"{"moon":["full"]}"#)]);
        let error = Filters::parse(&odd, &["name"]).unwrap_err();
        assert_eq!(error.message, "invalid filter 'moon'");
    }

    #[test]
    fn labels_match_by_key_or_by_key_and_value() {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        let mut filters = Filters::default();
        filters.add("label", "tier");
        filters.add("label", "tier=web");
        assert!(filters.pass_labels(&labels));
        filters.add("label", "tier=db");
        assert!(!filters.pass_labels(&labels));
    }

    #[test]
    fn a_flag_is_off_unless_said() {
        assert!(flag(&query(&[("all", "1")]), "all"));
        assert!(!flag(&query(&[("all", "0")]), "all"));
        assert!(!flag(&query(&[]), "all"));
    }
}
