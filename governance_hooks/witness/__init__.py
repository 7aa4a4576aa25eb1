"""Witnesses: other parties who sign, with a time, that a log has only grown (C2SP tlog-cosignature, tlog-witness)."""
