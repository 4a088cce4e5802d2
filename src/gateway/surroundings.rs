//! What a request needs of the process for as long as it runs, also after its head was answered.

use std::sync::Arc;

use actix::Addr;
use actix_web::web;
use omniroute_actors::router::Router;

use super::attempt::Means;
use crate::app::App;
use crate::config::Config;

/// The process as one request sees it.
#[derive(Clone)]
pub struct Surroundings {
    /// What handlers share.
    pub app: web::Data<App>,
    /// This worker's router.
    pub router: web::Data<Addr<Router>>,
    /// The configuration that holds for the request.
    pub config: Arc<Config>,
}

impl Surroundings {
    /// What its attempts share.
    pub fn means(&self) -> Means<'_> {
        Means {
            clients: &self.app.clients,
            web: &self.app.web,
            config: &self.config,
            settings: self.app.directory.settings(),
            now: self.app.clock.wall(),
            clock: self.app.clock.as_ref(),
            handoffs: &self.app.handoffs,
        }
    }
}
