//! Reads from a registry (OCI distribution specification 1.1, "Pulling manifests" and "Pulling blobs"). Every answer is read up to a
//! limit and no further, whatever it says of its own length, and each small one within a time: a registry that lies or never ends costs
//! neither memory nor patience.

use std::time::Duration;

use http_auth::ChallengeRef;
use oci_client::secrets::RegistryAuth;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

/// Octets of an answer that gives a token.
const TOKEN_OCTETS_MAX: usize = 64 << 10;
/// Octets of what a registry says when it does not do what it was asked.
const REASON_OCTETS_MAX: usize = 64 << 10;
/// Characters of it that are shown.
const REASON_CHARS_MAX: usize = 256;

/// Why there is no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// It is longer than it may be.
    #[error("{what} has more than {octets_max} octets, so it was not read on")]
    TooLarge {
        /// What was asked for.
        what: &'static str,
        /// Its limit.
        octets_max: usize,
    },
    /// It takes too long.
    #[error("{what} did not come within {} s", .time.as_secs())]
    TooSlow {
        /// What was asked for.
        what: &'static str,
        /// Its time.
        time: Duration,
    },
    /// The registry does not give it.
    #[error("the registry answers {status}{reason}")]
    Status {
        /// Its answer.
        status: StatusCode,
        /// What it says about it.
        reason: String,
    },
    /// What it wants in order to know us is not understood.
    #[error("the registry asks for a token in a way that is not understood")]
    Challenge,
    /// Nothing came.
    #[error("{0}")]
    Http(#[from] reqwest::Error),
}

/// A repository that is read.
pub(super) struct Source {
    pub(super) http: Client,
    /// Up to and including `/v2/`.
    pub(super) base: Url,
    pub(super) repository: String,
    /// How long a small answer may take as a whole.
    pub(super) time: Duration,
    /// What we say with each question, if anything.
    pub(super) authorization: Option<HeaderValue>,
}

/// What to ask for.
pub(super) struct Wanted<'a> {
    pub(super) what: &'static str,
    /// Below the repository.
    pub(super) path: &'a str,
    pub(super) media_type: Option<&'static str>,
    pub(super) octets_max: usize,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

#[derive(Deserialize)]
struct Reasons {
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    #[serde(default)]
    message: Option<String>,
}

