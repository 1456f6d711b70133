//! The functions of templates: Go's own, and those that docker adds.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Result, fail};

/// No padding is wider: a template is not to fill the memory.
const WIDEST: usize = 10_000;

/// Calls a function.
pub(super) fn call(name: &str, arguments: Vec<Value>) -> Result<Value> {
    let text = |index: usize| arguments.get(index).map(show).unwrap_or_default();
    let exactly = |count: usize| match arguments.len() == count {
        true => Ok(()),
        false => fail(format!("wrong number of args for {name}: want {count} got {}", arguments.len())),
    };
    match name {
        "json" => exactly(1).map(|()| Value::String(arguments[0].to_string())),
        "lower" => exactly(1).map(|()| text(0).to_lowercase().into()),
        "upper" => exactly(1).map(|()| text(0).to_uppercase().into()),
        "title" => exactly(1).map(|()| title(&text(0)).into()),
        "join" => exactly(2).and_then(|()| join(&arguments[0], &text(1))),
        "split" => exactly(2).map(|()| split(&text(0), &text(1))),
        "pad" => exactly(3).and_then(|()| pad(&arguments)),
        "truncate" => {
            exactly(2).and_then(|()| Ok(text(0).chars().take(count(&arguments[1])?).collect::<String>().into()))
        }
        "println" => Ok(format!("{}\n", spaced(&arguments)).into()),
        "print" => Ok(printed(&arguments).into()),
        "printf" => printf(&arguments),
        "len" => exactly(1).and_then(|()| length(&arguments[0])),
        "index" => arguments.split_first().map_or_else(|| fail("index of nothing"), |(value, keys)| index(value, keys)),
        "slice" => slice(&arguments),
        "not" => exactly(1).map(|()| (!is_true(&arguments[0])).into()),
        "and" => Ok(pick(arguments, |value| !is_true(value))),
        "or" => Ok(pick(arguments, is_true)),
        "eq" => match arguments.split_first() {
            Some((first, others)) if !others.is_empty() => Ok(others.iter().any(|other| same(first, other)).into()),
            _ => fail("missing argument for comparison"),
        },
        "ne" => exactly(2).map(|()| (!same(&arguments[0], &arguments[1])).into()),
        "lt" | "le" | "gt" | "ge" => exactly(2).and_then(|()| compare(name, &arguments[0], &arguments[1])),
        _ => fail(format!("function {name:?} not defined")),
    }
}

/// A value as Go's `%v` prints it.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(show_inside).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", show_inside(value))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
        other => other.to_string(),
    }
}

/// Inside a list or a map, Go has another word for nothing.
fn show_inside(value: &Value) -> String {
    if value.is_null() { "<nil>".to_owned() } else { show(value) }
}

/// Go's truth: everything but nothing, zero, and what is empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// The first value that settles it, else the last.
fn pick(mut values: Vec<Value>, settles: impl Fn(&Value) -> bool) -> Value {
    let last = values.len().saturating_sub(1);
    let at = values.iter().position(settles).unwrap_or(last);
    if values.is_empty() { Value::Null } else { values.swap_remove(at) }
}

fn title(text: &str) -> String {
    let mut start = true;
    let letters = text.chars().flat_map(|c| {
        let upper = std::mem::replace(&mut start, !c.is_alphanumeric());
        if upper { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
    });
    letters.collect()
}

fn join(list: &Value, separator: &str) -> Result<Value> {
    match list {
        Value::Null => Ok("".into()),
        Value::Array(list) => Ok(list.iter().map(show).collect::<Vec<_>>().join(separator).into()),
        other => fail(format!("join of {}, which is no list", show(other))),
    }
}

fn split(text: &str, separator: &str) -> Value {
    match separator {
        "" => text.chars().map(|c| c.to_string()).collect(),
        separator => text.split(separator).collect(),
    }
}

fn pad(arguments: &[Value]) -> Result<Value> {
    let text = show(&arguments[0]);
    if text.is_empty() {
        return Ok(text.into());
    }
    let (before, after) = (count(&arguments[1])?, count(&arguments[2])?);
    Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into())
}

fn count(value: &Value) -> Result<usize> {
    match value.as_u64().and_then(|number| usize::try_from(number).ok()) {
        Some(number) if number <= WIDEST => Ok(number),
        _ => fail(format!("{} is no number from 0 to {WIDEST}", show(value))),
    }
}

