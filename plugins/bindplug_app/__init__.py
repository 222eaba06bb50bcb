"""A page in the browser: a person's files, searched by every sense."""
