//! A theme's values have types. What is none is refused by its field, before anything is made of it.

use omnibus_schemas::body::{self, Encoding};
use omnibus_schemas::brander::{Look, SetBranding};

/// The faulty field, if there is one.
fn fault(pointer: &str, value: &str) -> Option<String> {
    let mut look = serde_json::to_value(Look::plain("Acme")).unwrap();
    *look.pointer_mut(pointer).unwrap() = value.into();
    let faults = match body::decode_strict::<SetBranding>(Encoding::Json, &serde_json::to_vec(&look).unwrap()) {
        Ok(look) => body::validate(&look).err()?,
        Err(faults) => faults,
    };
    assert_eq!(faults.len(), 1, "{pointer}: {value}: {faults:?}");
    Some(faults[0].pointer.clone())
}

#[test]
fn theme_values_are_typed_and_what_is_none_is_refused_by_its_field() {
    let colour = ["/light/text", "/light/background", "/dark/primary", "/dark/link"];
    let no_colour = [
        "",
        "red",
        "#fff",
        "#12345",
        "#1234567",
        "#12345g",
        "#123456;",
        " #123456",
        "#123456 ",
        "#123456\n",
        "rgb(0 0 0)",
        "var(--x)",
        "url(//evil.example)",
        "#123456}body{display:none",
        "#123456/**/",
        "\\23 123456",
        "currentColor",
        "</style><script>alert(1)</script>",
    ];
    let no_family = [
        "",
        ",",
        "a,,b",
        "a;b",
        "\"Inter\"",
        "'Inter'",
        "Inter}",
        "Inter{",
        "url(x)",
        "Inter/**/",
        "\\49 nter",
        "Inter\n",
        "expression(alert(1))",
        "var(--x)",
        "</style>",
        "-x",
        "Inter:serif",
        "@import",
    ];
    let no_length = [
        "",
        "16",
        "px",
        "16 px",
        "16em",
        "16%",
        "-1px",
        "+16px",
        "1e1px",
        "calc(16px)",
        "16px;",
        "16px}",
        "16px 2px",
        "0x10px",
        "NaNpx",
        "infpx",
        "var(--x)",
        "16px/**/",
        "99999999999px",
        "11px",
        "25px",
    ];
    for (fields, good, bad) in [
        (&colour[..], &["#1d4ed8", "#FFFFFF"][..], &no_colour[..]),
        (&["/font_family"], &["Inter", "Inter, Times New Roman, serif"], &no_family),
        (&["/text_size"], &["16px", "1rem", "1.25rem"], &no_length),
    ] {
        for field in fields {
            for value in good {
                assert_eq!(fault(field, value), None, "{field}: {value}");
            }
            for value in bad {
                assert_eq!(fault(field, value).as_deref(), Some(*field), "{value:?}");
            }
        }
    }
}
