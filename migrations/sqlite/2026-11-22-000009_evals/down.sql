DROP TABLE model_assessments;
DROP TABLE eval_runs;
DROP TABLE eval_suites;
