"""A paper small enough to be trained, killed and continued within a test."""
