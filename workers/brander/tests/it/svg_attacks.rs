//! What people have tried with drawings. Either the file is refused, or what comes out has nothing of it.

use omnibus_brander::assets::svg::sanitised;

const NS: &str = "xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\"";

/// As large as a layer can be.
const HUGE: &str = "<rect x=\"-9999\" y=\"-9999\" width=\"99999\" height=\"99999\"/>";

/// Stands inside an `<svg>` that is well-formed: taken, with the attack left out.
const LEFT_OUT: &[(&str, &str)] = &[
    ("script", "<script>alert(1)</script>"),
    ("script in capitals", "<SCRIPT>alert(1)</SCRIPT>"),
    ("script in CDATA", "<script><![CDATA[alert(1)]]></script>"),
    ("script from elsewhere", "<script href=\"https://evil.example/x.js\"/>"),
    ("script by xlink", "<script xlink:href=\"data:text/javascript,alert(1)\"/>"),
    ("script of another prefix", "<s:script xmlns:s=\"http://www.w3.org/2000/svg\">alert(1)</s:script>"),
    ("script of XHTML", "<x:script xmlns:x=\"http://www.w3.org/1999/xhtml\">alert(1)</x:script>"),
    ("script inside what is left out", "<foreignObject><g><script>alert(1)</script></g></foreignObject>"),
    ("onload", "<g onload=\"alert(1)\"/>"),
    ("onclick", "<rect onclick=\"alert(1)\" width=\"1\" height=\"1\"/>"),
    ("onbegin", "<animate onbegin=\"alert(1)\" attributeName=\"x\" dur=\"1s\"/>"),
    ("onerror", "<image onerror=\"alert(1)\" href=\"x\"/>"),
    ("onfocus", "<a id=\"x\" tabindex=\"1\" onfocus=\"alert(1)\"/>"),
    ("ONLOAD", "<g ONLOAD=\"alert(1)\"/>"),
    ("handler with entities", "<g onload=\"&#97;lert(1)\"/>"),
    ("foreignObject", "<foreignObject><iframe src=\"https://evil.example\"/></foreignObject>"),
    (
        "foreignObject with a body",
        "<foreignObject><body xmlns=\"http://www.w3.org/1999/xhtml\" onload=\"alert(1)\"/></foreignObject>",
    ),
    ("link", "<a href=\"javascript:alert(1)\"><text>x</text></a>"),
    ("link by xlink", "<a xlink:href=\"javascript:alert(1)\"><rect width=\"9\" height=\"9\"/></a>"),
    ("use of data", "<use href=\"data:image/svg+xml;base64,PHN2Zz4=#x\"/>"),
    ("use of elsewhere", "<use xlink:href=\"https://evil.example/x.svg#a\"/>"),
    ("use without a scheme", "<use href=\"//evil.example/x.svg#a\"/>"),
    ("use of a file", "<use href=\"file:///etc/passwd\"/>"),
    ("use with a space before", "<use href=\" javascript:alert(1)\"/>"),
    ("image", "<image href=\"https://evil.example/track.png\"/>"),
    ("image by xlink", "<image xlink:href=\"https://evil.example/track.png\"/>"),
    ("image of a file", "<image xlink:href=\"file:///etc/passwd\"/>"),
    ("image of the inside", "<image href=\"http://169.254.169.254/latest/meta-data/\"/>"),
    ("image of data", "<image href=\"data:image/svg+xml,&lt;svg onload=alert(1)&gt;\"/>"),
    ("feImage", "<filter id=\"f\"><feImage href=\"https://evil.example/x\"/></filter>"),
    ("set href", "<use href=\"#a\"><set attributeName=\"href\" to=\"javascript:alert(1)\"/></use>"),
    ("animate href", "<a><animate attributeName=\"href\" values=\"javascript:alert(1)\"/></a>"),
    ("animateMotion", "<animateMotion path=\"M0 0\"/>"),
    ("animateTransform", "<animateTransform attributeName=\"transform\" onend=\"alert(1)\"/>"),
    ("handler element", "<handler type=\"text/javascript\">alert(1)</handler>"),
    ("listener", "<listener event=\"load\" handler=\"#h\"/>"),
    ("style element", "<style>@import 'https://evil.example/a.css';</style>"),
    ("style element with a url", "<style>*{fill:url(https://evil.example)}</style>"),
    ("style attribute with a url", "<rect style=\"fill:url(https://evil.example/x)\"/>"),
    ("style attribute with background", "<rect style=\"background:url(//evil.example)\"/>"),
    ("style attribute with an escape", "<rect style=\"fill:u\\72l(https://evil.example)\"/>"),
    ("style attribute with behaviour", "<rect style=\"behavior:url(x.htc);-moz-binding:url(x)\"/>"),
    ("style attribute with href", "<use style=\"href:javascript:alert(1)\"/>"),
    ("fill from elsewhere", "<rect fill=\"url(https://evil.example/p.svg#g)\"/>"),
    ("fill with quotes", "<rect fill=\"url('javascript:alert(1)')\"/>"),
    ("fill with a fallback", "<rect fill=\"url(//evil.example#a) red\"/>"),
    ("filter from elsewhere", "<rect filter=\"url(//evil.example#f)\"/>"),
    ("mask from elsewhere", "<rect mask=\"url(//evil.example#m)\"/>"),
    ("clip from elsewhere", "<rect clip-path=\"url(//evil.example#m)\"/>"),
    ("cursor", "<rect cursor=\"url(//evil.example/c)\"/>"),
    ("marker from elsewhere", "<path marker-start=\"url(//evil.example#m)\" d=\"M0 0\"/>"),
    ("iframe", "<iframe src=\"https://evil.example\"/>"),
    ("embed", "<embed src=\"https://evil.example\"/>"),
    ("object", "<object data=\"https://evil.example\"/>"),
    ("audio", "<audio src=\"https://evil.example\" onerror=\"alert(1)\"/>"),
    ("video", "<video><source onerror=\"alert(1)\"/></video>"),
    ("form", "<form action=\"https://evil.example\"><input name=\"password\"/></form>"),
    ("meta refresh", "<meta http-equiv=\"refresh\" content=\"0;url=https://evil.example\"/>"),
    ("base", "<base href=\"https://evil.example\"/>"),
    ("xml:base", "<g xml:base=\"https://evil.example/\"><use href=\"#a\"/></g>"),
    ("xi:include", "<x:include xmlns:x=\"http://www.w3.org/2001/XInclude\" href=\"file:///etc/passwd\"/>"),
    ("metadata", "<metadata><rdf xmlns=\"urn:x\">secret</rdf></metadata>"),
    ("view", "<view id=\"v\" viewTarget=\"javascript:alert(1)\"/>"),
    ("switch", "<switch><foreignObject/></switch>"),
    ("tref", "<tref xlink:href=\"file:///etc/passwd\"/>"),
    (
        "font-face",
        "<font-face><font-face-src><font-face-uri xlink:href=\"https://evil.example\"/></font-face-src></font-face>",
    ),
    ("color-profile", "<color-profile xlink:href=\"https://evil.example/x.icc\"/>"),
    ("text path elsewhere", "<textPath href=\"https://evil.example/#p\">x</textPath>"),
    ("attribute that leaves its quotes", "<text font-family=\"a&quot; onload=&quot;alert(1)\">x</text>"),
    ("id that leaves its quotes", "<g id=\"a&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\"/>"),
    ("path that is a script", "<path d=\"M0 0&quot;/&gt;&lt;script&gt;\"/>"),
    ("text that is a tag", "<text>&lt;script&gt;alert(1)&lt;/script&gt;</text>"),
    ("CDATA that is a tag", "<title><![CDATA[</title><script>alert(1)</script>]]></title>"),
    ("title that ends a page", "<title>&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;</title>"),
    (
        "pattern with a huge tile",
        "<pattern id=\"p\" patternUnits=\"userSpaceOnUse\" width=\"60000\" height=\"60000\"><rect width=\"60000\" height=\"60000\"/></pattern><rect width=\"800\" height=\"800\" fill=\"url(#p)\"/>",
    ),
    (
        "patterns that are inherited",
        "<pattern id=\"p\"><g fill=\"url(#q)\"><rect/><rect/></g></pattern><pattern id=\"q\"><rect/></pattern><g fill=\"url(#p)\"><rect/><rect/></g>",
    ),
    (
        "marker at every point",
        "<marker id=\"m\"><path marker-mid=\"url(#m)\" d=\"M0 0 1 1 2 2\"/></marker><path marker-mid=\"url(#m)\" d=\"M0 0 1 1 2 2 3 3\"/>",
    ),
    ("dashes without number", "<path d=\"M0 0 H60000\" stroke=\"red\" stroke-dasharray=\"0.0001\"/>"),
    ("other prefix of handlers", "<g ev:event=\"load\" xmlns:ev=\"http://www.w3.org/2001/xml-events\"/>"),
];

