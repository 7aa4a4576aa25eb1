"""Turn an approved plan into weights and a run record."""
