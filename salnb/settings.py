"""The settings of sensitivity adjustment learning and what they may be."""

RULES, AVERAGES = ("one_sided", "proportional"), ("mean", "rms")


def check_settings(lr: float, target: float, decay: float, rule: str, average: str) -> None:
    for name, value, fits, wanted in (
        ("lr", lr, lr >= 0, "a rate >= 0"),
        ("target", target, target > 0, "a sensitivity > 0 (1 keeps signals at their size)"),
        ("decay", decay, 0 <= decay < 1, "a number in [0, 1); 0 means no memory of earlier passes"),
        ("rule", rule, rule in RULES, f"one of {', '.join(RULES)}"),
        ("average", average, average in AVERAGES, f"one of {', '.join(AVERAGES)}"),
    ):
        if not fits:
            raise ValueError(f"{name}: got {value!r}, expected {wanted}")
