//! What all calls to a server share: [`Client`].

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use api::capabilities_client::CapabilitiesClient;
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine};
use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use prost::Message;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tonic::codegen::http::HeaderValue;
use tonic::{Code, Request, Response, Status};

use super::super::{Access, Limits, RemoteError, RemoteErrorKind, RemoteSpec};
use super::address::Address;
use super::capabilities::Capabilities;
use super::names::Names;
use super::status;
use super::wire::Wire;

/// A server, what is known of it, and the connections to it.
pub(super) struct Client {
    url: String,
    instance: String,
    access: Access,
    encrypted: bool,
    pub(super) namespace: Option<String>,
    pub(super) wire: Wire,
    pub(super) limits: Limits,
    pub(super) names: Names,
    secrets: Vec<String>,
    capabilities: OnceCell<Arc<Capabilities>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.url)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Nothing is sent yet.
    pub fn new(spec: &RemoteSpec) -> Result<Client, RemoteError> {
        let Address { endpoint, instance, authorization, secrets } = Address::read(spec)?;
        let limits = Limits { parallel: spec.limits.parallel.max(1), ..spec.limits };
        Ok(Client {
            url: spec.shown(),
            instance,
            access: spec.access,
            encrypted: spec.url.starts_with("grpcs:"),
            namespace: spec.namespace.clone(),
            wire: Wire::new(endpoint, authorization, who_we_are(), limits),
            limits,
            names: Names::default(),
            secrets,
            capabilities: OnceCell::new(),
        })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// That we write here at all.
    pub fn may_write(&self) -> Result<(), RemoteError> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => {
                Err(RemoteError::new(RemoteErrorKind::Denied, "nothing is written here: it is only read"))
            }
        }
    }

    /// What the server can do: asked once, and remembered when there was an answer.
    pub async fn capabilities(&self) -> Result<Arc<Capabilities>, RemoteError> {
        let ask = || async {
            let request = self.small(api::GetCapabilitiesRequest { instance_name: self.instance.clone() });
            let mut client = CapabilitiesClient::new(self.wire.clone());
            match self.within(client.get_capabilities(request)).await {
                Ok(answer) => Capabilities::read(answer).map(Arc::new),
                // It came later than the API's first servers.
                Err(status) if status.code() == Code::Unimplemented => Ok(Arc::new(Capabilities::unknown())),
                Err(status) => {
                    let mut error = self.error("GetCapabilities", &status);
                    if self.encrypted
                        && error.kind == RemoteErrorKind::Unreachable
                        && status::hung_up(&status)
                    {
                        // With TLS 1.3, a server looks at certificates when the client thinks that all is well.
                        error.message += " (so it is where a server wants another certificate)";
                    }
                    Err(error)
                }
            }
        };
        self.capabilities.get_or_try_init(ask).await.cloned()
    }

    /// A request that is answered at once.
    pub fn small<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        request.set_timeout(self.limits.call);
        request
    }

    /// The answer to a small request, if it comes in time.
    pub async fn within<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        match timeout(self.limits.call, call).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(status::TOO_LATE)),
        }
    }

    /// The error that a call ended with.
    pub fn error(&self, what: &str, status: &Status) -> RemoteError {
        let error = status::error(what, status, &self.secrets);
        if error.kind == RemoteErrorKind::Timeout {
            self.wire.renew();
        }
        error
    }

    /// The error that the server reports of one blob in a batch.
    pub fn error_of_blob(&self, what: &str, code: i32, text: &str) -> RemoteError {
        status::error(what, &Status::new(Code::from_i32(code), text), &self.secrets)
    }

    /// That the server does not do as the protocol says.
    pub fn broken(&self, what: &str, text: impl fmt::Display) -> RemoteError {
        RemoteError::new(RemoteErrorKind::Broken, format!("{what}: {text}"))
    }
}

/// The header by which servers tell their users whose requests these were.
fn who_we_are() -> HeaderValue {
    let tool_details = Some(api::ToolDetails {
        tool_name: "relgraph".to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    });
    let metadata = api::RequestMetadata { tool_details, ..Default::default() };
    HeaderValue::try_from(BASE64_STANDARD_NO_PAD.encode(metadata.encode_to_vec()))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}
