"""One file per library. Every function takes a problem and the device, gets ready, and returns ``run(round) -> answer``.

An answer is a dictionary of numpy arrays. For exponents: "exponents"; "means" (R,) over independent stretches where the
standard error is asked for; "frame" (N, k), the tangents it began with, if not the identity; "shift", how many steps after
the given state its first Jacobian is taken.
"""
