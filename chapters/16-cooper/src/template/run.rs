//! A template at work.

use serde_json::{Map, Value};

use super::functions::{call, is_true, show};
use super::{Command, Node, Operand, Pipeline, Result, fail};

/// One application of a template to a value.
pub(super) struct Run<'a> {
    dot: Value,
    variables: Vec<(String, Value)>,
    labels: &'a Map<String, Value>,
    /// Whether column names stand in for values: functions then leave them as they are.
    headings: bool,
    out: String,
}

static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);

impl<'a> Run<'a> {
    pub(super) fn new(value: &Value, labels: &'a Map<String, Value>) -> Self {
        let variables = vec![(String::new(), value.clone())];
        Self { dot: value.clone(), variables, labels, headings: false, out: String::new() }
    }

    pub(super) fn headings(names: &Value) -> Self {
        Self { headings: true, ..Run::new(names, &NONE) }
    }

    pub(super) fn text(mut self, nodes: &[Node]) -> Result<String> {
        self.nodes(nodes)?;
        Ok(self.out)
    }

    /// A block: variables that are declared in it end with it.
    fn nodes(&mut self, nodes: &[Node]) -> Result<()> {
        let declared = self.variables.len();
        for node in nodes {
            self.node(node)?;
        }
        self.variables.truncate(declared);
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<()> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipeline) => {
                let text = show(&self.pipeline(pipeline)?);
                self.out.push_str(&text);
            }
            Node::Assign { name, declared, value } => {
                let value = self.pipeline(value)?;
                match self.variables.iter_mut().rfind(|(known, _)| known == name) {
                    _ if *declared => self.variables.push((name.clone(), value)),
                    Some(variable) => variable.1 = value,
                    None => return fail(format!("undefined variable \"${name}\"")),
                }
            }
            Node::If { condition, then, otherwise } => {
                let holds = is_true(&self.pipeline(condition)?);
                self.nodes(if holds { then } else { otherwise })?;
            }
            Node::With { value, then, otherwise } => match self.pipeline(value)? {
                value if is_true(&value) => self.inside(value, then)?,
                _ => self.nodes(otherwise)?,
            },
            Node::Range { names, over, body, otherwise } => {
                let pairs = pairs(self.pipeline(over)?)?;
                if pairs.is_empty() {
                    self.nodes(otherwise)?;
                }
                for (key, value) in pairs {
                    let declared = self.variables.len();
                    match names.as_slice() {
                        [] => {}
                        [element] => self.variables.push((element.clone(), value.clone())),
                        [index, element, ..] => {
                            self.variables.push((index.clone(), key));
                            self.variables.push((element.clone(), value.clone()));
                        }
                    }
                    self.inside(value, body)?;
                    self.variables.truncate(declared);
                }
            }
        }
        Ok(())
    }

    /// A block with another `.`.
    fn inside(&mut self, dot: Value, nodes: &[Node]) -> Result<()> {
        let outer = std::mem::replace(&mut self.dot, dot);
        let done = self.nodes(nodes);
        self.dot = outer;
        done
    }

    fn pipeline(&self, pipeline: &Pipeline) -> Result<Value> {
        let mut piped = None;
        for command in pipeline {
            piped = Some(self.command(command, piped)?);
        }
        Ok(piped.unwrap_or(Value::Null))
    }

    fn command(&self, command: &Command, piped: Option<Value>) -> Result<Value> {
        let Some((first, rest)) = command.split_first() else { return fail("missing value for command") };
        let mut arguments = Vec::new();
        for operand in rest {
            arguments.push(self.operand(operand)?);
        }
        arguments.extend(piped);
        match first {
            Operand::Function(name) if self.headings => {
                // A heading is what the function would be applied to, as it stands: its last argument.
                arguments.pop().map_or_else(|| fail(format!("{name}: no arguments")), Ok)
            }
            Operand::Function(name) => call(name, arguments),
            Operand::Field(path) if path.last().is_some_and(|name| name == "Label") && arguments.len() == 1 => {
                Ok(self.label(&show(&arguments[0])))
            }
            _ if !arguments.is_empty() => fail("can't give argument to non-function"),
            operand => self.operand(operand),
        }
    }

    /// `.Label "com.example.tier"`: the label's value; as a heading, the last part of its name.
    fn label(&self, name: &str) -> Value {
        match self.headings {
            true => name.rsplit('.').next().unwrap_or(name).replace(['-', '_'], " ").into(),
            false => self.labels.get(name).cloned().unwrap_or_else(|| "".into()),
        }
    }

    fn operand(&self, operand: &Operand) -> Result<Value> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Field(path) => field(&self.dot, path),
            Operand::Variable(name, path) => match self.variables.iter().rfind(|(known, _)| known == name) {
                Some((_, value)) => field(value, path),
                None => fail(format!("undefined variable \"${name}\"")),
            },
            Operand::Group(pipeline, path) => field(&self.pipeline(pipeline)?, path),
            Operand::Function(_) => self.command(&vec![operand.clone()], None),
        }
    }
}

fn field(value: &Value, path: &[String]) -> Result<Value> {
    let mut value = value;
    for name in path {
        value = match value {
            Value::Object(map) => match map.get(name) {
                Some(value) => value,
                None => {
                    return fail(format!("executing \"\" at <.{}>: map has no entry for key {name:?}", path.join(".")));
                }
            },
            Value::Null => return fail(format!("nil pointer evaluating interface {{}}.{name}")),
            other => return fail(format!("can't evaluate field {name} in {}", show(other))),
        };
    }
    Ok(value.clone())
}

/// What `range` goes over: a list's elements, a map's values in the order of its keys.
fn pairs(value: Value) -> Result<Vec<(Value, Value)>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => Ok(list.into_iter().enumerate().map(|(index, value)| (index.into(), value)).collect()),
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.into_iter().collect();
            pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            Ok(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect())
        }
        other => fail(format!("range can't iterate over {}", show(&other))),
    }
}
