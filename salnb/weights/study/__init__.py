"""The measurements of the chapter *The spectrum of a weight matrix while it learns*: data, training, plan and verdicts."""

__all__: list[str] = []
