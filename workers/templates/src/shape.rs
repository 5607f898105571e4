//! What a part of a template looks like inside: which names it uses where, how its blocks nest, and how much work a
//! rendering is. All that can be known before the first value comes is checked here.

use std::collections::{BTreeMap, BTreeSet};

use omnibus_schemas::template::{Kind, Variable};
use serde_json::{Map, Value};

use crate::limits;
use crate::tags::{Block, Flaw, Path, Piece, What};

/// A value that every template of a channel may use without declaring it: the brand's name, say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// `brand.name`
    pub path: &'static str,
    /// What it is.
    pub shape: Shape,
}

/// What a value is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Shown.
    Text,
    /// An address of a page, checked: may be a link's target.
    Url,
    /// A colour, a font or a length, checked: may stand in a style.
    Style,
    /// For conditions.
    Condition,
    /// For loops.
    List,
}

impl From<Kind> for Shape {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Url => Shape::Url,
            Kind::Boolean => Shape::Condition,
            Kind::List => Shape::List,
            Kind::Text | Kind::Money | Kind::Integer | Kind::Date | Kind::Time | Kind::Email | Kind::Code => {
                Shape::Text
            }
        }
    }
}

/// The names that can be used, and where.
pub(crate) struct Names<'a> {
    variables: BTreeMap<&'a str, &'a Variable>,
    given: &'a [Given],
}

/// A checked part.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    /// The declared variables that it shows.
    pub(crate) shows: BTreeSet<String>,
}

#[derive(Debug, Clone)]
enum Node {
    /// Text, value or comment.
    One,
    /// A condition, with both of its sides.
    If(Vec<Node>, Vec<Node>),
    /// A loop over this list, with what stands there instead if it is empty.
    Each(String, Vec<Node>, Vec<Node>),
}

/// A block that is open.
struct Frame {
    block: Block,
    /// How it was opened: an `else if` is a block inside the `else`, closed together with it.
    chained: bool,
    list: Option<String>,
    then: Vec<Node>,
    other: Option<Vec<Node>>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(variables: &'a [Variable], given: &'a [Given]) -> Self {
        Names { variables: variables.iter().map(|v| (v.name.as_str(), v)).collect(), given }
    }

    /// What `path` is, inside these loops (the innermost last).
    pub(crate) fn shape(&self, path: &Path<'_>, loops: &[&str]) -> Result<Shape, String> {
        if path.local {
            return match (loops.is_empty(), path.name) {
                (true, _) => Err(format!("{} is only known inside {{{{#each}}}}", path.raw)),
                (false, "index") => Ok(Shape::Text),
                (false, _) => Ok(Shape::Condition),
            };
        }
        match loops.len().checked_sub(path.up) {
            None => Err(format!("{} leads out of the template: each ../ leaves one {{{{#each}}}}", path.raw)),
            Some(0) => self.outside(path),
            Some(depth) => self.in_row(path, loops[depth - 1], path.up + depth),
        }
    }

    fn outside(&self, path: &Path<'_>) -> Result<Shape, String> {
        if let Some(variable) = self.variables.get(path.name) {
            return Ok(variable.kind.into());
        }
        if let Some(given) = self.given.iter().find(|given| given.path == path.name) {
            return Ok(given.shape);
        }
        let declared: Vec<&str> = self.variables.keys().copied().collect();
        let given: Vec<&str> = self.given.iter().map(|given| given.path).collect();
        let given = if given.is_empty() { String::new() } else { format!("; always there: {}", given.join(", ")) };
        Err(format!("{} is not declared; declared: {}{given}", path.name, listed(&declared)))
    }

