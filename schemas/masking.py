"""Text that leaves the process without what must not be in it: no password, no key, no command to a terminal.

Data is never changed: a setting that holds a password is refused where it comes in. Masked is what is said: messages of
errors, log lines, artifacts and the last line of a command.
"""

import logging
import os
import re
from base64 import b64encode
from collections.abc import Callable, Set
from typing import Any, Final
from urllib.parse import quote

HIDDEN: Final = "***"

MIN_SECRET: Final = 6
"""Characters of a secret that is looked for, at least: a shorter one, as "none", is part of ordinary words."""

LONG_SECRET: Final = 12
"""Characters of a secret from which on a setting cannot hold it by chance."""

_SECRET_VARIABLE: Final = re.compile(r"(^|_)TOKEN$|PASSW(OR)?D$|SECRET|API_?KEY|ACCESS_?KEY|AUTH_STRING", re.I)
"""Names of environment variables whose values are secrets."""

_NOT_SECRET: Final = re.compile(r"true|false|[\d.]+|(/|~|\./)\S*", re.I)
"""Values of such variables that are none: switches, numbers, paths."""

_OF_QUERIES: Final = (
    r"(?:[\w.-]{0,30}(?:token|secret|signature|credential|passw(?:or)?d|api[_-]?key|accesskeyid)|sig|auth|key|pwd)"
)
"""Names of a url's parameters that hold secrets, those of signed urls among them."""

_OF_URLS: Final = (
    r"(?<!\w)(?!github:)(\w[\w+.-]{0,30}://)[^\s/@:\[]{0,100}:(?!:|\d{0,5}(?:[/?#]|$))\S{0,200}(?=@)",
    r"(?<!\w)(https?://)[^\s/@?#]{1,200}(?=@)",
    rf"([?&;]{_OF_QUERIES}=)[^\s&;#\"'<>]+",
)
"""User and password, of http a user alone too, which is a token; parameters. ``github://org:repo@branch`` has none. All
repetitions are bounded, so that any text is read in linear time."""

_OF_TEXT: Final = (
    r"\b(passw(?:or)?d\s{0,3}=\s{0,3})[^\s,;)]+",
    r"\b(authorization[\"']?\s{0,3}[:=]\W{0,3}(?:\w{1,20} )?)[\w.~+/=*-]+",
    r"\b(bearer )(?=\S{0,99}\d)[\w.~+/=-]{8,}",
)

_PATTERNS: Final = [re.compile(pattern, re.IGNORECASE) for pattern in (*_OF_URLS, *_OF_TEXT)]

