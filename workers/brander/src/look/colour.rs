//! Colours by their three channels, and how they differ to the eye. WCAG 2.2, relative luminance and contrast ratio.

use std::fmt;

/// An opaque colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    /// Red, green, blue.
    pub channels: [u8; 3],
}

impl Colour {
    /// Black.
    pub const BLACK: Colour = Colour { channels: [0; 3] };
    /// White.
    pub const WHITE: Colour = Colour { channels: [255; 3] };

    /// Reads `#rrggbb`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text
            .strip_prefix('#')
            .filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let channel = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        Some(Colour { channels: [channel(0)?, channel(2)?, channel(4)?] })
    }

    /// 0 for black to 1 for white.
    pub fn luminance(self) -> f64 {
        let [r, g, b] = self.channels.map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// 1 for two that are the same to 21 for black and white.
    pub fn contrast(self, other: Colour) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// A step of `of` towards another colour.
    fn towards(self, other: Colour, step: u32, of: u32) -> Colour {
        let mix = |from: u8, to: u8| {
            let mixed = (u32::from(from) * (of - step) + u32::from(to) * step + of / 2) / of;
            u8::try_from(mixed).unwrap_or(u8::MAX)
        };
        let [r, g, b] = [0, 1, 2].map(|n| mix(self.channels[n], other.channels[n]));
        Colour { channels: [r, g, b] }
    }

    /// The nearest shade or tint of this colour that differs from `ground` by `least`: mixed with as little black or
    /// white as will do. One of the two always does for ratios up to 4.58, which is all that is asked for here.
    pub fn readable_on(self, ground: Colour, least: f64) -> Colour {
        const STEPS: u32 = 256;
        let found = (0..=STEPS).find_map(|step| {
            [Colour::BLACK, Colour::WHITE]
                .map(|end| self.towards(end, step, STEPS))
                .into_iter()
                .filter(|colour| colour.contrast(ground) >= least)
                .max_by(|a, b| a.contrast(ground).total_cmp(&b.contrast(ground)))
        });
        found.unwrap_or(if ground.luminance() > 0.18 { Colour::BLACK } else { Colour::WHITE })
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b] = self.channels;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(text: &str) -> Colour {
        Colour::parse(text).unwrap()
    }

    #[test]
    fn ratios_are_those_of_the_standard() {
        assert!((Colour::BLACK.contrast(Colour::WHITE) - 21.0).abs() < 1e-9);
        assert!((colour("#777777").contrast(Colour::WHITE) - 4.478).abs() < 0.001);
        assert!((colour("#767676").contrast(Colour::WHITE) - 4.542).abs() < 0.001);
        assert!((colour("#ff0000").contrast(Colour::WHITE) - 3.998).abs() < 0.001);
        assert_eq!(colour("#123456").contrast(colour("#abcdef")), colour("#abcdef").contrast(colour("#123456")));
    }

    #[test]
    fn what_is_no_colour_is_none() {
        for text in ["", "#fff", "ffffff", "#gggggg", "#ffffff;", "#+1+1+1", "#\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(Colour::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_colour_that_would_do_does_and_none_nearer_would() {
        for ground in ["#ffffff", "#000000", "#777777", "#1a2029", "#ffcc00", "#767676"] {
            for front in ["#ffcc00", "#888888", "#93b4ff", "#00ff00", "#ffffff"] {
                for least in [4.5, 3.0] {
                    let found = colour(front).readable_on(colour(ground), least);
                    assert!(found.contrast(colour(ground)) >= least, "{front} on {ground}: {found}");
                    if colour(front).contrast(colour(ground)) >= least {
                        assert_eq!(found, colour(front));
                    }
                }
            }
        }
        assert_eq!(colour("#777777").readable_on(Colour::WHITE, 4.5).to_string(), "#767676");
    }
}
