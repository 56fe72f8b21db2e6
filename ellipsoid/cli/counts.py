"""Numbers of rows on the command line. They may be written as 1e6."""

from typing import Annotated

from tyro.constructors import PrimitiveConstructorSpec


def as_count(word: str) -> int:
    """Give the integer that a word stands for: 1000000, 1_000_000 or 1e6.

    Raises
    ------
    ValueError
        If it does not stand for an integer.

    Examples
    --------
    >>> as_count("1e6")
    1000000
    """
    try:
        return int(word)
    except ValueError:
        number = float(word)
    # A float beyond 2**53 may differ from the integer that was written.
    if not (number.is_integer() and abs(number) <= 2**53):
        raise ValueError(f"expected an integer; got {word}")
    return int(number)


#: Integer option that also takes 1e6.
Count = Annotated[
    int,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT",
        instance_from_str=lambda words: as_count(words[0]),
        is_instance=lambda value: isinstance(value, int),
        str_from_instance=lambda value: [str(value)],
    ),
]
