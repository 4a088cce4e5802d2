//! Assessments: which models answered when they were last tried.

use diesel::prelude::*;
use serde_json::Value;

use super::json::JsonText;
use super::schema::model_assessments as assessments;
use super::{Store, StoreError};

/// What became of one model.
#[derive(Debug, Clone, PartialEq, Queryable, Insertable)]
#[diesel(table_name = assessments)]
pub struct AssessmentRow {
    /// `provider/model`.
    pub id: String,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// One word of a fixed list.
    pub status: String,
    /// What it is good at, as far as that is known.
    #[diesel(deserialize_as = JsonText, serialize_as = JsonText)]
    pub categories: Value,
    /// How long it took to answer.
    pub latency_ms: Option<i64>,
    /// Our own words for what went wrong.
    pub message: Option<String>,
    /// The assessment that found it out.
    pub run_id: String,
    /// When.
    pub assessed_at: i64,
}

/// Operations on assessments.
pub struct Assessments<'a>(pub(super) &'a Store);

impl Assessments<'_> {
    /// Every model that was ever tried, by its name.
    pub async fn list(&self) -> Result<Vec<AssessmentRow>, StoreError> {
        self.0.read(|db| Ok(assessments::table.order(assessments::id).load(db)?)).await
    }

    /// What was found out now takes the place of what was known.
    pub async fn replace(&self, rows: Vec<AssessmentRow>) -> Result<(), StoreError> {
        self.0
            .write(move |db| {
                for row in rows {
                    diesel::delete(assessments::table.find(&row.id)).execute(db)?;
                    diesel::insert_into(assessments::table).values(row).execute(db)?;
                }
                Ok(())
            })
            .await
    }
}
