DROP TABLE model_facts;
DROP TABLE combo_states;
DROP TABLE policies;
DROP TABLE fallback_chains;
DROP TABLE model_combo_mappings;
DROP TABLE model_aliases;
