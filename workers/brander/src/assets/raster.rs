//! Pictures of pixels: decoded within limits and encoded anew. Whatever stood in the file beside the pixels (comments,
//! places, thumbnails, a second file behind the first) does not come along.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageFormat, ImageReader, Limits};
use omnibus_schemas::brander::AssetKind;

use super::{Made, NotTaken};

/// Pixels in either direction, at most.
pub(super) const LARGEST: u32 = 4096;
/// Memory that a decoder may take, in bytes.
const MEMORY: u64 = 160 * 1024 * 1024;

pub(super) fn make(kind: AssetKind, bytes: &[u8]) -> Result<Made, NotTaken> {
    let image = decoded(kind, bytes)?;
    let size = (image.width(), image.height());
    let broken =
        |error: image::ImageError| NotTaken::of("picture_broken", format!("the picture can't be made anew: {error}"));
    let (bytes, mail) = match kind {
        AssetKind::Jpeg => {
            let mut out = Vec::new();
            let rgb = image.to_rgb8();
            JpegEncoder::new_with_quality(&mut out, 90).encode_image(&rgb).map_err(broken)?;
            (out, None)
        }
        AssetKind::Webp => {
            let mut out = Vec::new();
            let rgba = image.to_rgba8();
            WebPEncoder::new_lossless(&mut out)
                .encode(&rgba, size.0, size.1, ExtendedColorType::Rgba8)
                .map_err(broken)?;
            (out, Some(png(&DynamicImage::ImageRgba8(rgba)).map_err(broken)?))
        }
        _ => (png(&image).map_err(broken)?, None),
    };
    let mailable = kind != AssetKind::Webp;
    let hints = match kind {
        AssetKind::Webp => vec!["mail programs don't show WebP; mails carry the same picture as PNG".to_owned()],
        _ => vec![],
    };
    Ok(Made { kind, bytes, size: Some(size), mail, mailable, hints })
}

fn decoded(kind: AssetKind, bytes: &[u8]) -> Result<DynamicImage, NotTaken> {
    let format = match kind {
        AssetKind::Jpeg => ImageFormat::Jpeg,
        AssetKind::Webp => ImageFormat::WebP,
        _ => ImageFormat::Png,
    };
    let refused = |error: image::ImageError| match error {
        image::ImageError::Limits(_) => too_large(),
        error => NotTaken::of("picture_broken", format!("the picture is not whole: {error}")),
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(LARGEST);
    limits.max_image_height = Some(LARGEST);
    limits.max_alloc = Some(MEMORY);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(refused)?;
    let (width, height) = decoder.dimensions();
    if width > LARGEST || height > LARGEST || width == 0 || height == 0 {
        return Err(too_large());
    }
    decoder.set_limits(limits).map_err(refused)?;
    let orientation = decoder.orientation().map_err(refused)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(refused)?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn too_large() -> NotTaken {
    NotTaken::of("picture_too_large", format!("a picture has at most {LARGEST} by {LARGEST} pixels"))
}

pub(super) fn png(image: &DynamicImage) -> Result<Vec<u8>, image::ImageError> {
    let mut out = Cursor::new(Vec::new());
    // 16 bits a channel and palettes come out as 8 bits a channel: what every mail program shows.
    let image = match image.color().has_alpha() {
        true => DynamicImage::ImageRgba8(image.to_rgba8()),
        false => DynamicImage::ImageRgb8(image.to_rgb8()),
    };
    image.write_to(&mut out, ImageFormat::Png)?;
    Ok(out.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::make;

    fn picture() -> DynamicImage {
        DynamicImage::ImageRgba8(image::RgbaImage::from_fn(40, 20, |x, y| image::Rgba([x as u8, y as u8, 7, 255])))
    }

    fn written(format: ImageFormat) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        picture().to_rgb8().write_to(&mut out, format).unwrap();
        out.into_inner()
    }

    #[test]
    fn a_picture_comes_out_as_the_same_picture_and_is_called_the_same_each_time() {
        for (format, kind) in [
            (ImageFormat::Png, AssetKind::Png),
            (ImageFormat::Jpeg, AssetKind::Jpeg),
            (ImageFormat::WebP, AssetKind::Webp),
        ] {
            let made = make(&written(format)).unwrap();
            assert_eq!((made.kind, made.size), (kind, Some((40, 20))));
            assert_eq!(made.mail.is_some(), kind == AssetKind::Webp);
            assert_eq!(make(&written(format)).unwrap(), made);
            let again = image::load_from_memory(&made.bytes).unwrap();
            assert_eq!((again.width(), again.height()), (40, 20));
        }
    }

    #[test]
    fn what_stands_behind_or_beside_the_pixels_does_not_come_along() {
        let mut polyglot = written(ImageFormat::Png);
        let alone = make(&polyglot).unwrap().bytes;
        polyglot.extend_from_slice(b"<script>alert(1)</script>");
        assert_eq!(make(&polyglot).unwrap().bytes, alone);

        let mut jpeg = written(ImageFormat::Jpeg);
        let comment = b"\xff\xfe\x00\x1b<script>alert(1)</script>";
        jpeg.splice(2..2, comment.iter().copied());
        let made = make(&jpeg).unwrap().bytes;
        assert!(!made.windows(7).any(|bytes| bytes == b"<script"));
    }

    #[test]
    fn what_is_cut_off_or_claims_to_be_huge_is_refused() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let whole = written(format);
            assert!(make(&whole[..24.min(whole.len())]).is_err(), "{format:?}");
        }
        // A PNG of 60,000 by 60,000 pixels, by its header.
        let mut bomb = written(ImageFormat::Png);
        bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        assert!(make(&bomb).is_err());
    }
}
