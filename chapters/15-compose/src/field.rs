//! A value in a compose file, and where it stands.
//!
//! Whatever is wrong in a compose file is wrong *somewhere*, and `services.web.ports[1]` is what
//! the user can look for. So the file is read through [`Field`]s, which carry their path along, and
//! every complaint is a [`Wrong`] with that path in it.

use serde_json::Value;

/// A complaint: the path, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// `services.web.ports[0]`.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// A value and its path.
#[derive(Debug, Clone)]
pub struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    /// The document itself.
    pub fn root(value: &'a Value) -> Field<'a> {
        Field { path: String::new(), value }
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A complaint about this field.
    pub fn wrong(&self, message: impl Into<String>) -> Wrong {
        let path = if self.path.is_empty() { "(the document)".to_owned() } else { self.path.clone() };
        Wrong { path, message: message.into() }
    }

    /// Whether it is a map.
    pub fn is_map(&self) -> bool {
        self.value.is_object()
    }

    /// Whether it is a list.
    pub fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// The field `name` of a map, unless it is absent or null.
    pub fn get(&self, name: &str) -> Option<Field<'a>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Field { path: self.join(name), value })
    }

    /// All fields of a map, nulls too, in the file's order.
    ///
    /// # Errors
    /// Something that is no map.
    pub fn entries(&self) -> Result<Vec<(&'a str, Field<'a>)>, Wrong> {
        let Value::Object(map) = self.value else { return Err(self.expected("a map")) };
        Ok(map.iter().map(|(name, value)| (name.as_str(), Field { path: self.join(name), value })).collect())
    }

    /// The items of a list.
    ///
    /// # Errors
    /// Something that is no list.
    pub fn items(&self) -> Result<Vec<Field<'a>>, Wrong> {
        let Value::Array(items) = self.value else { return Err(self.expected("a list")) };
        Ok(items.iter().enumerate().map(|(at, value)| Field { path: format!("{}[{at}]", self.path), value }).collect())
    }

    /// Refuses a map with fields other than `known`. What begins with `x-` is the user's own.
    ///
    /// # Errors
    /// The first unknown field, by its path.
    pub fn only(&self, known: &[&str]) -> Result<(), Wrong> {
        for (name, field) in self.entries()? {
            if !known.contains(&name) && !name.starts_with("x-") {
                return Err(field.wrong(format!("unknown or unsupported field (supported here: {})", known.join(", "))));
            }
        }
        Ok(())
    }

    /// A string, or a number or boolean as it is written.
    ///
    /// # Errors
    /// A map, a list or nothing.
    pub fn text(&self) -> Result<String, Wrong> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(yes) => Ok(yes.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(self.expected("a string")),
        }
    }

    /// A string that is not empty.
    ///
    /// # Errors
    /// As [`text`](Field::text), and the empty string.
    pub fn filled(&self) -> Result<String, Wrong> {
        match self.text()? {
            empty if empty.is_empty() => Err(self.wrong("must not be empty")),
            text => Ok(text),
        }
    }

    /// A boolean; the words `true` and `false` too, which is what interpolation makes.
    ///
    /// # Errors
    /// Anything else.
    pub fn boolean(&self) -> Result<bool, Wrong> {
        match self.value {
            Value::Bool(yes) => Ok(*yes),
            Value::String(text) if text == "true" || text == "false" => Ok(text == "true"),
            _ => Err(self.expected("true or false")),
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// One string, or a list of strings.
    ///
    /// # Errors
    /// Anything else.
    pub fn texts(&self) -> Result<Vec<String>, Wrong> {
        match self.value {
            Value::Array(_) => self.items()?.iter().map(Field::text).collect(),
            _ => Ok(vec![self.text()?]),
        }
    }

    /// A map of strings, or a list of `NAME=VALUE`. A name without a value has none.
    ///
    /// # Errors
    /// Anything else.
    pub fn pairs(&self) -> Result<Vec<(String, Option<String>)>, Wrong> {
        if self.is_list() {
            return self
                .items()?
                .iter()
                .map(|item| {
                    let text = item.text()?;
                    Ok(match text.split_once('=') {
                        Some(("", _)) => return Err(item.wrong("a name stands before the =")),
                        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                        None => (text, None),
                    })
                })
                .collect();
        }
        let entries = self.entries()?.into_iter();
        entries
            .map(|(name, field)| {
                let value = if field.is_null() { None } else { Some(field.text()?) };
                Ok((name.to_owned(), value))
            })
            .collect()
    }

    fn expected(&self, what: &str) -> Wrong {
        let found = match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "a map",
        };
        self.wrong(format!("must be {what}, and is {found}"))
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}
