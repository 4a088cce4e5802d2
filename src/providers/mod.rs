//! Providers as data: `catalog.toml` says where each lives, how it wants its key and what is odd about it.
//!
//! Code asks for values of this data (a quirk, a path, a header), never for the name of a provider.

pub mod catalog;
pub mod endpoint;
pub mod environment;
pub mod exchange;
pub mod model_table;
pub mod node;
pub mod oauth;
pub mod usd;

pub use catalog::{AuthHeader, Catalog, CatalogError, Class, ProviderSpec, Quirk, Shape, Wire};
pub use endpoint::EndpointError;
pub use environment::{EnvironmentConnection, discover};
pub use exchange::{ExchangeKind, ExchangeSpec, TokenMinter};
pub use model_table::ModelTable;
pub use node::NodeKind;
