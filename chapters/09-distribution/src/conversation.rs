//! One conversation with one registry about one repository.
//!
//! ```text
//!  client                                registry                    token server
//!    | GET /v2/app/manifests/1              |                              |
//!    |<----- 401, WWW-Authenticate: Bearer -|                              |
//!    | GET realm?service=..&scope=repository:app:pull                      |
//!    |-------------------------------------------------------------------->|
//!    |<------------------------------------------------- {"token": "..."} -|
//!    | GET /v2/app/manifests/1              |
//!    |     Authorization: Bearer ...        |                           storage
//!    |<----- 200, or 307 to where it is ----|                              |
//!    | GET ... (no Authorization)                                          |
//!    |-------------------------------------------------------------------->|
//! ```
//!
//! The rule that keeps secrets: who is shown `Authorization` is decided in one place,
//! [`Conversation::once`], and it is shown only if the URL's origin is the registry's own. Wherever a redirect or a `Location`
//! leads, and whatever it asks for there, it gets no credentials (CVE-2020-15157, CVE-2019-10214).

use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{Method, Request, Response, Uri, header};
use ureq::{Agent, Body, SendBody, Timeout};

use crate::address::{Origin, resolve_location};
use crate::answer::{Answer, printable};
use crate::busy;
use crate::challenge::Challenge;
use crate::client::{Client, Proof};
use crate::error::{Error, Result};
use crate::registries::Endpoint;
use crate::token::{self, Authorization};

/// Redirects that are followed for one request.
const MOST_REDIRECTS: u32 = 5;

/// How often a server may ask to be left alone for a while.
const MOST_WAITS: u32 = 5;

/// The first pause after a broken connection; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A request.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) url: String,
    /// Why, for the narration.
    pub(crate) purpose: &'static str,
    pub(crate) headers: Vec<(header::HeaderName, String)>,
    pub(crate) payload: Payload<'a>,
}

/// What a request carries.
pub(crate) enum Payload<'a> {
    /// Nothing.
    None,
    /// Bytes that can be sent again.
    Bytes(&'a [u8]),
    /// So many bytes that can be read once: such a request is not repeated here.
    Once(Mutex<&'a mut dyn Read>, u64),
}

impl<'a> Ask<'a> {
    pub(crate) fn new(method: Method, url: impl Into<String>, purpose: &'static str) -> Ask<'a> {
        Ask { method, url: url.into(), purpose, headers: Vec::new(), payload: Payload::None }
    }

    pub(crate) fn header(mut self, name: header::HeaderName, value: impl Into<String>) -> Ask<'a> {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn payload(mut self, payload: Payload<'a>) -> Ask<'a> {
        self.payload = payload;
        self
    }
}

/// A conversation under way: whom with, what about, and what was shown to be let in.
pub(crate) struct Conversation<'a> {
    pub(crate) client: &'a Client,
    /// The registry as references name it: the name that logins are kept under.
    pub(crate) registry: String,
    pub(crate) origin: Origin,
    /// The repository's name there; empty if it is about none.
    pub(crate) repository: String,
    proof: Proof,
    /// What messages call the thing that this is about.
    pub(crate) object: String,
    /// What a token must allow.
    scopes: Vec<String>,
    authorization: Mutex<Option<Authorization>>,
    /// Held by the one who asks to be let in: the others wait for what he gets.
    asking: Mutex<()>,
}

impl<'a> Conversation<'a> {
    pub(crate) fn new(client: &'a Client, endpoint: Endpoint, object: String, scopes: Vec<String>) -> Result<Self> {
        let Endpoint { registry, repository, insecure, .. } = endpoint;
        let Some((origin, proof)) = client.place(&registry, insecure)? else {
            let reason = "this is not the name of a server".to_owned();
            return Err(Error::Protocol { object, host: registry, reason });
        };
        let (authorization, asking) = (Mutex::new(None), Mutex::new(()));
        Ok(Conversation { client, registry, origin, repository, proof, object, scopes, authorization, asking })
    }

    /// A conversation about a registry itself.
    pub(crate) fn about(client: &'a Client, registry: &str, scopes: Vec<String>) -> Result<Self> {
        let insecure = client.registries()?.is_insecure(registry);
        let endpoint = Endpoint { registry: registry.to_owned(), repository: String::new(), insecure, mirror: false };
        Conversation::new(client, endpoint, registry.to_owned(), scopes)
    }

