//! From tokens to a tree.

use serde_json::Value;

use super::scan::{Token, Word};
use super::{Node, Operand, Pipeline, Result, fail};

/// So many brackets and blocks may stand in each other.
const DEEPEST: usize = 50;

/// Reads a whole template.
pub(super) fn parse(tokens: Vec<Token>) -> Result<Vec<Node>> {
    let mut parser = Parser { tokens: tokens.into_iter(), depth: 0 };
    match parser.nodes()? {
        (nodes, None) => Ok(nodes),
        (_, Some(end)) => fail(format!("unexpected {{{{{}}}}}", end.word())),
    }
}

struct Parser {
    tokens: std::vec::IntoIter<Token>,
    depth: usize,
}

/// What a list of nodes ended with.
enum End {
    End,
    Else(Vec<Word>),
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Else(_) => "else",
        }
    }
}

impl Parser {
    fn nodes(&mut self) -> Result<(Vec<Node>, Option<End>)> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return fail(format!("more than {DEEPEST} blocks in each other"));
        }
        let mut nodes = Vec::new();
        while let Some(token) = self.tokens.next() {
            let words = match token {
                Token::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Token::Action(words) => words,
            };
            let keyword = match words.first() {
                Some(Word::Name(name)) => name.clone(),
                None => return fail("missing value for command"),
                _ => String::new(),
            };
            match keyword.as_str() {
                "end" => return self.leave(nodes, Some(End::End)),
                "else" => return self.leave(nodes, Some(End::Else(words[1..].to_vec()))),
                "if" | "with" | "range" => nodes.push(self.block(&keyword, words[1..].to_vec())?),
                "define" | "template" | "block" | "break" | "continue" => {
                    return fail(format!("{{{{{keyword}}}}} is not supported"));
                }
                _ => nodes.push(plain(words)?),
            }
        }
        self.leave(nodes, None)
    }

    fn leave(&mut self, nodes: Vec<Node>, end: Option<End>) -> Result<(Vec<Node>, Option<End>)> {
        self.depth -= 1;
        Ok((nodes, end))
    }

    /// The rest of a block whose first action was `{{kind words}}`.
    fn block(&mut self, kind: &str, words: Vec<Word>) -> Result<Node> {
        let (then, end) = self.nodes()?;
        let otherwise = match end {
            None => return fail(format!("{{{{{kind}}}}} without {{{{end}}}}")),
            Some(End::End) => Vec::new(),
            Some(End::Else(words)) => match words.split_first() {
                None => match self.nodes()? {
                    (otherwise, Some(End::End)) => otherwise,
                    _ => return fail("{{else}} without {{end}}"),
                },
                // `{{else if ...}}` is a block of its own, with the same end.
                Some((Word::Name(name), rest)) if name == "if" || name == "with" => {
                    vec![self.block(name, rest.to_vec())?]
                }
                Some(_) => return fail("{{else}} is followed by nothing, if, or with"),
            },
        };
        if kind == "range" {
            let (names, over) = match declaration(&words)? {
                Some((names, ":=", rest)) => (names, pipeline(rest)?),
                _ => (Vec::new(), pipeline(words)?),
            };
            return Ok(Node::Range { names, over, body: then, otherwise });
        }
        let value = pipeline(words)?;
        Ok(match kind {
            "if" => Node::If { condition: value, then, otherwise },
            _ => Node::With { value, then, otherwise },
        })
    }
}

/// `{{pipeline}}`, `{{$x := pipeline}}`, `{{$x = pipeline}}`.
fn plain(words: Vec<Word>) -> Result<Node> {
    match declaration(&words)? {
        None => Ok(Node::Print(pipeline(words)?)),
        Some((mut names, sign, rest)) => match (names.pop(), names.is_empty()) {
            (Some(name), true) => Ok(Node::Assign { name, declared: sign == ":=", value: pipeline(rest)? }),
            _ => fail("two variables are for range alone"),
        },
    }
}

