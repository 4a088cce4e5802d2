//! The data plane: what clients of models call.

use super::RouteSpec;

/// Every route of the data plane.
pub fn routes() -> Vec<RouteSpec> {
    Vec::new()
}
