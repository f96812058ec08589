//! To be written.

use std::sync::Arc;

use super::{Remote, RemoteError, RemoteErrorKind, RemoteSpec, Variables};

pub(super) fn connect(_spec: &RemoteSpec, _variables: &Variables) -> Result<Arc<dyn Remote>, RemoteError> {
    Err(RemoteError::new(RemoteErrorKind::Config, "not there yet"))
}
