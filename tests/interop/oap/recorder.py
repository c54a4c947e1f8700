# SPDX-License-Identifier: Apache-2.0
"""A TCP relay that changes nothing and keeps what the client said, to be read as gRPC calls afterwards."""

import gzip
import socket
import struct
import threading

import hpack
import hyperframe.frame
from rig import listener

PREFACE = 24  # bytes


class Recorder:
    """Listens on .port, relays to the given port of 127.0.0.1, each connection anew."""

    def __init__(self, to_port):
        self.to_port, self.said, self.lock = to_port, [], threading.Lock()
        self.listener = listener.Listener(
            lambda sock: threading.Thread(target=self._relay, args=(sock,), daemon=True).start())
        self.port = self.listener.port

    def close(self):
        self.listener.close()

    def _relay(self, client):
        try:
            server = socket.create_connection(("127.0.0.1", self.to_port), 60)
        except OSError:
            client.close()  # as if nobody listened
            return
        server.settimeout(None)
        said = bytearray()
        with self.lock:
            self.said.append(said)
        threading.Thread(target=self._copy, args=(server, client, None), daemon=True).start()
        self._copy(client, server, said)

    def _copy(self, here, there, keep):
        try:
            while data := here.recv(65536):
                if keep is not None:
                    with self.lock:
                        keep += data
                there.sendall(data)
        except OSError:
            pass
        for end in (here, there):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def calls(self, path):
        """[(headers, [message])] of each call of this path that was ended by the client, in order."""
        with self.lock:
            said = [bytes(s) for s in self.said]
        return [call for s in said for call in _calls(s, path)]


def _frames(data):
    at = PREFACE
    while at + 9 <= len(data):
        frame, size = hyperframe.frame.Frame.parse_frame_header(memoryview(data)[at:at + 9])
        if at + 9 + size > len(data):
            return
        frame.parse_body(memoryview(data)[at + 9:at + 9 + size])
        yield frame
        at += 9 + size


def _messages(data, encoding):
    found = []
    while len(data) >= 5:
        compressed, size = struct.unpack(">BI", data[:5])
        message, data = data[5:5 + size], data[5 + size:]
        if compressed and encoding != "gzip":
            raise ValueError(f"a message in {encoding}")
        found.append(gzip.decompress(message) if compressed else message)
    return found


def _calls(data, path):
    decoder, streams, found = hpack.Decoder(), {}, []
    for frame in _frames(data):
        if isinstance(frame, (hyperframe.frame.HeadersFrame, hyperframe.frame.ContinuationFrame)):
            block, _, _ = streams.setdefault(frame.stream_id, [b"", {}, bytearray()])
            streams[frame.stream_id][0] = block + frame.data
            if "END_HEADERS" in frame.flags:
                streams[frame.stream_id][1] = dict(decoder.decode(streams[frame.stream_id][0]))
        elif isinstance(frame, hyperframe.frame.DataFrame) and frame.stream_id in streams:
            streams[frame.stream_id][2] += frame.data
        if "END_STREAM" in frame.flags and frame.stream_id in streams:
            _, headers, body = streams.pop(frame.stream_id)
            if headers.get(":path") == path:
                found.append((headers, _messages(bytes(body), headers.get("grpc-encoding"))))
    return found
