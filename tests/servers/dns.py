"""A name server for tests: says what it was told, over UDP, to anybody who asks; it can keep silent, too."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

_TTL = 1


@dataclass
class NameServer:
    """Records by name and kind; a name with none of any kind does not exist, one that is `broken` gets SERVFAIL."""

    port: int
    records: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    is_silent: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """As the settings name it."""
        return f"127.0.0.1:{self.port}"

    def set(self, name: str, kind: str, *values: str) -> None:
        """Say this from now on; no values: say that there is nothing."""
        key = (name.lower(), kind)
        if values:
            self.records[key] = list(values)
        else:
            self.records.pop(key, None)

    def answer(self, packet: bytes) -> bytes | None:
        """What is sent back for one packet."""
        question = dns.message.from_wire(packet)
        asked = question.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(asked.rdtype)
        self.asked.append((name, kind))
        if self.is_silent:
            return None
        response = dns.message.make_response(question, recursion_available=True)
        if name in self.broken:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif not any(known == name for known, _kind in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            self._follow(response, name, kind)
        return response.to_wire()

    def _follow(self, response: dns.message.Message, name: str, kind: str) -> None:
        for _hop in range(5):
            alias = self.records.get((name, "CNAME"))
            wanted = "CNAME" if alias and kind != "CNAME" else kind
            values = alias if wanted == "CNAME" else self.records.get((name, kind))
            if not values:
                return
            response.answer.append(dns.rrset.from_text(f"{name}.", _TTL, "IN", wanted, *values))
            if wanted == kind:
                return
            name = values[0].rstrip(".").lower()


@contextlib.contextmanager
def running() -> Iterator[NameServer]:
    """A name server on a free port; it ends with the test."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        server = NameServer(sock.getsockname()[1])
        stopping = threading.Event()

        def serve() -> None:
            while not stopping.is_set():
                try:
                    packet, sender = sock.recvfrom(4096)
                except TimeoutError:
                    continue
                answer = server.answer(packet)
                if answer is not None:
                    sock.sendto(answer, sender)

        sock.settimeout(0.1)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            stopping.set()
            thread.join()
