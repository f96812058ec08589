//! The names of ByteStream: `[INSTANCE/]blobs/…` and `[INSTANCE/]uploads/UUID/blobs/…`.

use tonic::Status;

use super::super::names::{BlobName, Function};
use super::super::upload::Coding;
use super::partition;

/// What a resource name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Resource {
    pub name: BlobName,
    pub size: u64,
    pub coding: Coding,
}

/// Reads the name of something to read, or with `upload` to write. What follows an upload's size means nothing.
pub(super) fn parse(text: &str, upload: bool) -> Result<Resource, Status> {
    let wrong = || Status::invalid_argument("this is not the name of a blob");
    let parts: Vec<&str> = text.split('/').collect();
    let is_start = |part: &&str| {
        if upload { *part == "uploads" } else { matches!(*part, "blobs" | "compressed-blobs") }
    };
    let start = parts.iter().position(is_start).ok_or_else(wrong)?;
    // An instance name has none of the protocol's words in it.
    if parts[..start].contains(&"uploads") {
        return Err(wrong());
    }
    partition(&parts[..start].join("/"))?;
    // An UUID may be any text: it names nothing here.
    let rest = parts.get(if upload { start + 2 } else { start }..).ok_or_else(wrong)?;
    let (coding, rest) = match rest {
        ["blobs", rest @ ..] => (Coding::Identity, rest),
        ["compressed-blobs", "zstd", rest @ ..] => (Coding::Zstd, rest),
        ["compressed-blobs", _, ..] => {
            return Err(Status::invalid_argument("the only compressor is zstd"));
        }
        _ => return Err(wrong()),
    };
    let (function, rest) = match rest {
        ["blake3", rest @ ..] => (Function::Blake3, rest),
        ["sha256", rest @ ..] => (Function::Sha256, rest),
        rest => (Function::Sha256, rest),
    };
    let (hash, size, more) = match rest {
        [hash, size, more @ ..] => (hash, size, more),
        _ => return Err(wrong()),
    };
    if !upload && !more.is_empty() || !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let name = BlobName::parse(function, hash).ok_or_else(wrong)?;
    let size = size.parse().map_err(|_| wrong())?;
    Ok(Resource { name, size, coding })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_nothing_else_is() {
        let hash = "0f".repeat(32);
        let read = |text: String| parse(&text, false).ok().map(|r| (r.name.function, r.size, r.coding));
        let write = |text: String| parse(&text, true).ok().map(|r| (r.name.function, r.size, r.coding));
        use Coding::{Identity, Zstd};
        use Function::{Blake3, Sha256};
        assert_eq!(read(format!("blobs/{hash}/7")), Some((Sha256, 7, Identity)));
        // As from clients that put a `/` behind an instance name that is empty.
        assert_eq!(read(format!("/blobs/{hash}/7")), Some((Sha256, 7, Identity)));
        assert_eq!(read(format!("a/b/blobs/blake3/{hash}/7")), Some((Blake3, 7, Identity)));
        assert_eq!(read(format!("compressed-blobs/zstd/sha256/{hash}/0")), Some((Sha256, 0, Zstd)));
        assert_eq!(write(format!("uploads/u/blobs/{hash}/7")), Some((Sha256, 7, Identity)));
        assert_eq!(write(format!("i/uploads/u/blobs/{hash}/7/a/file")), Some((Sha256, 7, Identity)));
        assert_eq!(
            write(format!("uploads/u/compressed-blobs/zstd/blake3/{hash}/7")),
            Some((Blake3, 7, Zstd))
        );
        for bad in [
            String::new(),
            "blobs".into(),
            format!("blobs/{hash}"),
            format!("blobs/{hash}/-7"),
            format!("blobs/{hash}/+7"),
            format!("blobs/{hash}/"),
            format!("blobs/{hash}/7/x"),
            format!("blobs/../{hash}/7"),
            format!("../blobs/{hash}/7"),
            format!("a//blobs/{hash}/7"),
            format!("blobs/{}/7", hash.to_uppercase()),
            format!("blobs/{hash}/99999999999999999999"),
            format!("compressed-blobs/deflate/{hash}/7"),
            format!("uploads/u/blobs/{hash}/7"),
        ] {
            assert_eq!(read(bad.clone()), None, "{bad}");
        }
        for bad in [format!("blobs/{hash}/7"), format!("uploads/blobs/{hash}/7"), "uploads".into()] {
            assert_eq!(write(bad.clone()), None, "{bad}");
        }
    }
}
