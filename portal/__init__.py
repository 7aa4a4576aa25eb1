"""The members' web pages (contribute, consent, vote) and the public's (releases, log)."""
