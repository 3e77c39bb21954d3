"""How many of something one request may bring."""

from instanter.errors import InvalidFieldError


def check_count(field: str, count: int, count_max: int, *, reason: str, things: str = "") -> None:
    """Raise unless a request brings at least one of something, and not too many.

    Parameters
    ----------
    field
        The field that has them.
    count, count_max
        How many there are, and how many there may be.
    reason
        Why it is refused otherwise.
    things
        What they are called, where the field's name does not say it.

    Raises
    ------
    InvalidFieldError
        There are none, or too many.
    """
    if not 1 <= count <= count_max:
        things = things or field
        raise InvalidFieldError(
            field, f"{count:,} {things}", f"1 to {count_max:,} {things}", reason=reason
        )
