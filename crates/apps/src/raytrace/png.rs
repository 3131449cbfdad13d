//! Writes an image as PNG, with every setting of the encoder fixed, so that equal images make equal
//! files.

use std::io::Write;

use png::{BitDepth, ColorType, Compression, Encoder, EncodingError, Filter};

use super::tile::Canvas;

/// Writes `canvas` to `out`.
///
/// # Errors
/// What `out` answers, or that an image without pixels is none.
pub fn write(out: impl Write, canvas: &Canvas) -> Result<(), EncodingError> {
    let mut encoder = Encoder::new(out, canvas.width(), canvas.height());
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(Compression::Balanced);
    encoder.set_filter(Filter::Paeth);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(canvas.pixels().as_flattened())?;
    writer.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::tile::Tile;
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_equal_images_make_equal_files() {
        let mut canvas = Canvas::new(3, 2);
        canvas.put(
            Tile {
                x: 1,
                y: 0,
                width: 1,
                height: 2,
            },
            &[[1, 2, 3], [250, 251, 252]],
        );
        let (mut file, mut again) = (Vec::new(), Vec::new());
        write(&mut file, &canvas).unwrap();
        write(&mut again, &canvas).unwrap();
        assert_eq!(file, again);

        let mut reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        assert_eq!((info.width, info.height), (3, 2));
        assert_eq!(bytes, canvas.pixels().as_flattened());
    }

    #[test]
    fn an_image_without_pixels_is_refused() {
        assert!(write(Vec::new(), &Canvas::new(0, 5)).is_err());
    }
}
