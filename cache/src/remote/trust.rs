//! Stand-in.
use super::EntryName;
/// s
#[derive(Debug, Clone, Default)]
pub struct Trust {}
/// o
pub struct Opened {
    /// p
    pub payload: Vec<u8>,
    /// s
    pub signed_by: Option<String>,
}
/// d
#[derive(Debug, Clone, thiserror::Error)]
pub enum Distrust {
    /// g
    #[error("garbled")]
    Garbled,
    /// u
    #[error("unsigned")]
    Unsigned,
    /// f
    #[error("foreign")]
    Foreign {
        /// n
        names: Vec<String>,
    },
}
impl Trust {
    /// s
    pub fn seal(&self, _n: &EntryName, p: &[u8]) -> Vec<u8> {
        p.to_vec()
    }
    /// o
    pub fn open(&self, _n: &EntryName, s: &[u8]) -> Result<Opened, Distrust> {
        Ok(Opened { payload: s.to_vec(), signed_by: None })
    }
}