/// Not taken at all: malformed, a document type, or boundless.
fn refused() -> Vec<(&'static str, String)> {
    let wrapped = |inside: &str| format!("<svg {NS}>{inside}</svg>");
    let laughs: String =
        (1..20).map(|n| format!("<g id=\"g{n}\">{}</g>", format!("<use href=\"#g{}\"/>", n - 1).repeat(10))).collect();
    let masks: String = (1..16)
        .map(|n| format!("<mask id=\"p{n}\">{}</mask>", format!("<rect mask=\"url(#p{})\"/>", n - 1).repeat(3)))
        .collect();
    vec![
        ("document type", format!("<!DOCTYPE svg><svg {NS}/>")),
        ("entity", format!("<!DOCTYPE svg [<!ENTITY a \"b\">]><svg {NS}><text>&a;</text></svg>")),
        (
            "external entity",
            format!("<!DOCTYPE svg [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><svg {NS}><text>&a;</text></svg>"),
        ),
        (
            "parameter entity",
            format!("<!DOCTYPE svg [<!ENTITY % a SYSTEM \"http://evil.example/a.dtd\">%a;]><svg {NS}/>"),
        ),
        (
            "billion laughs",
            format!("<!DOCTYPE l [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;\">]><svg {NS}><text>&b;</text></svg>"),
        ),
        (
            "document type of elsewhere",
            format!("<!DOCTYPE svg PUBLIC \"-//W3C//DTD SVG 1.1//EN\" \"http://evil.example/svg.dtd\"><svg {NS}/>"),
        ),
        (
            "default attribute by document type",
            format!("<!DOCTYPE svg [<!ATTLIST svg onload CDATA \"alert(1)\">]><svg {NS}/>"),
        ),
        ("unknown entity", wrapped("<text>&nbsp;</text>")),
        ("unknown entity in an attribute", wrapped("<text x=\"&evil;\">a</text>")),
        (
            "stylesheet instruction",
            format!("<?xml-stylesheet href=\"https://evil.example/a.xsl\" type=\"text/xsl\"?><svg {NS}/>"),
        ),
        ("php", format!("<?php system('id'); ?><svg {NS}/>")),
        ("other encoding", format!("<?xml version=\"1.0\" encoding=\"UTF-7\"?><svg {NS}/>")),
        ("not closed", format!("<svg {NS}><g>")),
        ("closed twice", format!("<svg {NS}></svg></svg>")),
        ("closed crosswise", wrapped("<g><text></g></text>")),
        ("attribute twice", wrapped("<g id=\"a\" id=\"b\"/>")),
        ("attribute without quotes", wrapped("<g onload=alert(1)/>")),
        ("attribute without a value", wrapped("<g hidden/>")),
        ("tag in an attribute", wrapped("<g id=\"<script>\"/>")),
        ("lone ampersand", wrapped("<text>a & b</text>")),
        ("two roots", format!("<svg {NS}/><svg {NS}/>")),
        ("text behind", format!("<svg {NS}/>alert(1)")),
        ("HTML", "<html><body onload=\"alert(1)\"/></html>".into()),
        ("HTML that begins like a drawing", "<svg onload=alert(1)>".into()),
        ("no namespace", "<svg><rect/></svg>".into()),
        ("wrong namespace", "<svg xmlns=\"http://www.w3.org/1999/xhtml\"><script>alert(1)</script></svg>".into()),
        ("prefix without a namespace", wrapped("<evil:g/>")),
        ("comment with two hyphens", wrapped("<!-- a -- b -->")),
        ("comment that does not end", wrapped("<!-- ")),
        ("CDATA that does not end", wrapped("<text><![CDATA[")),
        ("control character", wrapped("<text>a\u{1}b</text>")),
        ("null", wrapped("<text>a\0b</text>")),
        ("character that is none", wrapped("<text>&#0;</text>")),
        ("circle of uses", wrapped("<g id=\"a\"><use href=\"#a\"/></g>")),
        ("circle by two", wrapped("<g id=\"a\"><use href=\"#b\"/></g><g id=\"b\"><use href=\"#a\"/></g>")),
        ("uses that multiply", wrapped(&format!("<g id=\"g0\"><rect/></g>{laughs}"))),
        ("masks that multiply", wrapped(&format!("<mask id=\"p0\"/>{masks}<rect mask=\"url(#p15)\"/>"))),
        ("layers without number", wrapped(&"<g opacity=\"0.5\"><rect/></g>".repeat(1000))),
        ("drawings in the drawing", wrapped(&"<svg width=\"9\" height=\"9\"><rect/></svg>".repeat(1000))),
        (
            "symbols without number",
            wrapped(&format!(
                "<symbol id=\"s\" viewBox=\"0 0 1 1\"><rect/></symbol>{}",
                "<use href=\"#s\"/>".repeat(1000)
            )),
        ),
        (
            "layers in layers, all held at once",
            wrapped(&format!("{}{}", format!("<g opacity=\"0.5\">{HUGE}").repeat(40), "</g>".repeat(40))),
        ),
        (
            "layers in layers, by masks of masks",
            wrapped(
                &(1..9)
                    .map(|n| format!("<mask id=\"d{n}\"><g mask=\"url(#d{})\">{HUGE}</g></mask>", n - 1))
                    .chain([format!("<rect mask=\"url(#d8)\"/><mask id=\"d0\">{HUGE}</mask>")])
                    .collect::<String>(),
            ),
        ),
        ("ids that are there twice", wrapped("<g id=\"a\"/><g id=\"a\"/>")),
        ("too many elements", wrapped(&"<g/>".repeat(6000))),
        ("too deep", wrapped(&format!("{}{}", "<g>".repeat(100), "</g>".repeat(100)))),
        ("too deep, and left out", wrapped(&format!("{}{}", "<a>".repeat(9000), "</a>".repeat(9000)))),
        ("too large", wrapped(&format!("<path d=\"{}\"/>", "M0 0".repeat(70_000)))),
    ]
}

