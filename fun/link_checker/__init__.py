"""The link check function: a URL in, a verdict out. It keeps nothing and tells nobody but who asked."""
