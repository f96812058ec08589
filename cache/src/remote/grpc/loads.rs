//! Which blobs go into which call.

use super::capabilities::{AROUND_BLOB, Capabilities};

/// A batch is not made larger than this, in bytes, when there are others to run beside it; larger blobs travel alone.
const BATCH: u64 = 1 << 20;

/// What one call is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Load<T> {
    Batch(Vec<T>),
    Stream(T),
}

/// Divides blobs among calls: large ones alone, and first, for they take longest.
pub(super) fn loads<T>(blobs: Vec<T>, size: impl Fn(&T) -> u64, capabilities: &Capabilities) -> Vec<Load<T>> {
    let limit = capabilities.batch_bytes().min(BATCH);
    let (mut streams, mut batches) = (Vec::new(), Vec::new());
    let (mut batch, mut bytes, mut whole) = (Vec::new(), 0, 0);
    for blob in blobs {
        let size = size(&blob);
        if size > limit {
            streams.push(Load::Stream(blob));
            continue;
        }
        // The server counts blobs, and the message holds what is around them as well.
        if !batch.is_empty() && (bytes + size > limit || whole + size + AROUND_BLOB > BATCH) {
            batches.push(Load::Batch(std::mem::take(&mut batch)));
            (bytes, whole) = (0, 0);
        }
        batch.push(blob);
        bytes += size;
        whole += size + AROUND_BLOB;
    }
    if !batch.is_empty() {
        batches.push(Load::Batch(batch));
    }
    streams.extend(batches);
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(sizes: &[u64], limit: u64) -> Vec<Load<u64>> {
        let mut capabilities = Capabilities::unknown();
        capabilities.batch = Some(limit);
        loads(sizes.to_vec(), |size| *size, &capabilities)
    }

    #[test]
    fn batches_hold_to_the_limit_and_what_is_larger_travels_alone() {
        let loads = divide(&[40, 70, 100, 30, 101, 60], 100);
        let expected = [
            Load::Stream(101),
            Load::Batch(vec![40]),
            Load::Batch(vec![70]),
            Load::Batch(vec![100]),
            Load::Batch(vec![30, 60]),
        ];
        assert_eq!(loads, expected);
        assert_eq!(divide(&[], 100), []);
    }

    #[test]
    fn what_is_around_small_blobs_counts() {
        let loads = divide(&[1; 100_000], 1 << 40);
        let most = loads.iter().map(|load| match load {
            Load::Batch(batch) => batch.len() as u64 * (1 + AROUND_BLOB),
            Load::Stream(_) => panic!("a tiny blob travels alone"),
        });
        assert!(most.max().unwrap() <= BATCH);
    }
}
