"""What the fold knows, one file per subject: members, consents, proposals, runs, releases, each with its log positions."""
