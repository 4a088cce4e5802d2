//! From an upstream's error answer to an [`Outcome`]: status and structured codes first, words last.
//!
//! Words are looked for only where a provider is known to use a status for two things, and only in the
//! provider's own message, because messages echo what users wrote.

use super::outcome::Outcome;

/// The parts of an error answer that decide.
#[derive(Debug, Clone, Copy, Default)]
pub struct Failure<'a> {
    /// HTTP status; for an error object inside a 200 the status that its code stands for, else 0.
    pub status: u16,
    /// `error.code`.
    pub code: Option<&'a str>,
    /// `error.type`.
    pub kind: Option<&'a str>,
    /// `error.message`.
    pub message: &'a str,
}

impl Failure<'_> {
    /// The outcome this answer means.
    pub fn outcome(&self) -> Outcome {
        self.by_code().unwrap_or_else(|| self.by_status())
    }

    fn by_code(&self) -> Option<Outcome> {
        [self.code, self.kind].into_iter().flatten().find_map(outcome_of_code)
    }

    fn by_status(&self) -> Outcome {
        match self.status {
            400 if self.says(CONTEXT_WORDS) => Outcome::ContextTooLong,
            400 if self.says(MODEL_WORDS) => Outcome::ModelFault,
            401 => Outcome::AuthRefused,
            402 => Outcome::CreditsExhausted,
            403 if self.says(CLOSED_WORDS) => Outcome::Banned,
            403 if self.says(CREDIT_WORDS) => Outcome::CreditsExhausted,
            403 => Outcome::Forbidden,
            404 | 410 => Outcome::ModelFault,
            429 if self.says(CREDIT_WORDS) => Outcome::CreditsExhausted,
            429 if self.says(QUOTA_WORDS) => Outcome::QuotaExhausted,
            429 => Outcome::RateLimited,
            408 | 424 => Outcome::ServerFault,
            // Fireworks: the account is suspended until its bills are paid.
            412 if self.says(SUSPENDED_WORDS) => Outcome::CreditsExhausted,
            // Groq: its flexible tier has no capacity left.
            498 => Outcome::Overloaded,
            400..=499 => Outcome::ClientFault,
            503 | 529 => Outcome::Overloaded,
            500..=599 => Outcome::ServerFault,
            _ if self.blames_the_server() => Outcome::ServerFault,
            _ => Outcome::BrokenAnswer,
        }
    }

    fn blames_the_server(&self) -> bool {
        let words = ["server_error", "api_error", "internal_server_error"];
        [self.code, self.kind].into_iter().flatten().any(|word| words.contains(&word))
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message.to_ascii_lowercase();
        words.iter().any(|word| message.contains(word))
    }
}

/// Codes that mean the same wherever they stand.
fn outcome_of_code(code: &str) -> Option<Outcome> {
    Some(match code {
        "insufficient_quota"
        | "billing_hard_limit_reached"
        | "billing_error"
        | "insufficient_balance"
        | "payment_required"
        // Alibaba: the account owes money.
        | "Arrearage" => Outcome::CreditsExhausted,
        "account_deactivated" | "organization_deactivated" | "account_suspended" => Outcome::Banned,
        "invalid_api_key" | "authentication_error" | "invalid_authentication" => Outcome::AuthRefused,
        "permission_error" | "permission_denied" => Outcome::Forbidden,
        "model_not_found"
        | "model_not_supported"
        | "model_decommissioned"
        | "not_found_error"
        | "unsupported_model"
        // Alibaba: the free quota of this one model is used up.
        | "AllocationQuota.FreeTierOnly" => Outcome::ModelFault,
        "context_length_exceeded" => Outcome::ContextTooLong,
        "rate_limit_exceeded" | "rate_limit_error" | "too_many_requests" => Outcome::RateLimited,
        "overloaded_error" | "engine_overloaded" | "engine_overloaded_error" => Outcome::Overloaded,
        // "server_error" and its like say less than any status does.
        _ => return None,
    })
}

const CONTEXT_WORDS: &[&str] =
    &["maximum context length", "context length exceeded", "prompt is too long", "exceeds the context window"];
const MODEL_WORDS: &[&str] =
    &["model not found", "does not exist", "is not supported", "unknown model", "no longer available"];
const CLOSED_WORDS: &[&str] = &["account has been deactivated", "account is suspended", "account has been disabled"];
const CREDIT_WORDS: &[&str] = &[
    "insufficient_quota",
    "exceeded your current quota",
    "insufficient balance",
    "credit balance is too low",
    "out of credits",
    "billing",
];
const SUSPENDED_WORDS: &[&str] = &["suspended", "spending limit", "past invoices"];
const QUOTA_WORDS: &[&str] = &[
    "per day",
    "daily limit",
    "monthly limit",
    "weekly limit",
    "quota will reset",
    // The plans of Ollama, Z.AI and MiniMax: so many hours, then a pause.
    "usage limit",
    "limit will reset",
];

