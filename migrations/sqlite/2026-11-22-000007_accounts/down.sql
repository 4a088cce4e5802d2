DROP TABLE synced_models;
DROP TABLE provider_models;
DROP TABLE oauth_logins;
DROP TABLE oauth_tokens;