fn length(value: &Value) -> Result<Value> {
    match value {
        Value::Null => Ok(0.into()),
        Value::String(text) => Ok(text.len().into()),
        Value::Array(list) => Ok(list.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        other => fail(format!("len of {}", show(other))),
    }
}

fn index(value: &Value, keys: &[Value]) -> Result<Value> {
    let mut value = value;
    for key in keys {
        value = match (value, key) {
            (Value::Array(list), key) => {
                let at = key.as_u64().and_then(|at| list.get(usize::try_from(at).ok()?));
                match at {
                    Some(value) => value,
                    None => return fail(format!("error calling index: index out of range: {}", show(key))),
                }
            }
            // A key that a map has not is nothing, not an error.
            (Value::Object(map), Value::String(key)) => map.get(key).unwrap_or(&Value::Null),
            (Value::Null, _) => return fail("error calling index: index of untyped nil"),
            (value, key) => {
                return fail(format!("error calling index: cannot index {} with {}", show(value), show(key)));
            }
        };
    }
    Ok(value.clone())
}

fn slice(arguments: &[Value]) -> Result<Value> {
    let bad = || super::Error("error calling slice: index out of range".to_owned());
    let Some((value, bounds)) = arguments.split_first() else { return fail("slice of nothing") };
    let at = |index: usize, default: usize| bounds.get(index).map_or(Ok(default), count);
    match value {
        Value::String(text) => {
            let part = text.get(at(0, 0)?..at(1, text.len())?);
            part.map(Value::from).ok_or_else(bad)
        }
        Value::Array(list) => {
            let part = list.get(at(0, 0)?..at(1, list.len())?);
            part.map(|part| Value::Array(part.to_vec())).ok_or_else(bad)
        }
        other => fail(format!("slice of {}", show(other))),
    }
}

fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn compare(name: &str, a: &Value, b: &Value) -> Result<Value> {
    let order = match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
    };
    let Some(order) = order else { return fail("incompatible types for comparison") };
    Ok(match name {
        "lt" => order == Ordering::Less,
        "le" => order != Ordering::Greater,
        "gt" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }
    .into())
}

fn spaced(values: &[Value]) -> String {
    values.iter().map(show).collect::<Vec<_>>().join(" ")
}

/// Go's `print`: spaces between two values neither of which is a string.
fn printed(values: &[Value]) -> String {
    let mut text = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 && !value.is_string() && !values[index - 1].is_string() {
            text.push(' ');
        }
        text.push_str(&show(value));
    }
    text
}

/// Go's `printf`, with `%s %d %v %q %t %x %f %%`, widths and `-`.
fn printf(arguments: &[Value]) -> Result<Value> {
    let Some((Value::String(format), values)) = arguments.split_first() else { return fail("printf without a format") };
    let (mut text, mut rest, mut values) = (String::new(), format.as_str(), values.iter());
    while let Some((plain, verb)) = rest.split_once('%') {
        text.push_str(plain);
        let end = verb.find(|c: char| !c.is_ascii_digit() && !matches!(c, '-' | '.' | '0' | '+')).unwrap_or(verb.len());
        let (flags, after) = verb.split_at(end);
        let Some(kind) = after.chars().next() else { return fail("printf: a % without a verb") };
        rest = &after[kind.len_utf8()..];
        if kind == '%' {
            text.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            text.push_str(&format!("%!{kind}(MISSING)"));
            continue;
        };
        text.push_str(&padded(flags, formatted(kind, flags, value)?)?);
    }
    text.push_str(rest);
    Ok(text.into())
}

fn formatted(kind: char, flags: &str, value: &Value) -> Result<String> {
    Ok(match (kind, value) {
        ('q', value) => format!("{:?}", show(value)),
        ('x', Value::Number(number)) => format!("{:x}", number.as_i64().unwrap_or_default()),
        ('f', Value::Number(number)) => {
            let decimals = flags.split_once('.').map_or(Ok(6), |(_, digits)| digits.parse());
            let decimals = decimals.ok().filter(|digits| *digits <= 100).unwrap_or(6);
            format!("{:.decimals$}", number.as_f64().unwrap_or_default())
        }
        ('s' | 'v' | 'd' | 't' | 'x' | 'f', value) => show(value),
        (other, _) => return fail(format!("printf: no such verb: %{other}")),
    })
}

fn padded(flags: &str, text: String) -> Result<String> {
    let digits = flags.trim_start_matches(['-', '+']).split('.').next().unwrap_or_default();
    let width: usize = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(WIDEST + 1) };
    if width > WIDEST {
        return fail(format!("printf: wider than {WIDEST}"));
    }
    Ok(match (flags.starts_with('-'), digits.starts_with('0')) {
        (true, _) => format!("{text:<width$}"),
        (false, true) => format!("{text:0>width$}"),
        (false, false) => format!("{text:>width$}"),
    })
}
