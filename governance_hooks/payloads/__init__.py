"""Payloads of all statement types, one file per subject: enumerations, ids, digests and numbers, never free text or personal data."""
