"""A host in the test's own process: what a worker's other end says and hears.

Owns gRPC over an inherited socket, the frames that the tests need, and shared memory as a host
keeps it: segments, what a worker was lent and granted, and poison for what is released, so that a
reader which still looks is found out. Frames are written by hand, which shows what is on the wire.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import h2.config
import h2.connection
import h2.events
import msgpack

from snakepit._native import contract, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE_BYTES = 4096
MAGIC = 0x534E_4B31
POISON = 0xDB
THRESHOLD = 64 * 1024
# How long the worker may take for anything; the load may be high.
PATIENCE = 45.0

HELLO, RESULT, ERROR, CHUNK, CHUNK_END, TOOL_CALL = 1, 2, 3, 4, 5, 7
REVOKED, SHM_RELEASE, FRAGMENT, SHM_WANT = 9, 10, 15, 19
WELCOME, CALL, CANCEL, REVOKE, CREDIT, TOOL_RESULT, SHM_GRANT, SHUTDOWN = 1, 2, 3, 4, 5, 6, 8, 12
HOST_FRAGMENT, SHM_REVOKE = 13, 17
MSGPACK = 1
# The field of each frame that holds a payload.
PAYLOAD_FIELD = {RESULT: 2, CHUNK: 3, TOOL_CALL: 4}


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(**fields: Any) -> bytes:
    """Writes a protobuf message; `f3=...` is field 3, a list is a repeated field."""
    out = bytearray()
    for name, value in fields.items():
        number = int(name[1:])
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, int):
                out += varint(number << 3) + varint(each)
            else:
                data = each.encode() if isinstance(each, str) else each
                out += varint(number << 3 | 2) + varint(len(data)) + data
    return bytes(out)


def fields_of(data: bytes) -> dict[int, list[Any]]:
    """Reads a protobuf message: the values of each field, nested messages as bytes."""
    fields: dict[int, list[Any]] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            value: Any = number()
        elif key & 7 == 2:
            length = number()
            value = data[at : at + length]
            at += length
        else:
            size = 8 if key & 7 == 1 else 4
            value = data[at : at + size]
            at += size
        fields.setdefault(key >> 3, []).append(value)
    return fields


class Segment:
    """Shared memory of the host's, mapped here to look at and to poison."""

    def __init__(self, number: int, size: int) -> None:
        self.number = number
        self.size = size
        self.generation = 1
        self.fd = os.memfd_create("segment", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, size)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self.memory = mmap.mmap(self.fd, size)

    def poison(self) -> None:
        self.memory[:] = bytes([POISON]) * self.size


