//! The store of relgraph: digests, blobs, trees, records, materialising, garbage collection.
