"""A run as one page: what a person looks at during it and after."""