class FakeHost:
    """One worker and everything it was given."""

    def __init__(
        self,
        adapter: object,
        *more: str,
        shm: bool = True,
        threshold: int = THRESHOLD,
        strict: bool = False,
        quota: int = 1 << 30,
    ) -> None:
        self.quota = quota
        # Held back until somebody says `answer_wants`, if set.
        self.slow_grants = False
        self.wants: list[tuple[int, int]] = []
        self.segments: dict[int, Segment] = {}
        self.handed_back: set[tuple[int, int]] = set()
        self.lent: list[tuple[int, int]] = []
        self.granted: dict[int, int] = {}
        self.frames: list[tuple[int, dict[int, list[Any]]]] = []
        self.on_tool: Callable[[dict[int, list[Any]]], None] | None = None
        self._last_call = 0
        self._last_payload = 0
        self._sent_descriptors: set[int] = set()
        self._partial: dict[int, tuple[int, dict[int, list[Any]], int, bytearray]] = {}
        self._buffer = b""
        self.wants_answered = 0
        self._start(adapter, more, shm)
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = h2.connection.H2Connection(config=config)
        self._h2.local_settings.max_frame_size = 1 << 20
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window((1 << 30) - 65535)
        self._stream = 0
        self.hello = self.wait(HELLO)
        self.send(
            WELCOME,
            message(
                f1=contract, f2="test", f4=1 << 30, f5=128 * 1024, f6=threshold, f7=int(strict)
            ),
        )

    def _start(self, adapter: object, more: tuple[str, ...], shm: bool) -> None:
        self.link, link = socket.socketpair()
        self.liveness, liveness = socket.socketpair()
        self.descriptors, descriptors = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control = os.memfd_create("control", os.MFD_ALLOW_SEALING)
        os.write(control, struct.pack("=I", MAGIC).ljust(PAGE_BYTES, b"\0"))
        fds = {
            "--link-fd": link.fileno(),
            "--liveness-fd": liveness.fileno(),
            "--control-fd": control,
        }
        if shm:
            fds["--shm-fd"] = descriptors.fileno()
        options = [part for name, fd in fds.items() for part in (name, str(fd))]
        self.worker = subprocess.Popen(
            [
                *(sys.executable, "-m", "snakepit.worker", "--worker-id", "w", "--pool", "p"),
                *("--adapter", str(adapter), *options, *more),
            ],
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(fds.values()),
            process_group=0,
        )
        for end in (link, liveness, descriptors):
            end.close()
        os.close(control)

    def close(self) -> int:
        """Has the worker shut down, and returns its exit code."""
        self.send(SHUTDOWN, b"")
        try:
            while True:
                self._receive(time.monotonic() + PATIENCE)
        except EOFError:
            pass
        code = self.worker.wait(PATIENCE)
        self.kill()
        return code

    def kill(self) -> None:
        self.worker.kill()
        self.worker.wait()
        for end in (self.link, self.liveness, self.descriptors):
            end.close()
        while self.segments:
            os.close(self.segments.popitem()[1].fd)

    # Frames.

    def send(self, frame: int, body: bytes) -> None:
        data = message(**{f"f{frame}": body})
        data = struct.pack(">BI", 0, len(data)) + data
        for at in range(0, len(data), 16384):
            self._h2.send_data(self._stream, data[at : at + 16384])
        self.link.sendall(self._h2.data_to_send())

    def wait(self, *kinds: int) -> dict[int, list[Any]]:
        """Waits for a frame of one of these kinds, and takes it."""
        return self.wait_for(lambda kind, _: kind in kinds)

    def wait_for(self, fits: Callable[[int, dict[int, list[Any]]], bool]) -> dict[int, list[Any]]:
        end = time.monotonic() + PATIENCE
        while True:
            for index, (kind, fields) in enumerate(self.frames):
                if fits(kind, fields):
                    del self.frames[index]
                    return fields
            self._receive(end)

    def settle(self, done: Callable[[], bool]) -> None:
        """Waits until the frames that come have made something true."""
        end = time.monotonic() + PATIENCE
        while not done():
            self._receive(end)

    def _receive(self, end: float) -> None:
        self.link.settimeout(max(0.01, end - time.monotonic()))
        data = self.link.recv(1 << 20)
        if not data:
            raise EOFError(f"the worker has ended the link, frames: {self.frames}")
        for event in self._h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self._stream = event.stream_id
                headers = [(":status", "200"), ("content-type", "application/grpc")]
                self._h2.send_headers(self._stream, headers)
                self._h2.increment_flow_control_window(1 << 29, self._stream)
            elif isinstance(event, h2.events.DataReceived):
                self._buffer += event.data
        self.link.sendall(self._h2.data_to_send())
        while len(self._buffer) >= 5:
            (length,) = struct.unpack(">I", self._buffer[1:5])
            if len(self._buffer) < 5 + length:
                return
            body, self._buffer = self._buffer[5 : 5 + length], self._buffer[5 + length :]
            for kind, values in fields_of(body).items():
                self._take(kind, fields_of(values[0]))

    def _take(self, kind: int, fields: dict[int, list[Any]]) -> None:
        if kind == FRAGMENT:
            kind, fields = self._fragment(fields[1][0], fields[3][0])
        elif kind in PAYLOAD_FIELD and PAYLOAD_FIELD[kind] in fields:
            payload = fields_of(fields[PAYLOAD_FIELD[kind]][0])
            # So many bytes follow.
            if 3 in payload:
                data = bytearray(payload.get(2, [b""])[0])
                self._note_handed_back(payload)
                self._partial[payload[4][0]] = (kind, fields, payload, data)
                return
            fields[PAYLOAD_FIELD[kind]] = [payload]
            self._note_handed_back(payload)
        if kind == SHM_RELEASE:
            for released in fields[1]:
                self._released(fields_of(released))
        elif kind == SHM_WANT:
            self.wants.append((fields[2][0], fields[1][0]))
            if not self.slow_grants:
                self.answer_wants()
        elif kind == TOOL_CALL and self.on_tool is not None:
            self.on_tool(fields)
        elif kind:
            self.frames.append((kind, fields))

    def _note_handed_back(self, payload: dict[int, list[Any]]) -> None:
        """Notes parts of what was lent, which has to be lent still when they come."""
        for reference in map(fields_of, payload.get(5, [])):
            part = (reference[1][0], reference[2][0])
            if self.granted.get(part[0]) != part[1]:
                assert part in self.lent, "it was lent, and is not given back yet"
                self.handed_back.add(part)

    def _fragment(self, number: int, more: bytes) -> tuple[int, dict[int, list[Any]]]:
        kind, fields, payload, data = self._partial[number]
        data += more
        if len(data) < payload[3][0]:
            return 0, {}
        del self._partial[number]
        payload[2] = [bytes(data)]
        fields[PAYLOAD_FIELD[kind]] = [payload]
        return kind, fields

    # Calls.

    def start(self, command: str, arguments: Any = None, **more: Any) -> int:
        """Sends a call whose arguments travel in the payload."""
        return self.start_with(command, message(f1=MSGPACK, f2=pack(arguments)), **more)

    def start_with(
        self, command: str, payload: bytes, *, streaming: bool = False, credit: int = 100
    ) -> int:
        self._last_call += 1
        body = message(
            f1=self._last_call, f2=command, f3=payload, f6=int(streaming), f7=credit * streaming
        )
        self.send(CALL, body)
        return self._last_call

    def result(self, call: int) -> Any:
        """Waits for a call's result, which is given as Python has it."""
        fields = self.wait_for(
            lambda kind, fields: kind in (RESULT, ERROR) and fields[1][0] == call
        )
        if 2 in fields and not isinstance(fields[2][0], dict):
            raise CallError(fields)
        return self.value(fields[2][0])

    def call(self, command: str, arguments: Any = None) -> Any:
        return self.result(self.start(command, arguments))

    def value(self, payload: dict[int, list[Any]]) -> Any:
        """A payload's value; what lies in shared memory is a `Shared`."""
        references = [fields_of(each) for each in payload.get(5, [])]
        for reference in references:
            use = number, generation = reference[1][0], reference[2][0]
            owned = self.granted.get(number) == generation
            assert owned or use in self.handed_back, "it is granted or lent, and this use of it"
            assert reference.get(3, [0])[0] % 64 == 0
        for number in {reference[1][0] for reference in references}:
            # From now on it is ours.
            self.granted.pop(number, None)
        return resolve(unpack_with_references(payload[2][0]), references, self.segments)

    def payload_of(self, data: bytes, *parts: bytes) -> bytes:
        """A payload with parts in shared memory, one segment each."""
        return message(f1=MSGPACK, f2=data, f5=[self.lend(part) for part in parts])

    def lend(self, part: bytes) -> bytes:
        """Puts bytes into a segment and lends it to the worker; gives the reference."""
        segment = self.segment(max(len(part), 1))
        segment.memory[: len(part)] = part
        self.lent.append((segment.number, segment.generation))
        self._send_descriptor(segment, writable=False)
        return message(f1=segment.number, f2=segment.generation, f4=len(part))

    def segment(self, size: int) -> Segment:
        number = len(self.segments) + 1
        size = max(THRESHOLD, 1 << (size - 1).bit_length())
        self.segments[number] = Segment(number, size)
        return self.segments[number]

    def _send_descriptor(self, segment: Segment, *, writable: bool) -> None:
        if segment.number in self._sent_descriptors:
            return
        self._sent_descriptors.add(segment.number)
        packet = struct.pack("<QQQ", segment.number, segment.size, int(writable))
        socket.send_fds(self.descriptors, [packet], [segment.fd])

    def _released(self, released: dict[int, list[Any]]) -> None:
        number, generation = released[1][0], released[2][0]
        if self.granted.get(number) == generation:
            del self.granted[number]
            return
        self.lent.remove((number, generation))
        if (number, generation) not in self.handed_back:
            self.segments[number].poison()

    # Grants.

    def answer_wants(self) -> None:
        for want, size in self.wants:
            if size > self.quota:
                self.send(SHM_GRANT, message(f2=want))
                continue
            self.quota -= size
            segment = self.segment(size)
            self.grant(segment, want)
        self.wants_answered = len(self.wants)
        self.wants.clear()

    def grant(self, segment: Segment, want: int = 0) -> None:
        """Grants a segment, for the first time or anew."""
        self._send_descriptor(segment, writable=True)
        self.granted[segment.number] = segment.generation
        entry = message(f1=segment.number, f2=segment.generation, f3=segment.size)
        self.send(SHM_GRANT, message(f1=[entry], f2=want))

    def grant_again(self, number: int) -> None:
        """The host is done with a result."""
        segment = self.segments[number]
        segment.generation += 1
        self.grant(segment)