_WITHOUT_SECRET: Final = re.sub(
    r"(?<!\\)[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", rf"^(?!.*(?:{'|'.join(_OF_URLS)}))"
)
"""The same as a JSON schema can say it, which knows no flag for both cases."""

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys, what turns the direction of a line, and halves of characters, which no UTF-8 holds."""

_UNWRITABLE: Final = re.compile(r"[\x00\ud800-\udfff]")

MOST_SHOWN: Final = 200
"""Characters of a value that a message shows."""

_known: set[str] = set()


def keep_secret(value: str) -> None:
    """Have a secret masked from now on, whatever text it is in, as it is and as urls and headers spell it."""
    if len(value) >= MIN_SECRET:
        _known.update({value, quote(value, safe=""), b64encode(value.encode()).decode()})


def mask(text: str) -> str:
    r"""Return a text as it may be shown: passwords, keys and tokens hidden, control characters written out.

    >>> mask("reading ftp://me:pass@host/a.txt and s3://b/c?X-Amz-Signature=ab1&part=2")
    'reading ftp://***@host/a.txt and s3://b/c?X-Amz-Signature=***&part=2'
    >>> mask("Authorization: Bearer abc at http://host:8000/v1: \x1b[2J")
    'Authorization: Bearer *** at http://host:8000/v1: \\x1b[2J'
    """
    return write_out(hide_secrets(text))


def masker() -> Callable[[str], str]:
    """Return ``mask`` with the secrets that are known now: for the thousands of texts of one page."""
    secrets = _known | _of_environment()
    return lambda text: write_out(hide_secrets(text, secrets))


def hide_secrets(text: str, secrets: Set[str] | None = None) -> str:
    """Return a text without passwords, keys and tokens.

    Args:
        secrets: Secrets of this process. Default: those that are known now.
    """
    for secret in sorted(_known | _of_environment() if secrets is None else secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


def write_out(text: str) -> str:
    r"""Return a text whose control characters are written out; lines and tabs stay.

    >>> write_out("a\tb\r\n\x1b[31mred \u202egpj.exe")
    'a\tb\n\\x1b[31mred \\u202egpj.exe'
    """
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def mask_logs(names: tuple[str, ...] = ("",)) -> None:
    """Mask what is logged in this process from now on, tracebacks too.

    Args:
        names: Beginnings of the loggers' names; "" is all.
    """
    make: Any = logging.getLogRecordFactory()

    def masked(name: str | None, *arguments: Any, **more: Any) -> logging.LogRecord:
        record: logging.LogRecord = make(name, *arguments, **more)
        return _masked(record) if (name or "").startswith(names) else record

    logging.setLogRecordFactory(masked)


def has_secret(url: str) -> bool:
    """Tell whether a url has a password, or a parameter that is a secret, or any text a key of the environment.

    >>> [has_secret(url) for url in ("sftp://me@host/a", "github://org:repo@main/a", "http://host:80/a@b", "a:b@c")]
    [False, False, False, False]
    >>> [has_secret(url) for url in ("zip://a::ftp://me:pass@host/b.zip", "https://token@host/a", "az://c/a?sig=x")]
    [True, True, True]
    """
    is_known = any(secret in url for secret in _known | _of_environment() if len(secret) >= LONG_SECRET)
    return is_known or any(pattern.search(url) for pattern in _PATTERNS[: len(_OF_URLS) + 1])


def refuse_secrets(value: Any) -> Any:
    """Return the value of a setting; a password in it is refused, in a list or below a name too.

    Raises:
        ValueError: A url or a connection string in it has a password or a token.
    """
    if isinstance(value, str) and has_secret(value):
        raise ValueError(
            f"{mask(value)} has a password or a token in it; an address without one is allowed, because it stands in "
            "the store, in logs and on pages. The key of a server is named by api_key_variable; what fsspec needs "
            "stands in an environment variable such as FSSPEC_FTP_PASSWORD or AWS_SECRET_ACCESS_KEY"
        )
    if isinstance(value, list | tuple | dict):
        for one in value.values() if isinstance(value, dict) else value:
            refuse_secrets(one)
    return value


def refuse_unwritable(value: Any) -> Any:
    r"""Return the value of a setting; one with a character that can stand in no name and no JSON is refused.

    >>> refuse_unwritable({"a": ["\ud800"]})
    Traceback (most recent call last):
    ValueError: '\ud800' holds \ud800, which can stand in no name; any other character is allowed

    Raises:
        ValueError: A text in it holds a null, or half of a character: a byte that is not UTF-8 is read as one.
    """
    if isinstance(value, str) and (found := _UNWRITABLE.search(value)):
        raise ValueError(
            f"'{mask(value)[:MOST_SHOWN]}' holds {write_out(found[0])}, which can stand in no name; any other "
            "character is allowed"
        )
    if isinstance(value, list | tuple | dict):
        for one in value.values() if isinstance(value, dict) else value:
            refuse_unwritable(one)
    return value


def forbid_secrets(schema: dict[str, Any]) -> None:
    """Have a JSON schema say the same: Prefect's server then refuses a run before it stores the run's parameters."""
    for field in schema.get("properties", {}).values():
        for one in (field, field.get("items", {}), *field.get("anyOf", ())):
            if one.get("type") == "string" and not {"enum", "const", "pattern"} & set(one):
                one["pattern"] = _WITHOUT_SECRET


def _masked(record: logging.LogRecord) -> logging.LogRecord:
    try:
        said = record.getMessage()
    except Exception:
        return record  # logging itself says what is wrong with the call
    if (shown := mask(said)) != said:
        record.msg, record.args = shown, ()
    if record.exc_info and record.exc_info[0]:
        record.exc_text = mask(logging.Formatter().formatException(record.exc_info))
    return record


def _of_environment() -> set[str]:
    """Return the secrets that environment variables hold."""
    return {
        value
        for name, value in os.environ.items()
        if _SECRET_VARIABLE.search(name) and len(value) >= MIN_SECRET and not _NOT_SECRET.fullmatch(value)
    }
