"""Writers of foreign formats: each writes drafts so that the importer of the format reads the same drafts back."""