class CallError(Exception):
    """A call that failed."""

    def __init__(self, fields: dict[int, list[Any]]) -> None:
        super().__init__(fields)
        self.kind: int = fields[2][0]
        self.message: str = fields.get(3, [b""])[0].decode()


class Shared:
    """A value in shared memory, as the host sees it."""

    def __init__(self, segment: Segment, reference: dict[int, list[Any]], body: list[Any]) -> None:
        self.number = segment.number
        self.generation = reference[2][0]
        self.offset = reference.get(3, [0])[0]
        self.data = bytes(segment.memory[self.offset : self.offset + reference[4][0]])
        self.kind: int = body[1]
        self.dtype: str = body[2] if len(body) > 2 else ""
        self.shape: tuple[int, ...] = tuple(body[3]) if len(body) > 2 else ()

    def __repr__(self) -> str:
        return f"Shared({self.number}, {self.kind}, {self.dtype}, {self.shape})"


class _Ext:
    def __init__(self, body: list[Any]) -> None:
        self.body = body


def unpack_with_references(data: bytes) -> Any:
    """Decodes MessagePack, keeping references to shared memory as they are."""

    def ext(code: int, body: bytes) -> Any:
        if code == 3:
            return _Ext(msgpack.unpackb(body))
        return unpack(msgpack.packb(msgpack.ExtType(code, body)))

    return msgpack.unpackb(data, ext_hook=ext, strict_map_key=False)


def resolve(value: Any, references: list[dict[int, list[Any]]], segments: Any) -> Any:
    if isinstance(value, _Ext):
        reference = references[value.body[0]]
        return Shared(segments[reference[1][0]], reference, value.body)
    if isinstance(value, list):
        return [resolve(each, references, segments) for each in value]
    if isinstance(value, dict):
        return {key: resolve(each, references, segments) for key, each in value.items()}
    return value


def shared(index: int, kind: int = 0, *array: Any) -> Any:
    """The extension value that names a part in shared memory."""
    return msgpack.ExtType(3, msgpack.packb([index, kind, *array]))


def packed(value: Any) -> bytes:
    """Encodes a value that may have such extension values in it."""
    return msgpack.packb(value)
