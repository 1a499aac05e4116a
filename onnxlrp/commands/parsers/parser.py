"""The argument parser of every command."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from typing import Any, NoReturn

from ...errors import UsageError, did_you_mean

_LEADING_MINUS = re.compile(r"-[\d.]")


class Parser(argparse.ArgumentParser):
    """argparse with errors of this package, which takes a value that begins with a minus: `--low -2.1,-2.0`."""

    takes_method_options = False

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        # Flags in whose presence a positional argument need not be given.
        self.in_place_of: dict[str, argparse.Action] = {}

    def has(self, flag: str) -> bool:
        """Return whether a flag such as `--low` is known."""
        return flag in self._option_string_actions

    def dest_of(self, flag: str) -> str | None:
        """Return where the value of a flag is kept, None for one that is not known."""
        return self._option_string_actions[flag].dest if self.has(flag) else None

    def unknown(self, argv: Sequence[str]) -> bool:
        """Return whether a word is a flag that is not known."""
        words = argv[: argv.index("--")] if "--" in argv else argv
        return any(word.startswith("--") and not self.has(word.partition("=")[0]) for word in words)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError in the place of argparse's exit."""
        raise UsageError(*self._in_our_words(message))

    def _in_our_words(self, message: str) -> tuple[str, str]:
        """Return what is wrong and the fix, for a message of argparse."""
        listed = f"{self.prog} --help lists the options"
        if found := re.fullmatch(r"the following arguments are required: (.*)", message):
            needed = [word.partition("/")[0] for word in found[1].split(", ")]
            return f"{self.prog} needs {' and '.join(needed)}", (self.usage or self._brief()) % {"prog": self.prog}
        found = re.fullmatch(r"argument ([^:]+): (.*)", message, re.DOTALL)
        action = self._option_string_actions.get(found[1].split("/")[-1]) if found else None
        if found is None or action is None:
            return message, listed
        flag, reason = found[1].split("/")[-1], found[2]
        value = re.search(r"'(.*)'", reason.partition(" (choose")[0], re.DOTALL)
        given = f'{flag} "{value[1]}"' if value else flag
        if action.choices is not None and value:
            words = [str(choice) for choice in action.choices]
            return f"{given} is none of {', '.join(words)}", f"write {flag} {self._likeliest(value[1], words)}"
        if reason.startswith(("invalid int", "invalid float")):
            kind, example = ("whole number", "8") if "int" in reason[:12] else ("number", "0.5")
            return f"{given} is no {kind}", f"write {flag} {action.default or example}"
        if reason.startswith("expected"):
            return f"{flag} needs a value", f"write {flag} {action.metavar or action.dest.upper()}; {listed}"
        if reason.startswith("ignored explicit argument"):
            return f"{given}: {flag} is a switch and takes no value", f"write {flag} alone"
        return f"{flag}: {reason}", listed

    @staticmethod
    def _likeliest(word: str, words: Sequence[str]) -> str:
        import difflib

        return (difflib.get_close_matches(word, words, n=1) or words)[0]

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse arguments, options and inputs in any order. Raises UsageError."""
        self.usage = self.usage or self._brief()
        for flag, named in self.in_place_of.items():
            if any(word.partition("=")[0] == flag for word in argv):
                named.nargs, named.required = "*", False
        args, left = self.parse_known_intermixed_args(self._joined(argv))
        for word in left:
            if not word.startswith("-"):
                raise UsageError(f'"{word}" is one word too many', self._for_one_more(word))
            known = [option for option in self._option_string_actions if option.startswith("--")]
            raise UsageError(f'no option "{word}"', self._near(word.partition("=")[0], known))
        return args

    def _for_one_more(self, word: str) -> str:
        """The fix for a word that is no input: a class, where the command takes one and no file has this name."""
        usage = (self.usage or self._brief()) % {"prog": self.prog}
        takes_class = self.has("--target") and not os.path.exists(word)
        return f"-t {shlex.quote(word)} names a class; {usage}" if takes_class else usage

    def _near(self, word: str, known: Sequence[str]) -> str:
        hint = did_you_mean(word, known)
        return hint if hint.startswith("did") and word.startswith("--") else f"{self.prog} --help lists the options"

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
