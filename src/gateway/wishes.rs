//! What others than the client want of a request: the combo that it goes through, and the operator.
//!
//! Nothing is kept: each attempt begins with what the client sent, so nothing is said twice after a fallback.

use omniroute_actors::router::plan::Combo;

use super::combo_wish;
use crate::settings::RunTimeSettings;
use crate::wire::chat::{Format, Request};

/// Who wants something.
#[derive(Debug, Clone, Copy)]
pub struct Wishes<'a> {
    /// The combo that the request goes through.
    pub combo: Option<&'a Combo>,
    /// What operators set at run time.
    pub settings: &'a RunTimeSettings,
    /// The model is known to think when it is asked to.
    pub thinks: bool,
}

impl Wishes<'_> {
    /// Whether the request may have to be changed, without looking into it.
    pub fn may_change(&self) -> bool {
        self.combo.is_some_and(combo_wish::changes)
            || self.settings.system_prompt.changes()
            || self.settings.thinking.may_change()
    }

    /// The request for a provider of this format as everybody wants it; none where it stays as it is.
    pub fn applied(&self, request: &Request, to: Format) -> Option<Request> {
        let combo = self.combo.filter(|combo| combo_wish::changes(combo));
        let (prompt, thinking) = (&self.settings.system_prompt, &self.settings.thinking);
        let thinks = thinking.changes(request, self.thinks);
        if combo.is_none() && !prompt.changes() && !thinks {
            return None;
        }
        let mut request = combo.map_or_else(|| request.clone(), |combo| combo_wish::applied(combo, request));
        prompt.apply(&mut request, combo.is_some_and(|combo| combo.system_message.is_some()));
        if thinks {
            thinking.apply(&mut request, to);
        }
        Some(request)
    }
}
