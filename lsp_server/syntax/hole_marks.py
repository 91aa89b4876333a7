"""The words that mark a hole, in whatever language, and those which say that an empty place is meant to be empty."""

from __future__ import annotations

import re

CANDIDATE = re.compile(
    rb"""
      \.\.\. | \bpass\b | \b(?:TODO|FIXME)\b | \{\s*\} | (?<=[\s;]):(?=[ \t]*(?:$|;|\}))
    | (?i:not.?(?:yet.?)?implemented | unimplemented | \btodo!?\b | unsupportedoperation | not[ ]supported[ ]yet)
    """,
    re.VERBOSE | re.MULTILINE,
)
"""Where a hole may be, for the tree to decide: one pass over the bytes is cheaper than a walk over the nodes."""

_MESSAGE = (
    rb"(?i:[\w .:#]{0,30}\b"
    rb"(?:not[ ](?:yet[ ])?implemented|unimplemented|todo|fixme|implement[ ]me|not[ ]supported[ ]yet)\b[\w .!,:]{0,60})"
)
UNFINISHED = re.compile(
    rb"(?i:(?:not|n't)[ ](?:yet[ ])?(?:been[ ])?(?:implemented|written|done)|unimplemented|to[ -]?do\b|fixme|\byet\b)"
)
"""What the message of an exception says that is there because there is nothing else yet."""

_QUOTED = rb"[\"'`]" + _MESSAGE + rb"[\"'`]"

STATEMENT = re.compile(
    rb"""
      \.\.\. | pass | :
    | raise[ (]\s*NotImplementedError\b .*
    | (?:return\s+)?(?:todo|unimplemented)!\s*[(\[{].*[)\]}]
    | throw\s+(?:new\s+)?[\w.:\\]*(?:NotImplemented|UnsupportedOperation)\w*\s*(?:\(.*\)|\{.*\})?
    | (?:throw\s+(?:new\s+)?[\w.:\\]+|panic|error|raise(?:\s+[\w:]+\s*,)?|die|fail|abort)[\s(]*"""
    + _QUOTED
    + rb"""[\s)]*
    | return\s+(?:[\w.{}"]+\s*,\s*)*(?:errors\.New|fmt\.Errorf|new\s+Error)\("""
    + _QUOTED
    + rb"""\)
    """,
    re.VERBOSE | re.DOTALL,
)
"""A whole statement, without its semicolon, that stands for one not yet written."""

EXPRESSION = re.compile(
    rb"(?:todo)!\s*[(\[{].*[)\]}]|unimplemented!\s*[(\[{]\s*[)\]}]|throw\s+new\s+[\w.]*NotImplementedException\s*\(.*\)",
    re.DOTALL,
)
"""A whole expression that does."""

TODO = re.compile(r"\W*(?:TODO\b|FIXME\b(?=.*\b(?:implement|missing|write|fill|finish|complete)\w*))", re.DOTALL)
"""What a comment begins with that is a note of what is to do."""

ASKS_FOR_CODE = re.compile(
    r"\b(?:TODO|FIXME)\b(?:\([^)\n]*\))?[:\s-]*?"
    r"(?:$|(?:[\w']+\s){0,3}?(?:implement|write|fill|finish|complete|create|define|your|code here)\b)",
    re.IGNORECASE | re.MULTILINE,
)
"""A note that asks for what is not there, rather than one on what is."""

MEANT = re.compile(
    r"\bno[- ]?op\b|(?:do|does|doing) nothing|nothing to (?:do|see)|intentional|deliberate|on purpose|"
    r"subclass|sub-class|overrid(?:e|den)|abstract|derived class|must (?:be )?implement|should (?:be )?implement|"
    r"needs? to (?:be )?implement|be implemented by|not supported(?! yet)|unsupported|does ?n[o']t support|"
    r"no cover|noqa|(?:left|leave|be) empty|\bstub\b|dummy|\bhook\b|"
    r"not (?:needed|required|necessary|used)|\bunused\b|backwards?[- ]compat",
    re.IGNORECASE,
)
"""Whoever wrote this near an empty place does not wait for somebody to fill it."""

MEANT_NAME = re.compile(
    r"(?i:no_?op|null|dummy|stub|mock|fake|empty|placeholder|abstract)|"
    r"Base[A-Z_]|Base$|Mixin|Interface|Protocol|Adapter|(?:^|_)I[A-Z][a-z]"
)
"""A class or a function of such a name has its empty bodies for good."""
