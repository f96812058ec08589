//! From an address and the user's environment to a store of one of the three clouds.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use url::Url;

use super::service::Service;
use crate::remote::client::{Identity, Versions, client, is_loopback};
use crate::remote::{RemoteError, RemoteErrorKind, RemoteSpec, Variables};

/// A store that has been described well enough.
pub(super) struct Opened {
    pub(super) store: Arc<dyn ObjectStore>,
    /// What kind of store: S3, Google Cloud Storage, Azure Blob Storage.
    pub(super) kind: &'static str,
    /// The first part of all names.
    pub(super) prefix: Path,
    pub(super) service: Service,
    /// Where S3 is spoken, when that is not Amazon.
    pub(super) endpoint: Option<Url>,
}

/// The kind of store that Amazon has, and many others play.
pub(super) const S3: &str = "S3";

fn wrong(url: &str, why: &str) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Config, format!("`{url}`: {why}"))
}

/// One more attempt or two where an answer comes quickly, for stores say `slow down` in passing. None where it does not:
/// whoever calls decides about those.
fn retries(connect: Duration) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(50),
        max_backoff: Duration::from_millis(200),
        base: 2.0,
    };
    RetryConfig { backoff, max_retries: 2, retry_timeout: connect / 2 }
}

/// The variables that a store knows, by their names in small letters.
fn known<K: FromStr>(variables: &Variables, start: &str) -> Vec<(K, String)> {
    let ours = variables.iter().filter(|(name, value)| name.starts_with(start) && !value.is_empty());
    ours.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value.clone()))).collect()
}

fn is_true(variables: &Variables, name: &str) -> bool {
    variables
        .get(name)
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes"))
}

pub(super) fn open(spec: &RemoteSpec, variables: &Variables, url: &str) -> Result<Opened, RemoteError> {
    let parsed = Url::parse(&spec.url).map_err(|error| wrong(url, &error.to_string()))?;
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(wrong(url, "what follows a bucket and a prefix means nothing"));
    }
    let bucket = parsed.host_str().filter(|name| !name.is_empty());
    let bucket = bucket.ok_or_else(|| wrong(url, "the name of a bucket is missing"))?.to_owned();
    let prefix =
        Path::from_url_path(parsed.path()).map_err(|_| wrong(url, "that prefix cannot be a name"))?;
    let (start, kind) = match parsed.scheme() {
        "s3" => ("AWS_", S3),
        "gs" => ("GOOGLE_", "Google Cloud Storage"),
        _ => ("AZURE_", "Azure Blob Storage"),
    };
    let allow_http = is_true(variables, &format!("{start}ALLOW_HTTP"));
    let client = client(spec, variables, Identity::Ours, Versions::One)?;
    let service = Service { client, limits: spec.limits, allow_http };
    let endpoint = match start {
        "AWS_" => ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
            .iter()
            .find_map(|name| variables.get(*name).filter(|text| !text.is_empty())),
        _ => None,
    };
    let endpoint = match endpoint {
        Some(text) => {
            let parsed = Url::parse(text).map_err(|_| wrong(url, "AWS_ENDPOINT_URL is no address"))?;
            if parsed.scheme() == "http" && !allow_http && !is_loopback(&parsed) {
                let why = "AWS_ENDPOINT_URL is plain http, where others can read what passes: use https, or set \
                           AWS_ALLOW_HTTP=true";
                return Err(wrong(url, why));
            }
            Some(parsed)
        }
        None => None,
    };
    let retry = retries(spec.limits.connect);
    let made = match start {
        "AWS_" => s3(spec, variables, &bucket, endpoint.as_ref(), retry, service.clone()),
        "GOOGLE_" => gcs(spec, variables, &bucket, retry, service.clone()),
        _ => azure(variables, &bucket, retry, service.clone()),
    };
    let store = made.map_err(|error| wrong(url, &redacted(&error.to_string(), spec, variables)))?;
    Ok(Opened { store, kind, prefix, service, endpoint })
}

type Made = object_store::Result<Arc<dyn ObjectStore>>;

fn s3(
    spec: &RemoteSpec,
    variables: &Variables,
    bucket: &str,
    endpoint: Option<&Url>,
    retry: RetryConfig,
    service: Service,
) -> Made {
    let mut builder = AmazonS3Builder::new();
    for (key, value) in known::<AmazonS3ConfigKey>(variables, "AWS_") {
        builder = builder.with_config(key, value);
    }
    if let Some((user, password)) = &spec.credentials.basic {
        builder = builder.with_access_key_id(user).with_secret_access_key(password.expose());
    }
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
    }
    Ok(Arc::new(builder.with_bucket_name(bucket).with_retry(retry).with_http_connector(service).build()?))
}

fn gcs(spec: &RemoteSpec, variables: &Variables, bucket: &str, retry: RetryConfig, service: Service) -> Made {
    let mut builder = GoogleCloudStorageBuilder::new();
    for (key, value) in known::<GoogleConfigKey>(variables, "GOOGLE_") {
        builder = builder.with_config(key, value);
    }
    if let Some(token) = &spec.credentials.token {
        builder = builder.with_bearer_token(token.expose());
    }
    Ok(Arc::new(builder.with_bucket_name(bucket).with_retry(retry).with_http_connector(service).build()?))
}

fn azure(variables: &Variables, container: &str, retry: RetryConfig, service: Service) -> Made {
    let mut builder = MicrosoftAzureBuilder::new();
    for (key, value) in known::<AzureConfigKey>(variables, "AZURE_") {
        builder = builder.with_config(key, value);
    }
    Ok(Arc::new(
        builder.with_container_name(container).with_retry(retry).with_http_connector(service).build()?,
    ))
}

/// A text without the values of variables that hold secrets.
pub(super) fn redacted(text: &str, spec: &RemoteSpec, variables: &Variables) -> String {
    const SECRET: [&str; 6] = ["KEY", "SECRET", "TOKEN", "PASSWORD", "CREDENTIAL", "PROXY"];
    let mut text = text.to_owned();
    let named = variables.iter().filter(|(name, _)| {
        let name = name.to_ascii_uppercase();
        SECRET.iter().any(|part| name.contains(part))
    });
    let given = [
        spec.credentials.token.as_ref().map(|token| token.expose()),
        spec.credentials.basic.as_ref().map(|(_, password)| password.expose()),
    ];
    for value in named.map(|(_, value)| value.as_str()).chain(given.into_iter().flatten()) {
        if value.len() >= 4 {
            text = text.replace(value, "***");
        }
    }
    text
}
