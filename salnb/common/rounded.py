"""Results as they are stored: a few digits, and nothing that JSON does not have."""


def rounded(value: object) -> object:
    """Numbers with five significant digits, in lists and dictionaries; infinite ones and NaN as None, which JSON has.

    Example:
        >>> rounded({"a": [0.1234567, float("nan")], "n": 3})
        {'a': [0.12346, None], 'n': 3}
    """
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.5g}") if abs(value) < float("inf") else None
    return value
