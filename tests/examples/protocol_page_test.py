"""docs/protocol.md against what it describes: the .proto file, the error numbers, and a server that is sent its example.

    protocol_page_test.py DIRECTORY_OF_PROGRAMS
"""

import os
import re
import socket
import subprocess
import sys
import unittest

PROGRAMS = ""
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def section(number):
    page = read("docs/protocol.md")
    return page[page.index(f"## {number}. "):].split("\n## ", 1)[0]


def fields_of(message):
    """A message's bytes as [(number, value)]: varints as numbers, the rest as bytes."""

    def varint(at):
        value = shift = 0
        while True:
            value |= (message[at] & 0x7F) << shift
            shift += 7
            at += 1
            if message[at - 1] < 0x80:
                return value, at

    fields, at = [], 0
    while at < len(message):
        tag, at = varint(at)
        value, at = varint(at)
        if tag & 7 == 2:
            value, at = message[at:at + value], at + value
        fields.append((tag >> 3, value))
    return fields


class Page(unittest.TestCase):
    def test_messages_are_those_of_the_proto_file(self):
        said = {}
        for names, fields in re.findall(r"(?m)^\| (\*\*.+?\*\*) \| (.*) \|$", section(12)):
            fields = re.sub(r"\([^)]*\)", "", fields)
            found = {int(n): (name, kind.strip().rstrip("*")) for n, name, kind in
                     re.findall(r"(?:^|, )(?:and )?(\d+) (\w+) ((?:repeated )?(?:map<string, string>|\w+))", fields)}
            for name in re.findall(r"\*\*(\w+)\*\*", names):
                said[name] = found
        said["SyncPage"] = said["HistoryPage"] | {9: ("live_from", "uint64")}
        self.assertEqual(len(section(12).split("| **")) - 1 + 1, len(said))  # Join and Leave share a row

        meant = {}
        for name, body in re.findall(r"(?s)message (\w+) \{(.*?)\n?\}", re.sub(r"//[^\n]*", "", read("src/protocol/chatcore.proto"))):
            meant[name] = {int(n): (field, kind) for kind, field, n in
                           re.findall(r"((?:repeated )?(?:map<string, string>|\w+)) (\w+) = (\d+);", body)}
        for apart in ("ClientFrame", "ServerFrame", "StoredRecord"):
            del meant[apart]
        self.maxDiff = None
        self.assertEqual(said, meant)

    def test_envelopes_are_those_of_the_proto_file(self):
        proto = read("src/protocol/chatcore.proto")
        rows = re.findall(r"(?m)^\| (\d+) \| (\w+) \| (\w+) \|", section(4))
        for number, name, kind in rows:
            self.assertRegex(proto, rf"(?m)^  {kind} {name} = {number};")
        self.assertEqual(len(rows), 12)

    def test_errors_are_those_of_the_library(self):
        rows = re.findall(r"(?m)^\| (\d+) \| (\w+) \| (yes|no) \|", section(13))
        numbers = dict(re.findall(r"(?m)^  (\w+) = (\d+),", read("include/chatcore/result.h")))
        del numbers["ok"]
        self.assertEqual({name: number for number, name, _ in rows}, numbers)
        source = read("src/protocol/errors.cpp")
        retryable = set(re.findall(r"case ErrorCode::(\w+):", source[source.index("is_retryable"):]))
        self.assertEqual({name for _, name, retry in rows if retry == "yes"}, retryable)

    def test_requests_are_those_of_the_library(self):
        rows = re.findall(r"(?m)^\| (\d+) \| (\w+) \| \w+ \|", section(11))
        header = read("include/chatcore/request.h")
        header = header[header.index("enum class RequestId"):].split("};", 1)[0]
        numbers = {name.replace("_", ""): number for name, number in re.findall(r"(\w+) = (\d+),", header)}
        self.assertEqual({name.lower(): number for number, name in rows}, numbers)

    def test_the_example_is_what_happens(self):
        frames = []
        for block in re.findall(r"(?s)```\n(.*?)```", section(16)):
            for frame in block.split("\n\n"):
                lines = [re.match(r"\s*((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:\s{2,}|$)", line).group(1)
                         for line in frame.splitlines()]
                data = bytes.fromhex(" ".join(lines))
                self.assertEqual(int.from_bytes(data[:4], "big"), len(data) - 4, frame)
                frames.append(data)
        login, logged_in, send, accepted, event, checkpoint, refused = frames
        self.assertIn("00 00 00 04  08 04  10 41", section(16))
        ping = bytes.fromhex("000000040804 1041")

        command = [os.path.join(PROGRAMS, "chat_server"), "--port", "0", "--memory", "--insecure-dev-auth"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                while not (found := re.match(r"listening on (\S+):(\d+)", server.stdout.readline())):
                    self.assertIsNone(server.poll())
                alice, bob = (socket.create_connection((found.group(1), int(found.group(2))), 20) for _ in range(2))
                with alice, bob:
                    self.play(alice, bob, login, send, ping, logged_in, accepted, event, checkpoint)
            finally:
                server.kill()
        self.assertEqual(dict(fields_of(refused[4:])).keys(), {1, 2})

    def play(self, alice, bob, login, send, ping, logged_in, accepted, event, checkpoint):
        bob.sendall(login.replace(b"\x0f\x08", b"\x0d\x08").replace(b"\x1a\x09", b"\x1a\x07").replace(b"\x05alice", b"\x03bob"))
        self.assertEqual(dict(fields_of(dict(fields_of(self.receive(bob)))[3]))[2], b"bob")
        alice.sendall(login)
        self.same_fields(self.receive(alice), logged_in[4:], 3)
        alice.sendall(send)
        answer = self.receive(alice)
        self.same_fields(answer, accepted[4:], 3)
        conversation = dict(fields_of(dict(fields_of(answer))[3]))[1]
        self.assertEqual(conversation[:1], b"~")
        pushed = self.receive(bob)
        self.same_fields(pushed, event[4:], 4)
        self.assertEqual(dict(fields_of(dict(fields_of(pushed))[4]))[16], dict(fields_of(dict(fields_of(event[4:]))[4]))[16])
        self.same_fields(self.receive(bob), checkpoint[4:])
        alice.sendall(ping)
        while 1 not in dict(fields_of(answer := self.receive(alice))):
            pass  # a checkpoint
        self.assertEqual(dict(fields_of(answer))[1], 4)
        alice.sendall(b"\x00\x00\x00\x02\x10\x01")  # no call
        closed = dict(fields_of(self.receive(alice)))
        self.assertEqual(dict(fields_of(closed[8]))[1], 21)
        self.assertEqual(alice.recv(1), b"")
        bob.sendall(b"\x00\x00\x00\x00")
        while bob.recv(100):
            pass

    def same_fields(self, real, shown, inside=None):
        self.assertEqual([n for n, _ in fields_of(real)], [n for n, _ in fields_of(shown)])
        if inside:
            self.assertEqual([n for n, _ in fields_of(dict(fields_of(real))[inside])],
                             [n for n, _ in fields_of(dict(fields_of(shown))[inside])])

    def receive(self, connection):
        def exactly(count):
            data = b""
            while len(data) < count:
                part = connection.recv(count - len(data))
                self.assertTrue(part, "the server closed the connection")
                data += part
            return data

        return exactly(int.from_bytes(exactly(4), "big"))


if __name__ == "__main__":
    PROGRAMS = sys.argv.pop(1)
    unittest.main(verbosity=2)