    /// A URL of the repository; `path` begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        self.origin.url(&format!("/v2/{}{path}", self.repository))
    }

    /// Makes a request and sees it through: a challenge is answered, a redirect followed, a busy
    /// server given time. What comes back is the answer to the request itself, whatever its status.
    pub(crate) fn send(&self, ask: &Ask) -> Result<Answer> {
        let mut url: Uri = ask.url.parse().map_err(|_| self.broken("a URL of the registry cannot be read"))?;
        let (mut challenged, mut redirects, mut waits) = (false, 0, 0);
        let mut patience = self.client.options.patience;
        loop {
            let mut answer = self.once(ask, &url)?;
            let repeatable = !matches!(ask.payload, Payload::Once(..));
            match answer.status() {
                401 if !challenged && repeatable && answer.origin == self.origin => {
                    challenged = true;
                    if !self.satisfy(&mut answer)? {
                        return Ok(answer);
                    }
                }
                301 | 302 | 303 | 307 | 308 if matches!(ask.method, Method::GET | Method::HEAD) => {
                    redirects += 1;
                    url = self.next_url(&answer, redirects)?;
                }
                429 | 503 if repeatable && waits < MOST_WAITS => {
                    waits += 1;
                    // One that wants to be left alone for longer than that has the last word.
                    let Some(pause) = busy::pause(answer.header("retry-after"), waits, patience) else {
                        return Ok(answer);
                    };
                    answer.drain(self);
                    thread::sleep(pause);
                    patience -= pause;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// One request to one URL, repeated only if the connection breaks before an answer came.
    fn once(&self, ask: &Ask, url: &Uri) -> Result<Answer> {
        let Some(origin) = Origin::of(url) else {
            return Err(self.broken("the registry names a URL that is none of a web server"));
        };
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            // The one place that decides who is shown the authorization; see the module's rule.
            let shown = if origin == self.origin { self.authorization() } else { None };
            narrate(ask, url, shown.is_some());
            let agent = self.agent(&origin)?;
            match request(&agent, ask, url, shown.as_deref()) {
                Ok(response) => {
                    let answer = Answer::new(response, url.clone(), origin, shown);
                    answer.narrate();
                    return Ok(answer);
                }
                Err(error) => {
                    let repeatable = !matches!(ask.payload, Payload::Once(..));
                    if !repeatable || attempt >= self.client.options.attempts || is_final(&error) {
                        return Err(self.unreachable(&origin, error));
                    }
                }
            }
            thread::sleep(pause);
            pause *= 2;
        }
        unreachable!("the loop ends by returning")
    }

    /// The agent that reaches a server. What was waived for the registry is waived for its own host, and for no other.
    pub(crate) fn agent(&self, server: &Origin) -> Result<Agent> {
        let proof = if server.host() == self.origin.host() { self.proof } else { Proof::Wanted };
        self.client.agent(&self.registry, server, proof)
    }

    /// Does what a 401 asks for, if we can. False if there is nothing to show that was not
    /// shown already.
    fn satisfy(&self, answer: &mut Answer) -> Result<bool> {
        let challenge = Challenge::choose(answer.headers(header::WWW_AUTHENTICATE.as_str()));
        // What was read to its end leaves a connection that can be used again.
        answer.drain(self);
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have been let in while this request was under way.
        let newer = self.authorization().filter(|current| answer.shown.as_ref() != Some(current));
        if newer.is_some() {
            return Ok(true);
        }
        let authorization = match challenge {
            None => return Ok(false),
            Some(Challenge::Basic) => {
                let login = self.client.credentials.find(&self.registry)?;
                let Some(value) = login.and_then(|login| login.basic()) else { return Ok(false) };
                Authorization { value, until: None }
            }
            Some(Challenge::Bearer { realm, service, .. }) => {
                token::fetch(self, &realm, service.as_deref(), &self.scopes)?
            }
        };
        let mut current = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        let news = answer.shown.as_ref() != Some(&authorization.value);
        *current = Some(authorization);
        Ok(news)
    }

    fn authorization(&self) -> Option<String> {
        let current = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        let current = current.as_ref()?;
        // A token that is about to end is not worth a refusal.
        (current.until.is_none_or(|until| Instant::now() < until)).then(|| current.value.clone())
    }

    fn next_url(&self, answer: &Answer, redirects: u32) -> Result<Uri> {
        if redirects > MOST_REDIRECTS {
            return Err(self.broken("too many redirects"));
        }
        let location = answer.header(header::LOCATION.as_str()).unwrap_or_default();
        let next = resolve_location(&answer.url, location).ok_or_else(|| {
            // What stands before an @ may be a password.
            let shown = if location.contains('@') { "a URL with a login in it" } else { location };
            self.broken(&format!("a redirect leads to {:?}, where we do not go", printable(shown)))
        })?;
        self.allow(&next)?;
        Ok(next)
    }

    /// Whether a server may send us to this URL.
    pub(crate) fn allow(&self, next: &Uri) -> Result<()> {
        match Origin::of(next) {
            Some(next) if self.origin.may_lead_to(&next) => Ok(()),
            Some(next) => Err(self.broken(&format!("it sends us to {next}, where we do not go from {}", self.origin))),
            None => Err(self.broken("it sends us to a URL that is none of a web server")),
        }
    }

    /// An answer that breaks a rule.
    pub(crate) fn broken(&self, reason: &str) -> Error {
        Error::Protocol { object: self.object.clone(), host: self.registry.clone(), reason: reason.to_owned() }
    }

    /// A connection that cannot be made or kept.
    pub(crate) fn unreachable(&self, origin: &Origin, source: ureq::Error) -> Error {
        let host = if *origin == self.origin { self.registry.clone() } else { origin.to_string() };
        let reason = self.reason(&source);
        Error::Unreachable { object: self.object.clone(), host, reason }
    }

    fn reason(&self, error: &ureq::Error) -> String {
        let options = &self.client.options;
        match error {
            ureq::Error::Timeout(Timeout::PerRead | Timeout::PerWrite) => {
                format!("nothing moved for {:?}", options.stall)
            }
            ureq::Error::Timeout(Timeout::RecvResponse) => format!("no answer within {:?}", options.stall * 4),
            ureq::Error::Timeout(Timeout::Connect) => format!("no connection within {:?}", options.connect),
            ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
                Some(inner) => self.reason(inner),
                None if error.kind() == std::io::ErrorKind::UnexpectedEof => "the connection broke off".to_owned(),
                None => error.to_string(),
            },
            ureq::Error::Protocol(error) => printable(&format!("this is not http as it should be: {error}")),
            // `printable` bounds what may quote a stranger.
            other => printable(&other.to_string()),
        }
    }
}

fn request(
    agent: &Agent,
    ask: &Ask,
    url: &Uri,
    shown: Option<&str>,
) -> std::result::Result<Response<Body>, ureq::Error> {
    let mut request = Request::builder().method(ask.method.clone()).uri(url.clone());
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    if let Some(value) = shown {
        request = request.header(header::AUTHORIZATION, value);
    }
    match &ask.payload {
        Payload::None if ask.method == Method::POST => agent.run(request.body(&[][..])?),
        Payload::None => agent.run(request.body(SendBody::none())?),
        Payload::Bytes(bytes) => agent.run(request.body(*bytes)?),
        Payload::Once(reader, length) => {
            let request = request.header(header::CONTENT_LENGTH, *length);
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            agent.run(request.body(SendBody::from_reader(&mut **reader))?)
        }
    }
}

/// Whether trying again at once is pointless: nobody listens, or we were not understood.
fn is_final(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused
                | std::io::ErrorKind::InvalidInput
                | std::io::ErrorKind::HostUnreachable
                | std::io::ErrorKind::NetworkUnreachable
        ),
        ureq::Error::Timeout(_) => false,
        _ => true,
    }
}

fn narrate(ask: &Ask, url: &Uri, shown: bool) {
    if !process::narrate::wanted() {
        return;
    }
    let method = match ask.method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        _ => "request",
    };
    // The query of somebody else's URL may be a secret of its own: signed addresses are.
    let query = url.query().filter(|query| query.starts_with("digest=") || query.starts_with("mount="));
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    let secret = if shown { ", with Authorization" } else { "" };
    let host = url.authority().map_or("", |authority| authority.as_str());
    let subject = format_args!("{host}{}{query}{secret}", url.path());
    process::narrate::tell(9, method, "distribution-spec", ask.purpose, subject);
}
