"""Statements on their way into the log: drafted here, signed where keys are, checked, and handed to the writer. No key of a member is here."""
