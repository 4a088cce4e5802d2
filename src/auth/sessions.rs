//! Sessions of the administrator: a random id in the browser, its hash in the store, both ends of its life on the
//! server. A small cache in front of the store keeps a busy page from asking it for every request.

use std::sync::Arc;
use std::time::Duration;

use actix_web::cookie::{Cookie, SameSite};
use moka::sync::Cache;
use omniroute_actors::clock::Clock;
use secrecy::{ExposeSecret, SecretString};

use super::client_ip::Origin;
use super::id_token::role_for;
use super::role::Role;
use crate::config::{ConfigHandle, When};
use crate::infra::crypto::{KeyHasher, Vault, random_token};
use crate::store::{SessionRow, Store, StoreError};

/// The session's cookie.
pub const COOKIE: &str = "auth_token";
/// How long a session that was read from the store is believed without asking again: a session that another instance
/// ended lives on here for that long at most.
const BELIEVED_FOR: Duration = Duration::from_secs(10);
const REMEMBERED: u64 = 10_000;
/// A use is noted at most this often.
const NOTE_EVERY_MS: i64 = 30_000;
/// The length of a session id: 256 bits in base64url.
const ID_CHARS: usize = 43;
const USER_AGENT_CHARS: usize = 200;
/// Who signs in with the password.
pub const ADMINISTRATOR: &str = "admin";

/// A session that is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The stored hash of its id.
    pub id_hash: String,
    /// When it began.
    pub created_at: i64,
    /// When it was last used, to within half a minute.
    pub last_seen: i64,
    /// When it ends unless it is used.
    pub expires_at: i64,
    /// Who signed in.
    pub subject: String,
    /// What they may do.
    pub role: Role,
    /// What the provider of their account said that decides the role; nothing for the administrator.
    held: Option<Vec<String>>,
    /// When a word of the provider ends that cannot be asked for again.
    token_until: Option<i64>,
}

/// Who signs in, from where.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Who.
    pub subject: String,
    /// What they may do.
    pub role: Role,
    /// The address.
    pub ip: Option<String>,
    /// The browser.
    pub user_agent: Option<String>,
    /// What the provider of the account said; nothing for the administrator.
    pub account: Option<Account>,
}

/// What a provider said about somebody.
#[derive(Debug, Clone)]
pub struct Account {
    /// What decides the role.
    pub held: Vec<String>,
    /// With which it is asked again.
    pub refresh: Option<SecretString>,
    /// When its word ends, in milliseconds since the epoch.
    pub until: Option<i64>,
}

impl SignIn {
    /// The administrator, by the password.
    pub fn administrator(ip: Option<String>, user_agent: Option<String>) -> Self {
        Self { subject: ADMINISTRATOR.to_owned(), role: Role::Admin, ip, user_agent, account: None }
    }
}

/// The id of a new session, for the cookie.
pub type SessionToken = SecretString;

/// All sessions; clones share the cache.
#[derive(Clone)]
pub struct Sessions {
    store: Store,
    hasher: KeyHasher,
    vault: Arc<Vault>,
    config: ConfigHandle,
    clock: Arc<dyn Clock>,
    cache: Cache<String, Session>,
}

impl std::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sessions").field("cached", &self.cache.entry_count()).finish_non_exhaustive()
    }
}

impl Sessions {
    /// The sessions of this store.
    pub fn new(store: Store, vault: &Arc<Vault>, config: ConfigHandle, clock: Arc<dyn Clock>) -> Self {
        let cache = Cache::builder().max_capacity(REMEMBERED).time_to_live(BELIEVED_FOR).build();
        Self { store, hasher: vault.sessions().clone(), vault: Arc::clone(vault), config, clock, cache }
    }