    fn in_row(&self, path: &Path<'_>, list: &str, out: usize) -> Result<Shape, String> {
        let fields = self.variables.get(list).map(|variable| variable.fields.as_slice()).unwrap_or_default();
        if let Some(field) = fields.iter().find(|field| field.name == path.name) {
            return Ok(Kind::from(field.kind).into());
        }
        let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        let from_outside = match self.outside(path) {
            Ok(_) => format!("; outside of it there is {}{}", "../".repeat(out), path.name),
            Err(_) => String::new(),
        };
        Err(format!("{} is no field of {list}, which has: {}{from_outside}", path.name, listed(&names)))
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

impl Tree {
    /// Checks every name, and that blocks are closed and not too deep.
    pub(crate) fn of(source: &str, pieces: &[Piece<'_>], names: &Names<'_>) -> Result<Self, Flaw> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut tree = Tree::default();
        for piece in pieces {
            let flaw = |reason: String| Flaw::at(source, piece.range.start, reason);
            let lists: Vec<&str> =
                frames.iter().filter(|f| f.other.is_none()).filter_map(|f| f.list.as_deref()).collect();
            match &piece.what {
                What::Text(_) | What::Comment => push(&mut frames, &mut tree.nodes, Node::One),
                What::Value(path) => {
                    match names.shape(path, &lists).map_err(flaw)? {
                        Shape::List => return Err(flaw(format!("{} is a list: use {{{{#each}}}}", path.raw))),
                        Shape::Condition => {
                            return Err(flaw(format!("{} is yes or no: use {{{{#if}}}}", path.raw)));
                        }
                        Shape::Text | Shape::Url | Shape::Style => {}
                    }
                    if !path.local {
                        let shown = match lists.len() - path.up {
                            0 => path.name,
                            depth => lists[depth - 1],
                        };
                        tree.shows.insert(shown.to_owned());
                    }
                    push(&mut frames, &mut tree.nodes, Node::One);
                }
                What::Open(block, path) => {
                    let shape = names.shape(path, &lists).map_err(flaw)?;
                    if *block == Block::Each && shape != Shape::List {
                        return Err(flaw(format!("{} is no list: {{{{#each}}}} needs one", path.raw)));
                    }
                    if frames.iter().filter(|frame| !frame.chained).count() == limits::DEPTH {
                        return Err(flaw(format!("more than {} blocks inside each other", limits::DEPTH)));
                    }
                    if *block == Block::Each && lists.len() == limits::LOOPS {
                        return Err(flaw(format!("more than {} loops inside each other", limits::LOOPS)));
                    }
                    let list = (*block == Block::Each).then(|| path.name.to_owned());
                    frames.push(Frame { block: *block, chained: false, list, then: vec![], other: None });
                }
                What::Else => match frames.last_mut() {
                    Some(frame) if frame.other.is_none() => frame.other = Some(vec![]),
                    _ => return Err(flaw("{{else}} without an open block".into())),
                },
                What::ElseIf(path) => {
                    names.shape(path, &lists).map_err(flaw)?;
                    match frames.last_mut() {
                        Some(frame) if frame.other.is_none() && frame.block != Block::Each => {
                            frame.other = Some(vec![])
                        }
                        _ => return Err(flaw("{{else if}} without an open {{#if}}".into())),
                    }
                    if frames.iter().filter(|frame| frame.chained).count() == 20 {
                        return Err(flaw("more than 20 {{else if}}".into()));
                    }
                    frames.push(Frame { block: Block::If, chained: true, list: None, then: vec![], other: None });
                }
                What::Close(block) => loop {
                    let word = block.word();
                    let Some(frame) = frames.pop() else {
                        return Err(flaw(format!("{{{{/{word}}}}} closes nothing")));
                    };
                    let chained = frame.chained;
                    if !chained && frame.block != *block {
                        let open = frame.block.word();
                        return Err(flaw(format!("{{{{/{word}}}}} closes nothing: {{{{#{open}}}}} is open")));
                    }
                    push(&mut frames, &mut tree.nodes, frame.node());
                    if !chained {
                        break;
                    }
                },
            }
        }
        match frames.first() {
            Some(open) => Err(Flaw::at(source, source.len(), format!("{{{{#{}}}}} is not closed", open.block.word()))),
            None => Ok(tree),
        }
    }

    /// How much work it is with these values, as far as `most`.
    pub(crate) fn steps(&self, values: &Map<String, Value>, most: u64) -> u64 {
        steps(&self.nodes, values, most)
    }
}

impl Frame {
    fn node(self) -> Node {
        let other = self.other.unwrap_or_default();
        match self.list {
            Some(list) => Node::Each(list, self.then, other),
            None => Node::If(self.then, other),
        }
    }
}

fn push(frames: &mut [Frame], root: &mut Vec<Node>, node: Node) {
    match frames.last_mut() {
        Some(frame) => frame.other.as_mut().unwrap_or(&mut frame.then).push(node),
        None => root.push(node),
    }
}

fn steps(nodes: &[Node], values: &Map<String, Value>, most: u64) -> u64 {
    nodes.iter().fold(0u64, |sum, node| {
        if sum > most {
            return sum;
        }
        let own = match node {
            Node::One => 0,
            Node::If(then, other) => steps(then, values, most).max(steps(other, values, most)),
            Node::Each(list, body, other) => {
                let rounds = values.get(list).and_then(Value::as_array).map_or(0, Vec::len) as u64;
                match rounds {
                    0 => steps(other, values, most),
                    rounds => rounds.saturating_mul(1 + steps(body, values, most)),
                }
            }
        };
        sum.saturating_add(1 + own)
    })
}
