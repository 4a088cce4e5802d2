//! What a provider says about its limits, in the words of the actors.

use actix_http::header::HeaderMap;
use omniroute_actors::clock::UnixMillis;
use omniroute_actors::resilience::learned::{Kind, Reported};

use crate::wire::rate_limits::{Counted, Limit, RateLimits};

/// What the headers of an answer say about the provider's limits, in the actors' words.
pub fn limits_in(headers: &HeaderMap, now: UnixMillis) -> Vec<Reported> {
    let named = headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let Some(said) = RateLimits::read(named, now.0) else { return Vec::new() };
    let reported = |(counted, limit): (Counted, &Limit)| Reported {
        kind: match counted {
            Counted::Requests => Kind::Requests,
            Counted::Tokens => Kind::Tokens,
            Counted::InputTokens => Kind::InputTokens,
            Counted::OutputTokens => Kind::OutputTokens,
            Counted::RequestsPerDay => Kind::RequestsPerDay,
            Counted::TokensPerDay => Kind::TokensPerDay,
        },
        limit: limit.limit,
        remaining: limit.remaining,
        reset: limit.reset,
        per_minute: limit.is_per_minute(),
    };
    said.iter().map(reported).collect()
}
