"""The quality stages of a build: each a pure function from rows to (rows, exclusions) under a versioned rule name; the table is `stages.table`."""
