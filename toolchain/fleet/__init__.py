"""Shelves in the field: watch one, set up many, and check later what one said."""
