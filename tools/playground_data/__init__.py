"""The stored data of the figures that answer; `python -m tools.playground_data` writes what is missing, with its provenance."""
