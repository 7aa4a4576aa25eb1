"""Secret ballots: a Belenios election run by an external program, anchored in the log and checked by an auditor of our own."""
