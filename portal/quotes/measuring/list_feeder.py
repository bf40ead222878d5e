"""Takes the two long lists of a mesh past the XML parser, where their bytes are certain to mean the same without it."""

from collections.abc import Iterable
from typing import Protocol

from portal.quotes.measuring.xml_reader import XmlReader

# The tag's beginning, and the longest form of it that the fast way waits for.
_LISTS = (b"<vertices", b"<triangles")
_LONGEST_TAG = 64 * 1024


class Lists(Protocol):
    """What understands the elements, and can read pieces of a list itself."""

    # The list we are in, from its opening tag to its closing one.
    list: str | None

    @property
    def is_in_list(self) -> bool:
        """Whether the innermost open element is the list itself."""

    def take_plain(self, piece: bytes) -> bool:
        """Read a piece of the list the fast way; False when it is not plain."""


class ListFeeder:
    """Takes the inside of the two long lists past the XML parser, where that is certain to mean the same."""

    def __init__(self, reader: XmlReader, handler: Lists) -> None:
        self._reader = reader
        self._handler = handler
        self._waiting = b""
        self._at = 0
        # The parser stands between two elements of a list, in no comment and no tag.
        self._is_between = False

    def run(self, pieces: Iterable[bytes]) -> None:
        """Feed everything."""
        for piece in pieces:
            self._waiting = self._waiting[self._at :] + piece
            self._at = 0
            while self._at < len(self._waiting) and self._step():
                pass
        self._feed(len(self._waiting))

    def _step(self) -> bool:
        """Use up some of what waits; False when more is needed."""
        if self._is_between:
            return self._read_list()
        if self._handler.list is not None:
            return self._find_the_way_back()
        return self._seek_list()

    def _seek_list(self) -> bool:
        """Feed the parser until a list has begun, and not one byte further."""
        places = [place for place in (self._waiting.find(tag, self._at) for tag in _LISTS) if place >= 0]
        if not places:
            # The last bytes may be the beginning of a list's tag.
            self._feed(max(len(self._waiting) - len(_LISTS[1]), self._at))
            return False
        place = min(places)
        end = self._waiting.find(b">", place)
        if end < 0:
            if len(self._waiting) - place <= _LONGEST_TAG:
                return False
            end = len(self._waiting) - 1
        tag = self._reader.fed + place - self._at
        self._feed(end + 1)
        # In a comment, or with a ">" in a value, no list has begun right here.
        self._is_between = self._handler.list is not None and self._reader.last_start == tag
        return True

    def _read_list(self) -> bool:
        """One piece of a list: the fast way if it is plain."""
        cut = self._waiting.rfind(b"/>", self._at) + 2
        if cut >= 2 and self._handler.take_plain(self._waiting[self._at : cut]):
            self._at = cut
            return True
        # Not plain, or the list's end is in it; only now is it worth looking for that.
        end = self._waiting.find(b"</", self._at)
        if end < 0 and cut < 2:
            return self._too_long()
        if end < 0:
            self._feed_elements(cut)
            return True
        if end > self._at:
            if self._handler.take_plain(self._waiting[self._at : end]):
                self._at = end
            else:
                self._feed_elements(end)
        # The closing tag, or a comment's text that looks like one: the parser's in any case.
        self._is_between = False
        return True

    def _find_the_way_back(self) -> bool:
        """The parser reads on to the end of some element; whether that is one of the list's own, it will have said."""
        if self._waiting.startswith(b"</", self._at):
            # Most often the list's end, and behind it the next list begins.
            cut = self._waiting.find(b">", self._at) + 1
        else:
            cut = self._waiting.rfind(b"/>", self._at) + 2
        if cut <= self._at:
            return self._too_long()
        self._feed_elements(cut)
        return True

    def _feed_elements(self, cut: int) -> None:
        last = self._reader.fed + self._waiting.rfind(b"<", self._at, cut) - self._at
        self._feed(cut)
        # An element began there and has ended since, and no other "<" follows that could have begun a comment.
        self._is_between = self._handler.is_in_list and self._reader.last_start == last

    def _too_long(self) -> bool:
        """No element ends in what waits: wait for more, or leave a long stretch to the parser."""
        if len(self._waiting) - self._at > _LONGEST_TAG:
            self._feed(len(self._waiting))
            self._is_between = False
        return False

    def _feed(self, end: int) -> None:
        if end > self._at:
            self._reader.feed(memoryview(self._waiting)[self._at : end])
            self._at = end
