//! How a page becomes a blob and a blob a page. A page is compressed alone, so that each can be read
//! alone.

use plurix_wire::{PAGE_BYTES, PageBytes};

use super::format::Codec;

/// The level at which Zstandard takes a few microseconds a page.
const ZSTD_LEVEL: i32 = 1;

/// Whether pages are compressed in images. Those that would not shrink are stored as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Pages are stored as they are, but for those that are all zero.
    #[default]
    None,
    /// LZ4: fast.
    Lz4,
    /// Zstandard: smaller.
    Zstd,
}

/// Stores the blob of `page` in `blob`, where it pays; answers how it is to be read. A raw page is
/// its own blob, and leaves `blob` empty.
pub(crate) fn encode(page: &PageBytes, compression: Compression, blob: &mut Vec<u8>) -> Codec {
    blob.clear();
    if is_zero(page) {
        return Codec::Zero;
    }
    let codec = match compression {
        Compression::None => return Codec::Raw,
        Compression::Lz4 => {
            blob.resize(lz4_flex::block::get_maximum_output_size(PAGE_BYTES), 0);
            let length = lz4_flex::block::compress_into(page, blob).unwrap_or(PAGE_BYTES);
            blob.truncate(length);
            Codec::Lz4
        }
        Compression::Zstd => {
            blob.resize(zstd::zstd_safe::compress_bound(PAGE_BYTES), 0);
            let length = zstd::bulk::compress_to_buffer(page, blob, ZSTD_LEVEL);
            blob.truncate(length.unwrap_or(PAGE_BYTES));
            Codec::Zstd
        }
    };
    if blob.len() >= PAGE_BYTES {
        blob.clear();
        return Codec::Raw;
    }
    codec
}

/// Makes `page`, which is all zero, the one whose blob is `blob`; answers whether it is one.
pub(crate) fn decode(codec: Codec, blob: &[u8], page: &mut PageBytes) -> bool {
    let length = match codec {
        Codec::Zero => return blob.is_empty(),
        Codec::Raw if blob.len() == PAGE_BYTES => {
            page.copy_from_slice(blob);
            return true;
        }
        Codec::Raw => return false,
        Codec::Lz4 => lz4_flex::block::decompress_into(blob, page).ok(),
        Codec::Zstd => zstd::bulk::decompress_to_buffer(blob, page).ok(),
    };
    length == Some(PAGE_BYTES)
}

fn is_zero(page: &PageBytes) -> bool {
    let (words, _) = page.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(page: &PageBytes, compression: Compression) -> (Codec, usize) {
        let mut blob = vec![1; 9];
        let codec = encode(page, compression, &mut blob);
        let bytes: &[u8] = if codec == Codec::Raw { page } else { &blob };
        let mut decoded = [0; PAGE_BYTES];
        assert!(decode(codec, bytes, &mut decoded));
        assert_eq!(&decoded, page);
        (codec, bytes.len())
    }

    #[test]
    fn pages_survive_each_codec() {
        let zero = [0; PAGE_BYTES];
        let mut sparse = zero;
        sparse[100..108].copy_from_slice(&7u64.to_le_bytes());
        // xorshift (Marsaglia 2003): bytes that nothing compresses.
        let mut random = zero;
        let mut state = 88_172_645_463_325_252u64;
        for word in random.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
            assert_eq!(round(&zero, compression), (Codec::Zero, 0));
            assert_eq!(round(&random, compression), (Codec::Raw, PAGE_BYTES));
        }
        assert_eq!(round(&sparse, Compression::None), (Codec::Raw, PAGE_BYTES));
        for (compression, codec) in [
            (Compression::Lz4, Codec::Lz4),
            (Compression::Zstd, Codec::Zstd),
        ] {
            let (found, bytes) = round(&sparse, compression);
            assert!(found == codec && bytes < 100, "{bytes} bytes");
        }
    }

    #[test]
    fn a_blob_that_is_no_page_is_refused() {
        let is_page = |codec, blob: &[u8]| decode(codec, blob, &mut [0; PAGE_BYTES]);
        assert!(!is_page(Codec::Zero, &[0]));
        assert!(!is_page(Codec::Raw, &[0; 17]));
        assert!(!is_page(Codec::Lz4, &[0xff; 17]));
        assert!(!is_page(Codec::Zstd, &[1; 17]));
    }
}