    /// Begin a session.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn open(&self, who: SignIn) -> Result<SessionToken, StoreError> {
        let token = random_token()?;
        let now = self.clock.wall().0;
        self.store.sessions().delete_expired(now).await?;
        let id_hash = self.hasher.hash(token.expose_secret());
        let mut row = SessionRow {
            id_hash,
            created_at: now,
            last_seen: now,
            expires_at: self.limit(now, now),
            client_ip: who.ip,
            user_agent: who.user_agent.map(|text| text.chars().take(USER_AGENT_CHARS).collect()),
            subject: who.subject,
            role: who.role.as_str().to_owned(),
            role_values: None,
            refresh_token: None,
            token_until: None,
            confirmed_at: None,
            checked_at: None,
        };
        if let Some(account) = who.account {
            row.checked_at = Some(now);
            self.note_account(&mut row, account, now)?;
        }
        self.store.sessions().insert(&row).await?;
        Ok(token)
    }

    /// The living session of this id, if there is one; using it keeps it alive.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn find(&self, id: &str) -> Result<Option<Session>, StoreError> {
        if id.len() != ID_CHARS {
            return Ok(None);
        }
        let hash = self.hasher.hash(id);
        let known = match self.cache.get(&hash) {
            Some(session) => Some(session),
            None => self.store.sessions().find(&hash).await?.map(Session::from),
        };
        let now = self.clock.wall().0;
        let Some(session) = known else { return Ok(None) };
        match self.role_now(&session) {
            Some(role) if now < self.end_of(&session) => {
                self.note_use(Session { role, ..session }, now).await.map(Some)
            }
            _ => self.close_hash(&session.id_hash).await.map(|()| None),
        }
    }

    /// By the rules of now, also for those who signed in under others. `None`: nothing any more.
    fn role_now(&self, session: &Session) -> Option<Role> {
        let Some(held) = &session.held else { return Some(session.role) };
        let oidc = &self.config.load().oidc;
        if oidc.issuer.is_empty() { None } else { role_for(held, oidc) }
    }

    /// Sessions whose provider was not asked for that long.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn unchecked(&self, for_ms: i64, most: i64) -> Result<Vec<SessionRow>, StoreError> {
        let now = self.clock.wall().0;
        self.store.sessions().unchecked(now.saturating_sub(for_ms), now, most).await
    }

    /// Take on to ask the provider about this session; the token to ask with, unless somebody else does.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin_check(&self, row: &SessionRow) -> Result<Option<SecretString>, StoreError> {
        if !self.store.sessions().check(row, self.clock.wall().0).await? {
            return Ok(None);
        }
        let Some(sealed) = &row.refresh_token else { return Ok(None) };
        Ok(self.vault.open(&refresh_aad(&row.id_hash), sealed).map(Some)?)
    }

    /// What the provider says now; the next use of the session goes by it.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn confirm(&self, mut row: SessionRow, role: Role, account: Account) -> Result<(), StoreError> {
        role.as_str().clone_into(&mut row.role);
        self.note_account(&mut row, account, self.clock.wall().0)?;
        self.store.sessions().confirm(&row).await?;
        self.cache.invalidate(&row.id_hash);
        Ok(())
    }

    /// End a session that the provider does not stand for any more.
    ///
    /// # Errors
    /// When it cannot be removed from the store.
    pub async fn end(&self, row: &SessionRow) -> Result<(), StoreError> {
        self.close_hash(&row.id_hash).await
    }

    fn note_account(&self, row: &mut SessionRow, account: Account, now: i64) -> Result<(), StoreError> {
        row.role_values = Some(serde_json::json!(account.held).to_string());
        (row.token_until, row.confirmed_at) = (account.until, Some(now));
        if let Some(refresh) = account.refresh {
            row.refresh_token = Some(self.vault.seal(&refresh_aad(&row.id_hash), &refresh)?);
        }
        Ok(())
    }

    /// End the session of this id.
    ///
    /// # Errors
    /// When it cannot be removed from the store.
    pub async fn close(&self, id: &str) -> Result<(), StoreError> {
        self.close_hash(&self.hasher.hash(id)).await
    }

    /// End every session, for a changed password.
    ///
    /// # Errors
    /// When they cannot be removed from the store.
    pub async fn close_all(&self) -> Result<usize, StoreError> {
        let closed = self.store.sessions().delete_all().await?;
        self.cache.invalidate_all();
        Ok(closed)
    }

    /// The cookie that carries a session.
    pub fn cookie(&self, token: &SessionToken, origin: Origin) -> Cookie<'static> {
        self.dressed(Cookie::new(COOKIE, token.expose_secret().to_owned()), origin)
    }

    /// The cookie that takes a session away.
    pub fn removal(&self, origin: Origin) -> Cookie<'static> {
        let mut cookie = self.dressed(Cookie::new(COOKIE, ""), origin);
        cookie.make_removal();
        cookie
    }

    fn dressed(&self, mut cookie: Cookie<'static>, origin: Origin) -> Cookie<'static> {
        let secure = match self.config.load().auth.cookie_secure {
            When::Auto => origin.secure,
            When::Always => true,
            When::Never => false,
        };
        cookie.set_http_only(true);
        cookie.set_same_site(SameSite::Strict);
        cookie.set_path("/");
        cookie.set_secure(secure);
        cookie
    }

    /// The end of a session by both rules. Judged by the rules of now: a shorter time holds for running sessions too.
    fn limit(&self, created_at: i64, last_seen: i64) -> i64 {
        let auth = &self.config.load().auth;
        let ms = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let idle = last_seen.saturating_add(ms(auth.session_idle_s));
        idle.min(created_at.saturating_add(ms(auth.session_absolute_s)))
    }

    /// The same, and the end of the provider's word where that is the rule.
    fn end_of(&self, session: &Session) -> i64 {
        let limit = self.limit(session.created_at, session.last_seen);
        let word = session.token_until.filter(|_| self.config.load().oidc.end_with_token);
        word.map_or(limit, |until| until.min(limit))
    }

    async fn note_use(&self, mut session: Session, now: i64) -> Result<Session, StoreError> {
        if now - session.last_seen >= NOTE_EVERY_MS {
            (session.last_seen, session.expires_at) = (now, self.limit(session.created_at, now));
            match self.store.sessions().touch(&session.id_hash, session.last_seen, session.expires_at).await {
                Ok(()) => {}
                Err(error) => {
                    // Ended meanwhile, or the store is in trouble: the next request asks it again.
                    self.cache.invalidate(&session.id_hash);
                    return Err(error);
                }
            }
        }
        self.cache.insert(session.id_hash.clone(), session.clone());
        Ok(session)
    }

    async fn close_hash(&self, hash: &str) -> Result<(), StoreError> {
        self.cache.invalidate(hash);
        self.store.sessions().delete(hash).await
    }
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id_hash: row.id_hash,
            created_at: row.created_at,
            last_seen: row.last_seen,
            expires_at: row.expires_at,
            subject: row.subject,
            // A word of another version grants the least.
            role: Role::of(&row.role).unwrap_or(Role::Viewer),
            held: row.role_values.map(|values| serde_json::from_str(&values).unwrap_or_default()),
            // Who can be asked again says so itself.
            token_until: row.token_until.filter(|_| row.refresh_token.is_none()),
        }
    }
}

