"""The rows of a build as token ids: made once on a CPU, named by a digest, read by training without tokenising again."""
