//! The least role for each route of the management API. Reading is a viewer's and changing an administrator's; what differs
//! stands in one table, so that a route nobody thought about is never open too wide.

use actix_web::http::Method;

use crate::auth::Role;

/// Method, path as it is registered, least role.
const EXCEPTIONS: &[(&str, &str, Role)] = &[
    // Questions that need a body.
    ("POST", "/api/explain", Role::Viewer),
    ("POST", "/api/combos/explain", Role::Viewer),
    // Resets.
    ("POST", "/api/resilience/reset", Role::Operator),
    ("DELETE", "/api/resilience/model-cooldowns", Role::Operator),
    ("POST", "/api/models/availability", Role::Operator),
    ("DELETE", "/api/monitoring/health", Role::Operator),
    ("DELETE", "/api/combos/metrics", Role::Operator),
    // Tests.
    ("POST", "/api/providers/{id}/test", Role::Operator),
    ("POST", "/api/providers/test-batch", Role::Operator),
    ("POST", "/api/providers/validate", Role::Operator),
    ("POST", "/api/providers/{id}/sync-models", Role::Operator),
    ("POST", "/api/provider-nodes/validate", Role::Operator),
    ("POST", "/api/combos/test", Role::Operator),
    ("POST", "/api/evals", Role::Operator),
    ("POST", "/api/evals/runs/{id}/cancel", Role::Operator),
    // Switches. Of a connection and a combo an operator changes `isActive` and nothing else: their handlers see to it.
    ("POST", "/api/rate-limit", Role::Operator),
    ("POST", "/api/rate-limits", Role::Operator),
    ("PUT", "/api/providers/{id}", Role::Operator),
    ("PATCH", "/api/providers/{id}", Role::Operator),
    ("PUT", "/api/combos/{id}", Role::Operator),
    ("PATCH", "/api/combos/{id}", Role::Operator),
    // A copy of the database that stays here.
    ("PUT", "/api/db-backups", Role::Operator),
    // Copies of the database that leave, and who else may come in.
    ("GET", "/api/db-backups/export", Role::Admin),
    ("GET", "/api/db-backups/exportAll", Role::Admin),
    ("GET", "/api/sync/tokens", Role::Admin),
];

/// The least role for this route.
pub(super) fn least(method: &Method, path: &str) -> Role {
    let exception = EXCEPTIONS.iter().find(|(of, at, _)| *of == method.as_str() && *at == path);
    match exception {
        Some((_, _, role)) => *role,
        None if *method == Method::GET => Role::Viewer,
        None => Role::Admin,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_exception_is_about_one_role_of_one_route() {
        let named: HashSet<_> = EXCEPTIONS.iter().map(|(method, path, _)| (method, path)).collect();

        assert_eq!(named.len(), EXCEPTIONS.len());
        for (method, path, role) in EXCEPTIONS {
            let usual = if *method == "GET" { Role::Viewer } else { Role::Admin };
            assert_ne!(*role, usual, "{method} {path}");
        }
    }
}