/// What must not be in a drawing that is served, whatever it means there.
const NEVER: &[&str] = &[
    "script",
    "javascript",
    "alert",
    "evil",
    "foreignobject",
    " on",
    "data:",
    "http-equiv",
    "import",
    "iframe",
    "file:",
    "169.254",
    "<a",
    "image",
    "animate",
    "<set",
    "style",
    "<!",
    "<?",
    "passwd",
    "secret",
    "base",
    "pattern",
    "marker",
    "dash",
];

#[test]
fn what_can_be_left_out_is_left_out() {
    assert!(LEFT_OUT.len() >= 60);
    for (name, inside) in LEFT_OUT {
        let drawing = format!("<svg {NS} viewBox=\"0 0 9 9\"><path id=\"a\" d=\"M0 0\"/>{inside}</svg>");
        let (out, _) = sanitised(drawing.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(out.contains("<path id=\"a\" d=\"M0 0\"/>"), "{name} took the drawing with it: {out}");
        // Escaped text is shown and means nothing; everything else must be gone.
        let meaning = out.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
        let meaning = meaning.split('>').filter_map(|part| part.split_once('<')).map(|(_, tag)| format!("<{tag}"));
        let meaning = meaning.collect::<String>().to_ascii_lowercase();
        for word in NEVER {
            assert!(!meaning.contains(word), "{name}: {word} in {out}");
        }
        let (again, dropped) = sanitised(out.as_bytes()).unwrap();
        assert_eq!((again, dropped), (out, vec![]), "{name}: what came out is clean");
    }
}

#[test]
fn what_is_malformed_or_boundless_is_refused_with_words() {
    let refused = refused();
    assert!(refused.len() >= 40);
    for (name, drawing) in &refused {
        let error = sanitised(drawing.as_bytes()).err().unwrap_or_else(|| panic!("{name} came through"));
        assert!(error.words.starts_with("the SVG "), "{name}: {error}");
    }
    for bytes in [&b"<svg\xff/>"[..], b"\xfe\xff\x00<\x00s", b"\xff\xfe<\x00s\x00"] {
        assert!(sanitised(bytes).is_err());
    }
}

#[test]
fn a_handler_on_the_root_is_left_out_too() {
    let (out, dropped) = sanitised(format!("<svg {NS} onload=\"alert(1)\" viewBox=\"0 0 1 1\"/>").as_bytes()).unwrap();
    assert_eq!(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1 1\"/>");
    assert_eq!(dropped, ["onload="]);
}
