//! Who may read, and who may change.

use crate::{fault::Fault, options::Serve, output};
use actix_web::{
    HttpRequest,
    cookie::{Cookie, SameSite},
    http::{header, uri::Authority},
};
use constant_time_eq::constant_time_eq;
use std::{
    collections::VecDeque,
    fs,
    net::{IpAddr, SocketAddr},
    os::unix::fs::MetadataExt,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The fewest characters of a token that a file contains.
const LEAST: usize = 16;

/// The most sessions of operators.
const SESSIONS: usize = 100;

/// The permissions of a file for other users than its owner.
const OTHERS: u32 = 0o077;

pub(super) struct Access {
    /// Host names of this server, in lower case, besides localhost and addresses.
    hosts: Vec<String>,
    /// `None` if nothing can be changed.
    secrets: Option<Secrets>,
    /// Browsers don't distinguish the ports of a host.
    cookie: String,
}

struct Secrets {
    token: String,
    is_random: bool,
    /// From log-in to log-out, the last ones.
    sessions: Mutex<VecDeque<Session>>,
}

/// Of an operator who has entered the token.
struct Session {
    /// The value of the cookie.
    cookie: String,
    /// Each form contains it.
    form: String,
}

impl Access {
    pub(super) fn new(options: &Serve, address: SocketAddr) -> Result<Self, Fault> {
        let listen = options.listen.rsplit_once(':').map(|(host, _)| host);
        let allowed = options.allowed_host.iter().map(String::as_str);
        let hosts = allowed.chain(listen).map(str::to_lowercase).collect();
        let secrets = options.allow_changes.then(|| Secrets::new(options));
        Ok(Self {
            hosts,
            secrets: secrets.transpose()?,
            cookie: format!("dbsemaphore-{}", address.port()),
        })
    }

    /// Returns whether a browser may have been led here by the host name of somebody else, which then could read all
    /// answers. Nobody can lead an address.
    pub(super) fn is_known_host(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        let host = authority.host().to_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse::<IpAddr>().is_ok() || self.hosts.contains(&host)
    }

    pub(super) fn allows_changes(&self) -> bool {
        self.secrets.is_some()
    }

    pub(super) fn token_to_print(&self) -> Option<&str> {
        let secrets = self.secrets.as_ref()?;
        secrets.is_random.then_some(secrets.token.as_str())
    }

    /// Returns the cookie for whoever knows the token, and says on standard error who has tried.
    pub(super) fn log_in(
        &self,
        request: &HttpRequest,
        token: &str,
    ) -> Result<Option<Cookie<'static>>, Fault> {
        let Some(secrets) = &self.secrets else {
            return Ok(None);
        };
        let client = request.peer_addr().map(|address| address.ip());
        let client = client.map_or("an unknown address".to_owned(), |ip| ip.to_string());
        if !is_from_here(request) || !is_same(token.trim(), &secrets.token) {
            output::say(format_args!("log-in from {client} refused"));
            return Ok(None);
        }
        let (cookie, form) = (random()?, random()?);
        let mut sessions = secrets.sessions();
        sessions.truncate(SESSIONS - 1);
        sessions.push_front(Session {
            cookie: cookie.clone(),
            form,
        });
        output::say(format_args!("log-in from {client}"));
        Ok(Some(self.cookie(request, cookie)))
    }

    /// Ends the session. Returns a cookie that replaces the other.
    pub(super) fn log_out(&self, request: &HttpRequest) -> Cookie<'static> {
        if let Some((secrets, cookie)) = self.secrets.as_ref().zip(request.cookie(&self.cookie)) {
            let mut sessions = secrets.sessions();
            sessions.retain(|session| !is_same(cookie.value(), &session.cookie));
        }
        let mut cookie = self.cookie(request, String::new());
        cookie.make_removal();
        cookie
    }

    /// A browser that has come by TLS sends it by TLS only.
    fn cookie(&self, request: &HttpRequest, value: String) -> Cookie<'static> {
        let origin = request.headers().get(header::ORIGIN);
        let is_secure = origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
        Cookie::build(self.cookie.clone(), value)
            .path("/")
            .http_only(true)
            .secure(is_secure)
            .same_site(SameSite::Strict)
            .finish()
    }

    /// Returns the text for each form, if the operator has entered the token.
    pub(super) fn form_token(&self, request: &HttpRequest) -> Option<String> {
        let secrets = self.secrets.as_ref()?;
        let cookie = request.cookie(&self.cookie)?;
        let sessions = secrets.sessions();
        let mut sessions = sessions.iter();
        let session = sessions.find(|session| is_same(cookie.value(), &session.cookie))?;
        Some(session.form.clone())
    }

    /// Returns whether a form comes from a page of this server, and its sender has entered the token.
    pub(super) fn accepts(&self, request: &HttpRequest, form: &str) -> bool {
        let expected = self.form_token(request);
        expected.is_some_and(|expected| is_same(form, &expected)) && is_from_here(request)
    }
}

/// Returns whether no header says that the request comes from a page of another server.
fn is_from_here(request: &HttpRequest) -> bool {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str());
    let host = header(header::HOST.as_str());
    let origin = match header("Origin") {
        None => true,
        Some(Ok(origin)) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some() && authority == host.and_then(Result::ok)
        }
        Some(Err(_)) => false,
    };
    let site = header("Sec-Fetch-Site");
    origin && site.is_none_or(|site| matches!(site, Ok("same-origin" | "none")))
}

/// Takes the same time, wherever the texts differ.
fn is_same(text: &str, expected: &str) -> bool {
    constant_time_eq(text.as_bytes(), expected.as_bytes())
}

impl Secrets {
    fn new(options: &Serve) -> Result<Self, Fault> {
        let given = options.token_file.as_ref().map(|path| {
            let text = fs::read_to_string(path).map_err(|error| {
                Fault::new(format_args!("--token-file {}: {error}", path.display()))
            })?;
            if fs::metadata(path).is_ok_and(|file| file.mode() & OTHERS != 0) {
                output::say(format_args!(
                    "warning: other users of this machine can read the token in {}: run `chmod go= FILE`",
                    path.display()
                ));
            }
            let token = text.trim().to_owned();
            if token.len() < LEAST {
                return Err(Fault::new(format_args!(
                    "--token-file {}: the token has fewer than {LEAST} characters",
                    path.display()
                )));
            }
            Ok(token)
        });
        Ok(Self {
            is_random: given.is_none(),
            token: given.unwrap_or_else(random)?,
            sessions: Mutex::default(),
        })
    }

    fn sessions(&self) -> MutexGuard<'_, VecDeque<Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fault::new(format_args!("no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