/// Names of variables, the sign after them, and the words after that.
type Declaration = (Vec<String>, &'static str, Vec<Word>);

/// The variables before `:=` or `=`, the sign, and the words after it; `None` where there is neither.
fn declaration(words: &[Word]) -> Result<Option<Declaration>> {
    let sign = words.iter().position(|word| matches!(word, Word::Sign(":=" | "=")));
    let Some(at) = sign else { return Ok(None) };
    let mut names = Vec::new();
    for (index, word) in words[..at].iter().enumerate() {
        match word {
            Word::Name(name) if index % 2 == 0 && name.starts_with('$') && !name.contains('.') => {
                names.push(name[1..].to_owned());
            }
            Word::Sign(",") if index % 2 == 1 => {}
            _ => return fail("only variables can be assigned to"),
        }
    }
    if names.is_empty() || names.len() > 2 {
        return fail("one or two variables can be assigned to");
    }
    let Word::Sign(sign) = words[at] else { return Ok(None) };
    Ok(Some((names, sign, words[at + 1..].to_vec())))
}

fn pipeline(words: Vec<Word>) -> Result<Pipeline> {
    let mut words = words.into_iter().peekable();
    let pipeline = commands(&mut words, 0)?;
    match words.next() {
        None => Ok(pipeline),
        Some(_) => fail("a closing bracket too many"),
    }
}

type Words = std::iter::Peekable<std::vec::IntoIter<Word>>;

/// Commands up to the end, or to the closing bracket, which is left there.
fn commands(words: &mut Words, depth: usize) -> Result<Pipeline> {
    if depth > DEEPEST {
        return fail(format!("more than {DEEPEST} brackets in each other"));
    }
    let (mut pipeline, mut command) = (Vec::new(), Vec::new());
    while let Some(word) = words.next_if(|word| *word != Word::Sign(")")) {
        match word {
            Word::Sign("|") => pipeline.push(std::mem::take(&mut command)),
            Word::Sign("(") => {
                let inner = commands(words, depth + 1)?;
                if words.next().is_none() {
                    return fail("an opening bracket without a closing one");
                }
                // `(index . 0).Name`: fields follow the bracket.
                let follows = |word: &Word| matches!(word, Word::Name(name) if name.len() > 1 && name.starts_with('.'));
                let fields = match words.next_if(follows) {
                    Some(Word::Name(name)) => fields(&name)?,
                    _ => Vec::new(),
                };
                command.push(Operand::Group(inner, fields));
            }
            Word::Sign(sign) => return fail(format!("unexpected {sign:?}")),
            word => command.push(operand(word)?),
        }
    }
    pipeline.push(command);
    if pipeline.iter().any(Vec::is_empty) {
        return fail("missing value for command");
    }
    Ok(pipeline)
}

fn operand(word: Word) -> Result<Operand> {
    Ok(match word {
        Word::String(text) => Operand::Literal(Value::String(text)),
        Word::Number(text) => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => Operand::Literal(number.into()),
            (_, Ok(number)) => Operand::Literal(number.into()),
            _ => return fail(format!("{text:?} is no number")),
        },
        Word::Name(name) => match name.as_str() {
            "." => Operand::Field(Vec::new()),
            "true" | "false" => Operand::Literal((name == "true").into()),
            "nil" => Operand::Literal(Value::Null),
            _ if name.starts_with('.') => Operand::Field(fields(&name)?),
            _ if name.starts_with('$') => {
                let (variable, rest) = name[1..].split_once('.').map_or((&name[1..], None), |(v, r)| (v, Some(r)));
                Operand::Variable(variable.to_owned(), rest.map_or(Ok(Vec::new()), |rest| fields(&format!(".{rest}")))?)
            }
            _ => Operand::Function(name),
        },
        Word::Sign(sign) => return fail(format!("unexpected {sign:?}")),
    })
}

/// `.A.B` in its parts.
fn fields(name: &str) -> Result<Vec<String>> {
    let parts: Vec<String> = name.split('.').skip(1).map(str::to_owned).collect();
    match parts.iter().any(|part| part.is_empty() || part.contains('$')) {
        true => fail(format!("bad field {name:?}")),
        false => Ok(parts),
    }
}
