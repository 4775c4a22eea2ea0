"""A corpus of files that viewers open, made by many programs: `python -m tests.corpus FOLDER`."""