fn refresh_aad(id_hash: &str) -> String {
    format!("sessions|{id_hash}|refresh_token|v1")
}

#[cfg(test)]
mod tests {
    use omniroute_actors::clock::{ManualClock, Moment};

    use super::*;
    use crate::config::Config;
    use crate::infra::crypto::MasterKey;
    use crate::store::StoreOptions;

    struct Bed {
        sessions: Sessions,
        clock: Arc<ManualClock>,
        _dir: tempfile::TempDir,
    }

    fn bed() -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let vault = Arc::new(Vault::new(&MasterKey::from_bytes([7; 32])));
        let (url, data_dir) = ("sqlite:test.db".to_owned(), dir.path().to_owned());
        let store = Store::open(&StoreOptions { url, data_dir, readers: 1, vault: vault.clone() }).unwrap();
        let clock = Arc::new(ManualClock::at(Moment::START));
        let mut config = Config::default();
        (config.auth.session_idle_s, config.auth.session_absolute_s) = (600, 1_200);
        let sessions = Sessions::new(store, &vault, ConfigHandle::new(config), clock.clone());
        Bed { sessions, clock, _dir: dir }
    }

    impl Bed {
        async fn open(&self) -> SessionToken {
            self.sessions.open(SignIn::administrator(None, Some("test".into()))).await.unwrap()
        }

        async fn lives(&self, token: &SessionToken) -> bool {
            self.sessions.find(token.expose_secret()).await.unwrap().is_some()
        }

        fn wait(&self, seconds: u64) {
            self.clock.advance(Duration::from_secs(seconds));
        }
    }

    #[actix_web::test]
    async fn an_idle_session_ends() {
        let bed = bed();
        let token = bed.open().await;
        bed.wait(599);
        assert!(bed.lives(&token).await);

        bed.wait(600);

        assert!(!bed.lives(&token).await);
    }

    #[actix_web::test]
    async fn a_busy_session_ends_at_its_absolute_time() {
        let bed = bed();
        let token = bed.open().await;
        for _ in 0..3 {
            bed.wait(399);
            assert!(bed.lives(&token).await);
        }

        bed.wait(3);

        assert!(!bed.lives(&token).await);
    }

    #[actix_web::test]
    async fn a_closed_session_is_over_at_once_and_only_it() {
        let bed = bed();
        let (one, other) = (bed.open().await, bed.open().await);
        assert!(bed.lives(&one).await);

        bed.sessions.close(one.expose_secret()).await.unwrap();

        assert!(!bed.lives(&one).await && bed.lives(&other).await);
        assert_eq!(bed.sessions.close_all().await.unwrap(), 1);
        assert!(!bed.lives(&other).await);
    }

    #[actix_web::test]
    async fn the_role_of_an_account_goes_by_the_groups_of_now_and_ends_with_them() {
        let bed = bed();
        let account = Account { held: vec!["ops".into()], refresh: Some("canary".into()), until: None };
        let who = SignIn {
            subject: "oidc:ada".into(),
            role: Role::Operator,
            ip: None,
            user_agent: None,
            account: Some(account),
        };
        let token = bed.sessions.open(who).await.unwrap();
        // The same database under another configuration, as after a change of it.
        let under = |change: fn(&mut Config)| {
            let mut config = Config::default();
            config.oidc.issuer = "https://login.example.org".into();
            change(&mut config);
            let Sessions { store, vault, clock, .. } = bed.sessions.clone();
            Sessions::new(store, &vault, ConfigHandle::new(config), clock)
        };
        let role =
            async |sessions: Sessions| sessions.find(token.expose_secret()).await.unwrap().map(|session| session.role);

        let operator = role(under(|config| config.oidc.operators = vec!["ops".into()])).await;
        let admin = role(under(|config| config.oidc.admins = vec!["ops".into()])).await;
        let nobody = role(under(|config| config.oidc.admins = vec!["others".into()])).await;
        let again = role(under(|config| config.oidc.admins = vec!["ops".into()])).await;

        assert_eq!([operator, admin, nobody, again], [Some(Role::Operator), Some(Role::Admin), None, None]);
    }

    #[actix_web::test]
    async fn the_store_holds_no_session_id() {
        let bed = bed();
        let token = bed.open().await;

        let session = bed.sessions.find(token.expose_secret()).await.unwrap().unwrap();

        assert!(!session.id_hash.contains(token.expose_secret()) && session.id_hash.len() == 64);
        assert!(bed.sessions.find(&session.id_hash).await.unwrap().is_none(), "the hash must not sign in");
    }

    #[actix_web::test]
    async fn the_cookie_stays_at_home_and_out_of_reach_of_scripts() {
        let bed = bed();
        let token = bed.open().await;
        let at = |secure| Origin { ip: None, secure };

        let plain = bed.sessions.cookie(&token, at(false)).to_string();
        let secure = bed.sessions.cookie(&token, at(true)).to_string();

        for part in ["auth_token=", "; HttpOnly", "; SameSite=Strict", "; Path=/"] {
            assert!(plain.contains(part), "{part} in {plain}");
        }
        assert!(!plain.contains("Secure") && secure.contains("; Secure"));
        assert!(bed.sessions.removal(at(true)).to_string().contains("Max-Age=0"));
    }
}
