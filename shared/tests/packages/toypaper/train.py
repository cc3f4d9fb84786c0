import sys
from collections.abc import Sequence

from tenfold.cli import run


def greet(arguments: list[str]) -> int:
    print("hello", *arguments)
    return 3


def main(argv: Sequence[str] | None = None) -> int:
    return run("toypaper", argv, {"greet": ("toypaper.train:greet", "say hello")})


if __name__ == "__main__":
    sys.exit(main())
