"""The text of a file that the user gave."""

from pathlib import Path

from .errors import UnreadableFile


def read_given(path: Path) -> str:
    """The text of a file.

    Raises:
        UnreadableFile: it is not there, a folder, not to be opened, or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UnreadableFile(path, "there is no such file") from None
    except IsADirectoryError:
        raise UnreadableFile(path, "it is a folder") from None
    except OSError as error:
        raise UnreadableFile(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise UnreadableFile(path, f"it is not UTF-8 (byte {error.start})") from error