/// What a provider that tells limits in words alone means by a refusal: for those that answer 400 or 403 to a caller who
/// is merely too fast or out of quota, in Chinese mostly. Only for providers that are known to do so, because messages echo
/// what users wrote.
pub fn limit_in_words(status: u16, message: &str) -> Option<Outcome> {
    const LIMITS: [(Outcome, &[&str]); 3] = [
        (Outcome::CreditsExhausted, &["余额不足", "额度不足", "欠费", "请充值", "insufficient balance"]),
        (Outcome::QuotaExhausted, &["额度已用", "配额", "额度已", "用量上限", "今日", "quota"]),
        (
            Outcome::RateLimited,
            &[
                "请求过于频繁",
                "请求频繁",
                "频率",
                "限流",
                "限速",
                "速率",
                "稍后再试",
                "稍后重试",
                "并发",
                "too many requests",
                "rate limit",
            ],
        ),
    ];
    let message = message.to_lowercase();
    let meant = LIMITS.iter().find(|(_, words)| words.iter().any(|word| message.contains(word)));
    meant.filter(|_| matches!(status, 400 | 403)).map(|(outcome, _)| *outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, code: Option<&str>, message: &str) -> Outcome {
        Failure { status, code, kind: None, message }.outcome()
    }

    #[test]
    fn status_alone_decides_the_plain_cases() {
        let table = [
            (400, Outcome::ClientFault),
            (401, Outcome::AuthRefused),
            (402, Outcome::CreditsExhausted),
            (403, Outcome::Forbidden),
            (404, Outcome::ModelFault),
            (408, Outcome::ServerFault),
            (409, Outcome::ClientFault),
            (413, Outcome::ClientFault),
            (415, Outcome::ClientFault),
            (422, Outcome::ClientFault),
            (424, Outcome::ServerFault),
            (429, Outcome::RateLimited),
            (500, Outcome::ServerFault),
            (502, Outcome::ServerFault),
            (503, Outcome::Overloaded),
            (504, Outcome::ServerFault),
            (529, Outcome::Overloaded),
        ];
        for (status, expected) in table {
            assert_eq!(outcome(status, None, ""), expected, "{status}");
        }
    }

    #[test]
    fn a_type_that_only_blames_the_server_does_not_hide_what_the_status_says() {
        for (status, expected) in
            [(402, Outcome::CreditsExhausted), (503, Outcome::Overloaded), (429, Outcome::RateLimited)]
        {
            let failure = Failure { status, code: None, kind: Some("server_error"), message: "" };
            assert_eq!(failure.outcome(), expected, "{status}");
        }
        assert_eq!(outcome(0, Some("server_error"), ""), Outcome::ServerFault);
    }

    #[test]
    fn out_of_money_is_not_a_rate_limit_although_it_arrives_as_429() {
        assert_eq!(outcome(429, Some("insufficient_quota"), ""), Outcome::CreditsExhausted);
        assert_eq!(outcome(429, None, "You exceeded your current quota, please check"), Outcome::CreditsExhausted);
    }

    #[test]
    fn a_users_words_echoed_in_a_bad_request_do_not_change_its_class() {
        let echo = "Invalid value: 'rate limit capacity quota exceeded billing'";

        assert_eq!(outcome(400, None, echo), Outcome::ClientFault);
        assert_eq!(outcome(422, None, echo), Outcome::ClientFault);
    }

    #[test]
    fn limits_that_a_provider_tells_in_words_alone_are_limits() {
        let table = [
            (403, "用户额度不足, 剩余额度: $0.00", Some(Outcome::CreditsExhausted)),
            (400, "今日请求次数已达上限", Some(Outcome::QuotaExhausted)),
            (400, "请求过于频繁，请稍后再试", Some(Outcome::RateLimited)),
            (400, "messages 参数非法", None),
            (500, "请求过于频繁", None),
        ];

        for (status, message, expected) in table {
            assert_eq!(limit_in_words(status, message), expected, "{status} {message}");
        }
        assert_eq!(outcome(400, None, "请求过于频繁"), Outcome::ClientFault, "not for everybody");
    }

    #[test]
    fn the_odd_statuses_and_codes_of_single_providers_are_known() {
        let suspended = "Account acme is suspended, possibly due to reaching the monthly spending limit";

        assert_eq!(outcome(412, None, suspended), Outcome::CreditsExhausted);
        assert_eq!(outcome(412, None, "If-Match failed"), Outcome::ClientFault);
        assert_eq!(outcome(498, None, "Flex tier capacity exceeded"), Outcome::Overloaded);
        assert_eq!(outcome(400, Some("Arrearage"), ""), Outcome::CreditsExhausted);
        assert_eq!(outcome(403, Some("AllocationQuota.FreeTierOnly"), ""), Outcome::ModelFault);
        assert_eq!(outcome(429, None, "you have reached your weekly usage limit"), Outcome::QuotaExhausted);
    }

    #[test]
    fn a_prompt_that_does_not_fit_may_fit_elsewhere() {
        assert_eq!(outcome(400, Some("context_length_exceeded"), ""), Outcome::ContextTooLong);
        assert_eq!(outcome(400, None, "This model's maximum context length is 8192"), Outcome::ContextTooLong);
    }
}
