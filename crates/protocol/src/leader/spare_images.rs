//! Memory of images that recovery lines have replaced, for those of the next line. A line each second
//! replaces most of what the one before wrote; to allocate each page anew would take longer than to copy
//! its bytes.

use std::sync::Arc;

use plurix_wire::{PAGE_BYTES, PageBytes};

/// Images that are kept: 64 MiB.
const SPARE_MAX: usize = 1 << 14;

/// Images that nobody has.
#[derive(Debug, Clone, Default)]
pub(super) struct SpareImages(Vec<Arc<PageBytes>>);

impl SpareImages {
    /// An image of these bytes, or of zeros.
    pub(super) fn image(&mut self, bytes: Option<&PageBytes>) -> Arc<PageBytes> {
        let bytes = bytes.unwrap_or(&[0; PAGE_BYTES]);
        if let Some(mut spare) = self.0.pop()
            && let Some(image) = Arc::get_mut(&mut spare)
        {
            *image = *bytes;
            return spare;
        }
        let bytes: Arc<[u8]> = Arc::from(&bytes[..]);
        bytes.try_into().expect("a page has as many bytes")
    }

    /// Keeps an image that was replaced, if nobody else has it: a checkpoint may.
    pub(super) fn keep(&mut self, image: Arc<PageBytes>) {
        if self.0.len() < SPARE_MAX && Arc::strong_count(&image) == 1 {
            self.0.push(image);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_somebody_has_is_not_used_again() {
        let mut spare = SpareImages::default();
        let (kept, gone) = (spare.image(Some(&[1; PAGE_BYTES])), spare.image(None));
        assert_eq!(*gone, [0; PAGE_BYTES]);
        spare.keep(Arc::clone(&kept));
        spare.keep(gone);
        let next: Vec<_> = (2..5)
            .map(|value| spare.image(Some(&[value; PAGE_BYTES])))
            .collect();
        assert_eq!(*kept, [1; PAGE_BYTES]);
        assert!(
            (2..)
                .zip(next)
                .all(|(value, image)| *image == [value; PAGE_BYTES])
        );
    }
}
