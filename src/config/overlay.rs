//! What operators set at run time over the configuration. Pure.

use super::Config;

/// Values that lie over the configured ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Origins of web pages that may call the API.
    pub cors_allowed_origins: Option<Vec<String>>,
    /// The largest request body.
    pub max_body_bytes: Option<usize>,
    /// How often a request waits for a cooldown; 0 = never.
    pub wait_retries: Option<u32>,
    /// How long at most, in seconds.
    pub wait_longest_s: Option<u64>,
}

impl Overlay {
    /// The configuration with this over it.
    pub fn over(&self, base: &Config) -> Config {
        let mut config = base.clone();
        config.server.cors_allowed_origins =
            self.cors_allowed_origins.clone().unwrap_or(config.server.cors_allowed_origins);
        config.server.max_body_bytes = self.max_body_bytes.unwrap_or(config.server.max_body_bytes);
        let wait = &mut config.resilience.wait_for_cooldown;
        if let Some(times) = self.wait_retries {
            wait.enabled = times > 0;
            wait.max_retries = times;
        }
        wait.max_retry_wait_sec = self.wait_longest_s.unwrap_or(wait.max_retry_wait_sec);
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_stays_as_configured() {
        let mut base = Config::default();
        base.server.max_body_bytes = 7;

        assert_eq!(Overlay::default().over(&base), base);
        let cors = Overlay { cors_allowed_origins: Some(Vec::new()), wait_retries: Some(0), ..Overlay::default() };
        base.server.cors_allowed_origins = vec!["https://a.example".into()];
        base.resilience.wait_for_cooldown.enabled = true;
        let config = cors.over(&base);
        assert_eq!((config.server.cors_allowed_origins.len(), config.server.max_body_bytes), (0, 7));
        assert!(!config.resilience.wait_for_cooldown.enabled);
    }
}
