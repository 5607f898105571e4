//! AVIF. No decoder of it in Rust is kept well enough to be trusted with strangers' files, so the pixels are not drawn
//! anew. The box around them is: the picture's coded data are taken out and packed into a new, smallest possible file.
//! Names, places, comments, sequences and whatever was hidden between boxes stay behind.

use omnibus_schemas::brander::AssetKind;

use super::raster::LARGEST;
use super::{Made, NotTaken};

pub(super) fn make(bytes: &[u8]) -> Result<Made, NotTaken> {
    let broken = |error: avif_parse::Error| NotTaken::of("picture_broken", format!("the AVIF is not whole: {error}"));
    // The reader asserts what strangers' files break. It holds no state, so its panic is one more way to say no.
    let data = std::panic::catch_unwind(|| avif_parse::read_avif(&mut &bytes[..]))
        .map_err(|_| NotTaken::of("picture_broken", "the AVIF is not whole"))?
        .map_err(broken)?;
    let color = data.primary_item_metadata().map_err(broken)?;
    let alpha = data.alpha_item_metadata().map_err(broken)?;
    let (width, height) = (color.max_frame_width.get(), color.max_frame_height.get());
    if width > LARGEST || height > LARGEST {
        return Err(NotTaken::of("picture_too_large", format!("a picture has at most {LARGEST} by {LARGEST} pixels")));
    }
    if let Some(alpha) = &alpha
        && (alpha.max_frame_width.get(), alpha.max_frame_height.get()) != (width, height)
    {
        return Err(NotTaken::of("picture_broken", "the AVIF's transparency is of another size than its picture"));
    }
    let packed = avif_serialize::Aviffy::new()
        .set_width(width)
        .set_height(height)
        .set_bit_depth(color.bit_depth)
        .set_chroma_subsampling(color.chroma_subsampling)
        .set_monochrome(color.monochrome)
        .set_seq_profile(color.seq_profile)
        .set_premultiplied_alpha(data.premultiplied_alpha)
        .to_vec(&data.primary_item, data.alpha_item.as_deref(), width, height, color.bit_depth);
    Ok(Made {
        kind: AssetKind::Avif,
        bytes: packed,
        size: Some((width, height)),
        mail: None,
        mailable: false,
        hints: vec!["AVIF was packed anew, not drawn anew; mail programs don't show it: upload PNG, JPEG, WebP or SVG for mails".to_owned()],
    })
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;
    use omnibus_schemas::brander::AssetKind;

    use crate::assets::make;

    /// Four pixels.
    const SMALL: &str = "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADybWV0YQAAAAAAAAAoaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAA\
         AGxpYmF2aWYAAAAADnBpdG0AAAAAAAEAAAAeaWxvYwAAAABEAAABAAEAAAABAAABGgAAAB0AAAAoaWluZgAAAAAAAQAAABppbmZlAgAA\
         AAABAABhdjAxQ29sb3IAAAAAamlwcnAAAABLaXBjbwAAABRpc3BlAAAAAAAAAAIAAAACAAAAEHBpeGkAAAAAAwgICAAAAAxhdjFDgQ0M\
         AAAAABNjb2xybmNseAACAAIAAYAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAACVtZGF0EgAKCBgANogQEAwgMg8f8D///8WfhwB8+ErK\
         42A=";

    #[test]
    fn a_picture_is_packed_anew_and_what_stood_beside_it_stays_behind() {
        let mut file = BASE64_STANDARD.decode(SMALL).unwrap();
        let made = make(&file).unwrap();
        assert_eq!((made.kind, made.size, &made.mail, made.mailable), (AssetKind::Avif, Some((2, 2)), &None, false));
        let words = b"<script>alert(1)</script>";
        file.extend_from_slice(&(8 + words.len() as u32).to_be_bytes());
        file.extend_from_slice(b"free");
        file.extend_from_slice(words);
        assert_eq!(make(&file).unwrap().bytes, made.bytes);
        assert_eq!(make(&made.bytes).unwrap().bytes, made.bytes, "what came out comes out the same");
        assert_eq!(make(&file[..280]).unwrap_err().code, "picture_broken");
    }

    #[test]
    fn what_only_begins_like_avif_is_refused() {
        for bytes in [
            &b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00avifmif1"[..],
            b"\x00\x00\x00\x18ftypavif<script>alert(1)</script>",
        ] {
            assert_eq!(make(bytes).unwrap_err().code, "picture_broken");
        }
    }
}
