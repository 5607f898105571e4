//! Drawings. Read by a strict XML reader with document types refused, copied by allow-list into a tree of our own, and
//! written anew from that. Only the result is stored, so what a reader and a browser understand differently has no way
//! through: what we did not understand is not there any more.

mod allowed;
mod expansion;
mod read;
mod write;

use omnibus_schemas::brander::AssetKind;
use resvg::{tiny_skia, usvg};

use super::{Made, NotTaken};

/// The largest drawing, in bytes.
const LARGEST: usize = 256 * 1024;
/// The longer side of the PNG that mails carry, in pixels: twice what a mail shows it at.
const MAIL_SIDE: f32 = 800.0;

/// An element that was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Node>,
}

/// What stands inside an element.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The drawing with nothing in it but what is allowed, and the names of what was left out.
///
/// # Errors
/// If it is not well-formed, has a document type, or would grow beyond bounds when it is drawn.
pub fn sanitised(bytes: &[u8]) -> Result<(String, Vec<String>), NotTaken> {
    let refuse = |words: String| NotTaken::of("drawing_refused", format!("the SVG {words}"));
    if bytes.len() > LARGEST {
        return Err(refuse("has more than 256 KB".into()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| refuse("is not in UTF-8".into()))?;
    let (root, dropped) = read::tree(text.strip_prefix('\u{feff}').unwrap_or(text)).map_err(refuse)?;
    expansion::bounded(&root).map_err(refuse)?;
    Ok((write::document(&root), dropped))
}

pub(super) fn make(bytes: &[u8]) -> Result<Made, NotTaken> {
    let (text, dropped) = sanitised(bytes)?;
    let drawing = usvg::Tree::from_str(&text, &usvg::Options::default())
        .map_err(|error| NotTaken::of("drawing_refused", format!("the SVG can't be drawn: {error}")))?;
    let size = drawing.size();
    let whole = |side: f32| (side.ceil().clamp(1.0, 65_535.0)) as u32;
    let mut hints = Vec::new();
    if !dropped.is_empty() {
        hints.push(format!("left out of the drawing: {}", dropped.join(", ")));
    }
    let mail = drawn(&drawing);
    hints.push(match &mail {
        Some(_) => "mails carry the drawing as PNG, without text elements: turn text into paths".to_owned(),
        None => "mails can't carry this drawing: it is too narrow or too flat to be drawn as PNG".to_owned(),
    });
    Ok(Made {
        kind: AssetKind::Svg,
        bytes: text.into_bytes(),
        size: Some((whole(size.width()), whole(size.height()))),
        mail,
        mailable: false,
        hints,
    })
}

/// The drawing as PNG.
fn drawn(drawing: &usvg::Tree) -> Option<Vec<u8>> {
    let size = drawing.size();
    let scale = MAIL_SIDE / size.width().max(size.height());
    let side = |length: f32| (length * scale).round() as u32;
    let mut pixels = tiny_skia::Pixmap::new(side(size.width()), side(size.height()))?;
    resvg::render(drawing, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logo_as_drawing_programs_save_it_comes_through() {
        let (text, dropped) = sanitised(
            br##"<?xml version="1.0" encoding="UTF-8" standalone="no"?>
            <!-- Made by hand -->
            <svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:ink="http://www.inkscape.org/x"
                 viewBox="0 0 100 40" width="100" height="40" ink:version="1">
              <title>A &amp; B</title>
              <defs><linearGradient id="g"><stop offset="0" style="stop-color:#f00;stop-opacity:1"/></linearGradient></defs>
              <g style="fill:url(#g)" ink:label="x"><path d="M0 0 L10,10 z"/><circle cx="5" cy="5" r="2.5"/></g>
              <use xlink:href="#g" x="1"/>
            </svg>"##,
        )
        .unwrap();
        assert_eq!(dropped, [""; 0]);
        assert_eq!(
            text,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 100 40\" width=\"100\" height=\"40\">\
             <title>A &amp; B</title><defs><linearGradient id=\"g\"><stop offset=\"0\" stop-color=\"#f00\" \
             stop-opacity=\"1\"/></linearGradient></defs><g fill=\"url(#g)\"><path d=\"M0 0 L10,10 z\"/>\
             <circle cx=\"5\" cy=\"5\" r=\"2.5\"/></g><use href=\"#g\" x=\"1\"/></svg>"
        );
    }

    #[test]
    fn what_comes_out_comes_out_the_same_when_it_goes_in_again() {
        let (once, _) =
            sanitised(b"<svg xmlns='http://www.w3.org/2000/svg'><g><text x='1'>a &lt; b</text></g></svg>").unwrap();
        let (twice, dropped) = sanitised(once.as_bytes()).unwrap();
        assert_eq!((once, dropped), (twice, vec![]));
    }

    #[test]
    fn layers_stand_in_layers_as_drawing_programs_nest_them_and_no_deeper() {
        let nested = |deep: usize| {
            let (open, close) = ("<g opacity='0.5'>".repeat(deep), "</g>".repeat(deep));
            format!("<svg xmlns='http://www.w3.org/2000/svg'>{open}<rect/>{close}</svg>")
        };
        assert!(sanitised(nested(6).as_bytes()).is_ok());
        assert!(sanitised(nested(7).as_bytes()).is_err());
    }

    #[test]
    fn a_drawing_has_a_picture_for_mails() {
        let made = make(b"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 10'><rect width='20' height='10' fill='#f00'/></svg>").unwrap();
        assert_eq!((made.kind, made.size), (AssetKind::Svg, Some((20, 10))));
        let mail = image::load_from_memory(&made.mail.unwrap()).unwrap();
        assert_eq!((mail.width(), mail.height()), (800, 400));
        assert_eq!(mail.to_rgba8().get_pixel(400, 200).0, [255, 0, 0, 255]);
    }
}
