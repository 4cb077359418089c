"""Fetching one large file from a server that may be slow, stall or break off."""

import logging
import sys
import time
from collections.abc import Generator
from http.client import HTTPException
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from resexp.system.logs import SECONDS_BETWEEN_LINES

log = logging.getLogger("resexp")

MOST_BYTES = 200_000_000
"""Of a file; the largest that is fetched, that of CIFAR-10, has 170 MB."""
STALL = 15.0
"""Seconds without a byte after which a connection is given up; a slow one that keeps sending is not."""
PAUSES = (1.0, 3.0)
"""Seconds before each further try; after a try that brought new bytes, all of them are left again."""
PATIENCE = 40.0
"""Seconds without a new byte after which no further try is made."""


class UnreachableError(Exception):
    """Why nothing comes from a URL, in a few words."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error.reason if type(error) is URLError else error))
        refused = isinstance(error, HTTPError) and 400 <= error.code < 500 and error.code not in (408, 429)
        self.final = refused or isinstance(error, ValueError)


def download(url: str, file: BinaryIO) -> None:
    """Copy what lies at `url`, at most `MOST_BYTES`, into an empty file.

    After a broken connection only the rest is asked for, if the server can send that. Raises UnreachableError within
    about a minute where nothing comes, at once where more comes, and OSError where the file cannot be written.
    """
    furthest, tries, last_heard = 0, 0, time.monotonic()
    while True:
        try:
            for chunk in _receive(url, file):
                file.write(chunk)
            return
        except UnreachableError as error:
            if file.tell() > furthest:
                furthest, tries, last_heard = file.tell(), 0, time.monotonic()
            enough = tries == len(PAUSES) or time.monotonic() - last_heard > PATIENCE
            if enough or error.final or url.startswith("file:"):
                raise
            log.info("%s: %s; trying again", url, error)
        time.sleep(PAUSES[tries])
        tries += 1


def _receive(url: str, file: BinaryIO) -> Generator[bytes, None, None]:
    """The rest of `file`; the whole, once `file` is emptied, where the server cannot begin in the middle."""
    headers = {"User-Agent": "resexp"} | ({"Range": f"bytes={file.tell()}-"} if file.tell() else {})
    try:
        with urlopen(Request(url, headers=headers), timeout=STALL) as response:
            if response.status != 206:
                file.seek(0)
                file.truncate()
            length = response.headers["Content-Length"]
            start, total, last_line = file.tell(), file.tell() + int(length) if length else None, time.monotonic()
            name = url.rpartition("/")[2]
            bar = tqdm(desc=name, initial=start, total=total, unit="B", unit_scale=True, disable=None, file=sys.stderr)
            with bar:
                while chunk := response.read(1 << 14):
                    yield chunk
                    bar.update(len(chunk))
                    if bar.disable and time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
                        last_line = time.monotonic()
                        log.info("%s: %.1f of %s MB", name, file.tell() / 1e6, f"{total / 1e6:.1f}" if total else "?")
                    if file.tell() > MOST_BYTES:
                        raise ValueError(f"more than {MOST_BYTES / 1e6:.0f} MB, which is not the archive")
            if total and file.tell() < total:
                raise ConnectionError(f"the connection ended after {file.tell()} of {total} bytes")
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise UnreachableError(error) from error
