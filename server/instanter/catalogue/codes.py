"""The codes of category values: each value keeps its own for ever."""


def keep_codes(
    declared: tuple[str, ...], old: tuple[str, ...]
) -> tuple[tuple[str, ...], frozenset[int]]:
    """Return the values in code order, new ones last, and the codes of those withdrawn.

    Parameters
    ----------
    declared
        The values that may be written now, without duplicates.
    old
        The values of earlier schemas in code order, withdrawn ones included.
    """
    wanted = set(declared)
    known = set(old)
    values = old + tuple(value for value in declared if value not in known)
    codes = frozenset(code for code, value in enumerate(old) if value not in wanted)
    return values, codes
