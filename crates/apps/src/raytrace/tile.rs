//! Rectangles of the image, the units of work, and the canvas that they are put together on.

use plurix::plain;

/// Red, green and blue of one pixel.
pub type Pixel = [u8; 3];

/// A rectangle of the image, in pixels from its upper left corner.
#[plain]
#[derive(Debug, PartialEq, Eq)]
pub struct Tile {
    /// Column of the left edge.
    pub x: u32,
    /// Row of the upper edge.
    pub y: u32,
    /// Number of columns.
    pub width: u32,
    /// Number of rows.
    pub height: u32,
}

impl Tile {
    /// Number of pixels in the tile.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.width as usize * self.height as usize
    }

    /// The part of the tile that lies within an image of this size.
    pub(super) fn clip(&self, width: u32, height: u32) -> Self {
        let (x, y) = (self.x.min(width), self.y.min(height));
        Self {
            x,
            y,
            width: self.width.min(width - x),
            height: self.height.min(height - y),
        }
    }
}

/// Cuts an image into tiles with sides of `edge` pixels (at least 1), row by row; those at the right
/// and lower edge may be smaller.
pub fn tiles(width: u32, height: u32, edge: u32) -> impl Iterator<Item = Tile> {
    let edge = edge.max(1);
    (0..height.div_ceil(edge)).flat_map(move |row| {
        (0..width.div_ceil(edge)).map(move |column| {
            Tile {
                x: column * edge,
                y: row * edge,
                width: edge,
                height: edge,
            }
            .clip(width, height)
        })
    })
}

/// An image that is put together from tiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Canvas {
    width: u32,
    height: u32,
    pixels: Vec<Pixel>,
}

impl Canvas {
    /// A black image.
    #[must_use]
    pub fn new(width: u32, height: u32) -> Self {
        Self {
            width,
            height,
            pixels: vec![[0; 3]; width as usize * height as usize],
        }
    }

    /// Puts the rendered `pixels` of `tile` in their place; what lies outside of the image is left
    /// out, as [`render_tile`](super::render_tile) leaves it out.
    ///
    /// # Panics
    /// If `pixels` are not those of the tile, because the image would be garbled.
    pub fn put(&mut self, tile: Tile, pixels: &[Pixel]) {
        let tile = tile.clip(self.width, self.height);
        assert_eq!(
            pixels.len(),
            tile.pixels(),
            "these pixels belong to another tile"
        );
        if pixels.is_empty() {
            return;
        }
        for (row, source) in pixels.chunks_exact(tile.width as usize).enumerate() {
            let start = (tile.y as usize + row) * self.width as usize + tile.x as usize;
            self.pixels[start..start + source.len()].copy_from_slice(source);
        }
    }

    /// Width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// All pixels, row by row from the upper left corner.
    #[must_use]
    pub fn pixels(&self) -> &[Pixel] {
        &self.pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_pixel_once() {
        for (width, height, edge) in [(1, 1, 1), (10, 7, 3), (10, 7, 0), (5, 5, 100), (0, 4, 2)] {
            let mut covered = vec![0; (width * height) as usize];
            for tile in tiles(width, height, edge) {
                for y in tile.y..tile.y + tile.height {
                    for x in tile.x..tile.x + tile.width {
                        covered[(y * width + x) as usize] += 1;
                    }
                }
            }
            assert!(
                covered.iter().all(|&times| times == 1),
                "{width}x{height} by {edge}"
            );
        }
    }
}
