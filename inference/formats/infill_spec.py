"""The layout of prompt and canvas for checkpoints that were trained to fill gaps (`infill.json`).

The prompt is suffix first: `bos, language, <|suffix|> suffix, <|prefix|> prefix`, so that typing only appends to what
the encoder has read (arXiv 2207.14255, SPM). The canvas is the gap, one end token, then a cycle of pads (arXiv
2510.03680). Training and inference build both with the methods below and nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from inference.formats.calibration import Calibration

FILE_NAME = "infill.json"
FALLBACK_LANGUAGE = "plaintext"


@dataclass(frozen=True)
class InfillSpec:
    """Control tokens and limits of one checkpoint; all ids are token ids of its tokenizer.

    `confidence_floor` is for the canvas's confidence; what `calibration` judges has its own floor.
    """

    version: int
    format: str
    bos: int
    suffix: int
    prefix: int
    gap_end: int
    gap_more: int
    pads: tuple[int, ...]
    languages: Mapping[str, int]
    noise_low: int
    noise_high: int
    canvas_buckets: tuple[int, ...]
    max_prompt_tokens: int
    confidence_floor: float
    calibration: Calibration | None = None

    @classmethod
    def load(cls, folder: Path) -> "InfillSpec":
        """Read `infill.json` in `folder`; whatever is wrong with it is a `ValueError` that names file and field."""
        path = folder / FILE_NAME
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise ValueError(f"{path}: is not valid JSON ({error})") from error
        if not isinstance(data, dict):
            raise ValueError(f"{path}: must hold a JSON object")
        names = {field.name for field in fields(cls)}
        for name in sorted(names - data.keys() - _OPTIONAL):
            raise ValueError(f"{path}: field '{name}' is missing")
        for name in sorted(data.keys() - names):
            raise ValueError(f"{path}: field '{name}' is not known")
        try:
            return cls(**{name: _READERS[name](name, value) for name, value in data.items()})._checked()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def save(self, folder: Path) -> None:
        """Write `infill.json` into `folder`."""
        data = asdict(self) | {"languages": dict(self.languages)}
        del data["calibration"]
        if self.calibration is not None:
            data["calibration"] = self.calibration.to_json()
        (folder / FILE_NAME).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")

    def _checked(self) -> "InfillSpec":
        if self.version != 1:
            raise ValueError(f"field 'version' is {self.version}, this program reads version 1")
        if self.format != "fim":
            raise ValueError(f"field 'format' is {self.format!r}, expected 'fim'")
        if len(self.pads) != 7:
            raise ValueError(f"field 'pads' has {len(self.pads)} entries, expected 7")
        if FALLBACK_LANGUAGE not in self.languages:
            raise ValueError(f"field 'languages' has no entry for '{FALLBACK_LANGUAGE}'")
        if not 0 <= self.noise_low < self.noise_high:
            raise ValueError("field 'noise_high' must be greater than 'noise_low'")
        controls = (self.bos, self.suffix, self.prefix, self.gap_end, self.gap_more, *self.pads)
        if len(set(controls)) != len(controls):
            raise ValueError("field 'pads' and the other control ids must all differ")
        if any(self.noise_low <= control < self.noise_high for control in (*controls, *self.languages.values())):
            raise ValueError("field 'noise_low' to 'noise_high' must not include a control id")
        if not self.canvas_buckets or list(self.canvas_buckets) != sorted(set(self.canvas_buckets)):
            raise ValueError("field 'canvas_buckets' must be a rising list of at least one length")
        if self.canvas_buckets[0] < 2 or self.max_prompt_tokens < 8:
            raise ValueError("field 'canvas_buckets' must start at 2 or more and 'max_prompt_tokens' at 8 or more")
        if not 0.0 <= self.confidence_floor <= 1.0:
            raise ValueError(f"field 'confidence_floor' is {self.confidence_floor}, expected 0 to 1")
        return self

    def prompt(self, language_id: str, prefix_ids: Sequence[int], suffix_ids: Sequence[int]) -> list[int]:
        """Token ids that the encoder reads: `bos, language, <|suffix|> suffix..., <|prefix|> prefix...`."""
        language = self.languages.get(language_id, self.languages[FALLBACK_LANGUAGE])
        return [self.bos, language, self.suffix, *suffix_ids, self.prefix, *prefix_ids]

    def canvas(self, gap_ids: Sequence[int], length: int) -> list[int]:
        """The clean canvas of `length` tokens: gap, end token, pads; a gap too long is cut and ends in `gap_more`."""
        if len(gap_ids) >= length:
            return [*gap_ids[: length - 1], self.gap_more]
        padding = (self.pads[index % len(self.pads)] for index in range(length - len(gap_ids) - 1))
        return [*gap_ids, self.gap_end, *padding]

    def gap(self, canvas_ids: Sequence[int]) -> tuple[list[int], bool]:
        """The ids before the first control id, and whether that control id was `gap_end`."""
        for index, token in enumerate(canvas_ids):
            if not self.noise_low <= token < self.noise_high:
                return list(canvas_ids[:index]), token == self.gap_end
        return list(canvas_ids), False


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"field '{name}' must be a whole number >= 0")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"field '{name}' must be a number")
    return float(value)


def _string(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"field '{name}' must be a string")
    return value


def _integers(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list):
        raise ValueError(f"field '{name}' must be a list of whole numbers")
    return tuple(_integer(name, entry) for entry in value)


def _integer_map(name: str, value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise ValueError(f"field '{name}' must map names to whole numbers")
    return {_string(name, key): _integer(name, entry) for key, entry in value.items()}


_READERS: Mapping[str, Any] = {
    "version": _integer,
    "format": _string,
    "bos": _integer,
    "suffix": _integer,
    "prefix": _integer,
    "gap_end": _integer,
    "gap_more": _integer,
    "pads": _integers,
    "languages": _integer_map,
    "noise_low": _integer,
    "noise_high": _integer,
    "canvas_buckets": _integers,
    "max_prompt_tokens": _integer,
    "confidence_floor": _number,
    "calibration": Calibration.from_json,
}
_OPTIONAL = {"calibration"}
