//! What a program prints, within bounds: the beginning and the end of it, and its lines.

use std::collections::VecDeque;

/// How much is kept of the beginning, and as much of the end.
const HALF: usize = 512 * 1024;
/// A line longer than this is passed on in pieces.
const LINE: usize = 64 * 1024;

/// Keeps the beginning and the end of what is pushed.
#[derive(Default)]
pub(super) struct Capped {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped: u64,
}

impl Capped {
    pub fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(HALF - self.head.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(rest);
        let excess = self.tail.len().saturating_sub(HALF);
        self.tail.drain(..excess);
        self.dropped += excess as u64;
    }

    pub fn finish(mut self) -> Vec<u8> {
        if self.dropped > 0 {
            self.head.extend_from_slice(format!("\n[{} bytes left out]\n", self.dropped).as_bytes());
        }
        self.head.extend(self.tail);
        self.head
    }
}

/// Cuts what is pushed into lines. Bytes that are not UTF-8 are replaced.
#[derive(Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    pub fn push(&mut self, bytes: &[u8], mut on_line: impl FnMut(&str)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            self.0.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            self.emit(&mut on_line);
        }
        self.0.extend_from_slice(rest);
        if self.0.len() >= LINE {
            self.emit(&mut on_line);
        }
    }

    pub fn finish(mut self, mut on_line: impl FnMut(&str)) {
        if !self.0.is_empty() {
            self.emit(&mut on_line);
        }
    }

    fn emit(&mut self, on_line: &mut impl FnMut(&str)) {
        let line = self.0.strip_suffix(b"\r").unwrap_or(&self.0);
        on_line(&String::from_utf8_lossy(line));
        self.0.clear();
    }
}