impl Source {
    /// Finds out what the registry wants in order to know us, and gets that.
    pub(super) async fn introduce(&mut self, auth: &RegistryAuth) -> Result<(), FetchError> {
        if let RegistryAuth::Bearer(token) = auth {
            self.authorization = Some(bearer(token)?);
            return Ok(());
        }
        let response = self.answer("an answer", self.http.get(self.base.clone())).await?;
        let challenges: Vec<String> = texts(response.headers());
        drop(response);
        let parsed: Vec<ChallengeRef<'_>> =
            challenges.iter().filter_map(|text| http_auth::parse_challenges(text).ok()).flatten().collect();
        let scheme = |name: &str| parsed.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case(name));
        self.authorization = match (scheme("bearer"), auth) {
            (Some(challenge), _) => Some(bearer(&self.token(challenge, auth).await?)?),
            (None, RegistryAuth::Basic(user, password)) if scheme("basic").is_some() => {
                Some(self.basic(user, password)?)
            }
            _ => None,
        };
        Ok(())
    }

    fn basic(&self, user: &str, password: &str) -> Result<HeaderValue, FetchError> {
        let request = self.http.get(self.base.clone()).basic_auth(user, Some(password)).build()?;
        request.headers().get(AUTHORIZATION).cloned().ok_or(FetchError::Challenge)
    }

    /// See the distribution project's "Token Authentication Specification".
    async fn token(&self, challenge: &ChallengeRef<'_>, auth: &RegistryAuth) -> Result<String, FetchError> {
        let param = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let mut realm: Url =
            param("realm").and_then(|realm| realm.parse().ok()).ok_or(FetchError::Challenge)?;
        let scope = format!("repository:{}:pull", self.repository);
        realm.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = param("service") {
            realm.query_pairs_mut().append_pair("service", &service);
        }
        let request = self.http.get(realm);
        let request = match auth {
            RegistryAuth::Basic(user, password) => request.basic_auth(user, Some(password)),
            _ => request,
        };
        let octets = self.small("a token", request, TOKEN_OCTETS_MAX).await?;
        let Token { token, access_token } =
            serde_json::from_slice(&octets).map_err(|_| FetchError::Challenge)?;
        token.or(access_token).ok_or(FetchError::Challenge)
    }

    /// Gets something small, within its time.
    pub(super) async fn get_small(&self, wanted: &Wanted<'_>) -> Result<Vec<u8>, FetchError> {
        self.small(wanted.what, self.request(wanted), wanted.octets_max).await
    }

    /// Gets something that may take as long as the transfer does.
    pub(super) async fn get(&self, wanted: &Wanted<'_>) -> Result<Vec<u8>, FetchError> {
        let response = self.answer(wanted.what, self.request(wanted)).await?;
        let response = self.good(response).await?;
        read(wanted.what, response, wanted.octets_max).await
    }

    fn request(&self, wanted: &Wanted<'_>) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{}/{}", self.base.path(), self.repository, wanted.path));
        let mut request = self.http.get(url);
        if let Some(media_type) = wanted.media_type {
            request = request.header(ACCEPT, media_type);
        }
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }

    async fn small(
        &self,
        what: &'static str,
        request: RequestBuilder,
        octets_max: usize,
    ) -> Result<Vec<u8>, FetchError> {
        let whole = async { read(what, self.good(request.send().await?).await?, octets_max).await };
        self.in_time(what, whole).await
    }

    /// The head of an answer, within its time.
    async fn answer(&self, what: &'static str, request: RequestBuilder) -> Result<Response, FetchError> {
        self.in_time(what, async { Ok(request.send().await?) }).await
    }

    /// An answer that gives what was asked for.
    async fn good(&self, response: Response) -> Result<Response, FetchError> {
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        // What it says about it is only for people: it may be anything.
        let said = self.in_time("a reason", read("a reason", response, REASON_OCTETS_MAX)).await;
        let reason = said.ok().and_then(|octets| serde_json::from_slice::<Reasons>(&octets).ok());
        let reason = reason.and_then(|reasons| reasons.errors.into_iter().next());
        let reason = reason.map_or_else(String::new, |Reason { code, message }| {
            let text = format!(": {code}: {}", message.unwrap_or_default());
            text.chars().filter(|c| !c.is_control()).take(REASON_CHARS_MAX).collect()
        });
        Err(FetchError::Status { status, reason })
    }

    async fn in_time<T>(
        &self,
        what: &'static str,
        answer: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<T, FetchError> {
        let time = self.time;
        tokio::time::timeout(time, answer).await.unwrap_or(Err(FetchError::TooSlow { what, time }))
    }
}

fn texts(headers: &HeaderMap) -> Vec<String> {
    let challenges = headers.get_all(WWW_AUTHENTICATE).iter();
    challenges.filter_map(|challenge| challenge.to_str().ok().map(str::to_owned)).collect()
}

fn bearer(token: &str) -> Result<HeaderValue, FetchError> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|_| FetchError::Challenge)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Takes so many octets and no more.
async fn read(what: &'static str, mut response: Response, octets_max: usize) -> Result<Vec<u8>, FetchError> {
    let too_large = FetchError::TooLarge { what, octets_max };
    if response.content_length().is_some_and(|length| length > octets_max as u64) {
        return Err(too_large);
    }
    let mut octets = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if octets.len() + chunk.len() > octets_max {
            return Err(too_large);
        }
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}

#[cfg(test)]
pub(super) mod tests;
