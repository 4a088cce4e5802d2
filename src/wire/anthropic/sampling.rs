//! How words are chosen: within 0 and 1, hardly at all while the model thinks, and not at all on the newest models.

use super::version::Version;
use crate::chat::{Dropped, Request};

/// With thinking on, the share of likely words must not be smaller.
const LEAST_TOP_P: f64 = 0.95;

/// What may be said of it to a model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Words {
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) top_k: Option<u64>,
}

impl Words {
    /// What this model takes; the rest is reported.
    pub(crate) fn of(request: &Request, version: Version, thinks: bool, dropped: &mut Vec<Dropped>) -> Self {
        let asked = &request.sampling;
        let mut words = Self { temperature: asked.temperature, top_p: asked.top_p, top_k: asked.top_k };
        let mut leave_out = |name: &'static str, why| dropped.push(Dropped::new(name, why));
        if version.refuses_sampling() {
            let why = "the model chooses words by itself";
            words
                .temperature
                .take()
                .filter(|value| *value != 1.0)
                .into_iter()
                .for_each(|_| leave_out("temperature", why));
            words.top_p.take().filter(|value| *value != 1.0).into_iter().for_each(|_| leave_out("top_p", why));
            words.top_k.take().into_iter().for_each(|_| leave_out("top_k", why));
            return words;
        }
        if thinks {
            let why = "it is fixed while the model thinks";
            words.temperature.take_if(|value| *value != 1.0).into_iter().for_each(|_| leave_out("temperature", why));
            words.top_p.take_if(|value| *value < LEAST_TOP_P).into_iter().for_each(|_| leave_out("top_p", why));
            words.top_k.take().into_iter().for_each(|_| leave_out("top_k", why));
        }
        if let Some(hot) = words.temperature.as_mut().filter(|temperature| **temperature > 1.0) {
            *hot = 1.0;
            leave_out("temperature", "it was cut to 1, the most that the format allows");
        }
        words
    }

    /// One of the two where the model refuses both. Who says 1 says nothing, so the other one is what was asked for.
    pub(crate) fn one(mut self, version: Version, dropped: &mut Vec<Dropped>) -> Self {
        if !version.wants_one_of_sampling() || self.temperature.is_none() || self.top_p.is_none() {
            return self;
        }
        if self.temperature == Some(1.0) {
            self.temperature = None;
        } else if self.top_p.take() != Some(1.0) {
            dropped.push(Dropped::new("top_p", "the model takes either temperature or top_p"));
        }
        self
    }
}
