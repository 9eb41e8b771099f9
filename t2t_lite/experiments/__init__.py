"""The paper's experiments as suites of runs: planned, trained, scored on the test split, and compared in tables."""
