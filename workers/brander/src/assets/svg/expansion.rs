//! How much there is to draw once every reference is followed. A drawing of a hundred bytes can ask for a billion
//! circles, and one of a thousand for gigabytes of memory: a layer may be as large as twenty-five times the picture, and
//! layers that stand in layers are held at once.

use std::collections::{BTreeMap, BTreeSet};

use super::allowed::reference;
use super::{Element, Node};

/// Elements to be drawn, at most.
const MOST: u64 = 10_000;
/// What a layer of its own counts for: a mask, a clip and a group that is seen through are each painted on one, and so is
/// a drawing or symbol inside the drawing, which is clipped to its own window.
const LAYER: u64 = 25;
/// Layers in layers, at most.
const DEEPEST: usize = 6;

/// `Err` has words for what makes it boundless.
pub(super) fn bounded(root: &Element) -> Result<(), String> {
    let mut named = BTreeMap::new();
    name(root, &mut named)?;
    let mut follow = Follow { root, named: &named, known: BTreeMap::new(), on_the_way: BTreeSet::new() };
    match follow.weigh(root)?.cost {
        0..=MOST => Ok(()),
        _ => Err(too_much()),
    }
}

fn too_much() -> String {
    format!("would draw more than {MOST} elements once its references are followed")
}

fn name<'a>(element: &'a Element, named: &mut BTreeMap<&'a str, &'a Element>) -> Result<(), String> {
    if let Some(id) = element.attribute("id")
        && named.insert(id, element).is_some()
    {
        return Err("uses one id twice".into());
    }
    elements(element).try_for_each(|child| name(child, named))
}

fn elements(element: &Element) -> impl Iterator<Item = &Element> {
    element.children.iter().filter_map(|node| match node {
        Node::Element(child) => Some(child),
        Node::Text(_) => None,
    })
}

/// What an element comes to, with all that it holds and refers to.
#[derive(Debug, Clone, Copy)]
struct Weight {
    /// Elements to be drawn, layers counted as many.
    cost: u64,
    /// Layers in layers.
    depth: usize,
}

struct Follow<'a> {
    root: &'a Element,
    named: &'a BTreeMap<&'a str, &'a Element>,
    known: BTreeMap<&'a str, Weight>,
    on_the_way: BTreeSet<&'a str>,
}

impl<'a> Follow<'a> {
    fn weigh(&mut self, element: &'a Element) -> Result<Weight, String> {
        let window = matches!(element.name.as_str(), "svg" | "symbol") && !std::ptr::eq(element, self.root);
        let layers = ["mask", "clip-path", "opacity"].iter().filter(|name| element.attribute(name).is_some()).count()
            + usize::from(window);
        let (mut cost, mut below) = (1 + LAYER * layers as u64, 0);
        for (key, value) in &element.attributes {
            let to = match key.as_str() {
                "href" => value.strip_prefix('#'),
                _ => reference(value),
            };
            if let Some(to) = to {
                let named = self.of(to)?;
                cost += named.cost;
                below = below.max(named.depth);
            }
        }
        for child in elements(element) {
            let child = self.weigh(child)?;
            cost += child.cost;
            below = below.max(child.depth);
            if cost > MOST {
                return Err(too_much());
            }
        }
        let depth = layers + below;
        match depth > DEEPEST {
            true => Err(format!("has masks, clips and groups that are seen through more than {DEEPEST} deep")),
            false => Ok(Weight { cost, depth }),
        }
    }

    fn of(&mut self, id: &str) -> Result<Weight, String> {
        // What refers to nothing draws nothing.
        let nothing = Weight { cost: 0, depth: 0 };
        let Some((&id, &element)) = self.named.get_key_value(id) else { return Ok(nothing) };
        if let Some(known) = self.known.get(id) {
            return Ok(*known);
        }
        if !self.on_the_way.insert(id) {
            return Err("refers to itself in a circle".into());
        }
        // Each step down this way holds another id, of which there are as many as elements; a chain is bounded too.
        if self.on_the_way.len() > 16 {
            return Err("has references that lead to references more than 16 deep".into());
        }
        let weight = self.weigh(element)?;
        self.on_the_way.remove(id);
        self.known.insert(id, weight);
        Ok(weight)
    }
}
