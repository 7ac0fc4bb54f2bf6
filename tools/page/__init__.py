"""What the book's pages get beyond Jupyter Book: parts of the Sphinx extension `tools.sphinx_ext`, one idea a file."""
