"""Kinds of values that are made of others: a value for each core set, a table of known keys, a list."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tuner.host.text import printable
from tuner.language.values import LIST_LIMIT, Cores, Json, Kind, Report, Schema, plain_text


@dataclass(frozen=True, slots=True)
class PerCpu:
    """A value for all CPUs, or a table of core sets with a value for each; a CPU that none names is left alone."""

    inner: Kind

    def check(self, value: object, report: Report) -> Json:
        """The value, or the checked table."""
        if not isinstance(value, dict):
            return self.inner.check(value, report)
        if not value or len(value) > LIST_LIMIT:
            report("an empty table" if not value else f"more than {LIST_LIMIT} core sets", 'for example { "rx + app" = … }')
            return None
        kept: dict[str, Json] = {}
        for cores, each in value.items():
            name = printable(str(cores), 60)
            text = Cores().check(cores, lambda what, hint="", *below, name=name: report(what, hint, name, *below))
            one = self.inner.check(each, lambda what, hint="", *below, name=name: report(what, hint, name, *below))
            if text is not None and one is not None:
                kept[text] = one
        return kept if len(kept) == len(value) else None

    def expressions(self, value: Json) -> Iterator[str]:
        """The core sets of the table."""
        if isinstance(value, Mapping):
            yield from value
            for each in value.values():
                yield from self.inner.expressions(each)

    def schema(self) -> Schema:
        """Either form; a table is always one of core sets."""
        inner = self.inner.schema()
        table: Schema = {"type": "object", "additionalProperties": inner, "propertyNames": plain_text(1000)}
        table |= {"minProperties": 1, "maxProperties": LIST_LIMIT}
        return table if inner.get("type") == "object" else {"anyOf": [inner, table]}

    def words(self) -> str:
        """For people."""
        whole = f"{self.inner.words()}; or " if self.inner.schema().get("type") != "object" else ""
        return f'{whole}a table of core sets: `{{ "rx + app" = {"…" if whole else self.inner.sample()} }}`'

    def sample(self) -> str:
        """A table of one core set."""
        return f'{{ "rx + app" = {self.inner.sample()} }}'


@dataclass(frozen=True, slots=True)
class Table:
    """A table of known keys.

    Attributes:
        keys: key -> kind.
        required: keys that must be there.
        short: a kind that stands for the whole: key and kind, as ``feed = "rx"`` for ``feed = { cores = "rx" }``.
    """

    keys: Mapping[str, Kind]
    required: tuple[str, ...] = ()
    short: str = ""

    def check(self, value: object, report: Report) -> Json:
        """Every key by its own kind."""
        if not isinstance(value, dict) and self.short:
            value = {self.short: value}
        if not isinstance(value, dict):
            report("not a table", f"for example {{ {next(iter(self.keys))} = … }}")
            return None
        kept: dict[str, Json] = {}
        good = True
        for key, each in value.items():
            kind = self.keys.get(key)
            if kind is None:
                report("unknown key", _meant(key, self.keys), printable(key, 60))
                good = False
                continue
            one = kind.check(each, lambda what, hint="", *below, key=key: report(what, hint, key, *below))
            good = good and one is not None
            kept[key] = one
        for key in self.required:
            if key not in value:
                report("missing", self.keys[key].words().replace("`", ""), key)
                good = False
        return kept if good else None

    def expressions(self, value: Json) -> Iterator[str]:
        """Those of its keys."""
        for key, each in value.items():
            yield from self.keys[key].expressions(each)

    def schema(self) -> Schema:
        """An object; or the short form."""
        whole: Schema = {
            "type": "object",
            "properties": {key: kind.schema() for key, kind in self.keys.items()},
            "additionalProperties": False,
        }
        if self.required:
            whole["required"] = list(self.required)
        return {"anyOf": [self.keys[self.short].schema(), whole]} if self.short else whole

    def words(self) -> str:
        """For people."""
        inside = ", ".join(f"{key} = {kind.words()}" for key, kind in self.keys.items())
        return f"a table: {inside}"

    def sample(self) -> str:
        """The required keys, or the first one."""
        keys = self.required or tuple(self.keys)[:1]
        return "{ " + ", ".join(f"{key} = {self.keys[key].sample()}" for key in keys) + " }"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one kind."""

    inner: Kind
    limit: int = 1024

    def check(self, value: object, report: Report) -> Json:
        """Every element; the number of a bad one is in its fault."""
        if not isinstance(value, list) or len(value) > self.limit:
            report("not a list" if not isinstance(value, list) else f"more than {self.limit} entries", "write [ …, … ]")
            return None
        kept = [
            self.inner.check(each, lambda what, hint="", *below, n=n: report(what, hint, str(n), *below))
            for n, each in enumerate(value)
        ]
        return None if None in kept else kept

    def expressions(self, value: Json) -> Iterator[str]:
        """Those of its elements."""
        for each in value:
            yield from self.inner.expressions(each)

    def schema(self) -> Schema:
        """An array."""
        return {"type": "array", "items": self.inner.schema(), "maxItems": self.limit}

    def words(self) -> str:
        """For people."""
        return f"a list, each {self.inner.words()}"

    def sample(self) -> str:
        """A list of one."""
        return f"[{self.inner.sample()}]"


def _meant(word: str, known: Iterable[str]) -> str:
    import difflib

    known = list(known)
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
