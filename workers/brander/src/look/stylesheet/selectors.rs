//! Which selectors a tenant may write: those that find elements by what they are, inside the brand's root.

use lightningcss::selector::{Component, PseudoClass, PseudoElement, Selector};
use lightningcss::traits::ToCss;
use parcel_selectors::parser::Combinator;

use super::{ROOT, compact};

/// Components of one selector, at most.
const LONGEST: usize = 24;

/// The selector, below the root.
pub(super) fn scoped(selector: &Selector<'_>) -> Result<String, String> {
    allowed(selector, 0)?;
    let text = selector.to_css_string(compact()).map_err(|error| error.to_string())?;
    Ok(format!(".{ROOT} {text}"))
}

fn allowed(selector: &Selector<'_>, depth: usize) -> Result<(), String> {
    if selector.len() > LONGEST || depth > 3 {
        return Err(format!("a selector has more than {LONGEST} parts or brackets more than 3 deep"));
    }
    selector.iter_raw_match_order().try_for_each(|component| one(component, depth))
}

fn one(component: &Component<'_>, depth: usize) -> Result<(), String> {
    let refuse = |words: &str| Err(format!("{words} is not allowed in a selector"));
    match component {
        Component::Combinator(
            Combinator::Child
            | Combinator::Descendant
            | Combinator::NextSibling
            | Combinator::LaterSibling
            | Combinator::PseudoElement,
        )
        | Component::ExplicitUniversalType
        | Component::LocalName(_)
        | Component::ID(_)
        | Component::Class(_)
        | Component::Nth(_) => Ok(()),
        Component::Negation(list) | Component::Is(list) | Component::Where(list) => {
            list.iter().try_for_each(|selector| allowed(selector, depth + 1))
        }
        Component::NonTSPseudoClass(class) => match class {
            PseudoClass::Hover
            | PseudoClass::Active
            | PseudoClass::Focus
            | PseudoClass::FocusVisible
            | PseudoClass::FocusWithin
            | PseudoClass::Link
            | PseudoClass::Enabled
            | PseudoClass::Disabled => Ok(()),
            _ => refuse("this pseudo-class"),
        },
        Component::PseudoElement(element) => match element {
            PseudoElement::FirstLine
            | PseudoElement::FirstLetter
            | PseudoElement::Marker
            | PseudoElement::Selection(_)
            | PseudoElement::Placeholder(_) => Ok(()),
            _ => refuse("this pseudo-element"),
        },
        Component::AttributeInNoNamespaceExists { .. }
        | Component::AttributeInNoNamespace { .. }
        | Component::AttributeOther(_) => refuse("an attribute, which could tell what is typed into a field,"),
        Component::Nesting => refuse("'&'"),
        Component::Root | Component::Scope | Component::Host(_) => refuse("':root', ':scope' or ':host'"),
        Component::Has(_) => refuse("':has()'"),
        _ => refuse("this kind of part"),
    }
}
