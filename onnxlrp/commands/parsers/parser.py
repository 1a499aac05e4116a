"""The argument parser of every command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from ...errors import UsageError, did_you_mean

_LEADING_MINUS = re.compile(r"-[\d.]")


class Parser(argparse.ArgumentParser):
    """argparse with errors of this package, which takes a value that begins with a minus: `--low -2.1,-2.0`."""

    takes_method_options = False

    def has(self, flag: str) -> bool:
        """Return whether a flag such as `--low` is known."""
        return flag in self._option_string_actions

    def unknown(self, argv: Sequence[str]) -> bool:
        """Return whether a word is a flag that is not known."""
        words = argv[: argv.index("--")] if "--" in argv else argv
        return any(word.startswith("--") and not self.has(word.partition("=")[0]) for word in words)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError in the place of argparse's exit."""
        raise UsageError(message, f"{self.prog} --help lists the options")

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse arguments, options and inputs in any order. Raises UsageError."""
        self.usage = self.usage or self._brief()
        args, left = self.parse_known_intermixed_args(self._joined(argv))
        for word in left:
            known = [option for option in self._option_string_actions if option.startswith("--")]
            raise UsageError(f'no option "{word}"', self._near(word.partition("=")[0], known))
        return args

    def _near(self, word: str, known: Sequence[str]) -> str:
        hint = did_you_mean(word, known)
        return hint if hint.startswith("did") else f"{self.prog} --help lists the options"

    def _joined(self, argv: Sequence[str]) -> list[str]:
        joined: list[str] = []
        waits = False
        for word in argv:
            if waits and _LEADING_MINUS.match(word):
                joined[-1] += f"={word}"
                waits = False
                continue
            action = self._option_string_actions.get(word)
            waits = action is not None and action.nargs is None and "--" not in joined
            joined.append(word)
        return joined

    def _brief(self) -> str:
        """The required arguments alone: sixty options in a row would hide them."""
        words = ["%(prog)s"]
        for action in self._actions:
            name = str(action.metavar or action.dest)
            if action.option_strings and action.required:
                words.append(f"{action.option_strings[0]} {name}")
            elif not action.option_strings:
                words.append({None: name, "?": f"[{name}]", "+": f"{name} ...", "*": f"[{name} ...]"}[action.nargs])  # type: ignore[index]
        return " ".join([*words, "[options]"])
