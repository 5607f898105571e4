//! How much there is to draw once every reference is followed. A drawing of a hundred bytes can ask for a billion circles.

use std::collections::{BTreeMap, BTreeSet};

use super::allowed::reference;
use super::{Element, Node};

/// Elements to be drawn, at most.
const MOST: u64 = 10_000;
/// What a layer of its own counts for: a mask, a clip and a group that is seen through are each painted on one.
const LAYER: u64 = 25;

/// `Err` has words for what makes it boundless.
pub(super) fn bounded(root: &Element) -> Result<(), String> {
    let mut named = BTreeMap::new();
    name(root, &mut named)?;
    let mut follow = Follow { named: &named, known: BTreeMap::new(), on_the_way: BTreeSet::new() };
    match follow.cost(root)? {
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

struct Follow<'a> {
    named: &'a BTreeMap<&'a str, &'a Element>,
    known: BTreeMap<&'a str, u64>,
    on_the_way: BTreeSet<&'a str>,
}

impl<'a> Follow<'a> {
    fn cost(&mut self, element: &'a Element) -> Result<u64, String> {
        let layers = ["mask", "clip-path", "opacity"].iter().filter(|name| element.attribute(name).is_some()).count();
        let mut cost = 1 + LAYER * layers as u64;
        for (key, value) in &element.attributes {
            let to = match key.as_str() {
                "href" => value.strip_prefix('#'),
                _ => reference(value),
            };
            if let Some(to) = to {
                cost += self.of(to)?;
            }
        }
        for child in elements(element) {
            cost += self.cost(child)?;
            if cost > MOST {
                return Err(too_much());
            }
        }
        Ok(cost)
    }

    fn of(&mut self, id: &str) -> Result<u64, String> {
        // What refers to nothing draws nothing.
        let Some((&id, &element)) = self.named.get_key_value(id) else { return Ok(0) };
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
        let cost = self.cost(element)?;
        self.on_the_way.remove(id);
        self.known.insert(id, cost);
        Ok(cost)
    }
}
