"""What the script does not play: broken rules, lost pushes, an idle client, a store that was restored.

docs/protocol.md sections 2, 3, 5, 6, 9, 10 and 14.
"""

import socket
import struct
import time

import wire
from client import Client
from wire import frame, put, varint

SECONDS = 10


class Raw:
    """A connection without any rules. As `user`: logged in."""

    def __init__(self, address, user=None):
        self._socket = socket.create_connection(address, timeout=SECONDS)
        self._inbox, self._call = bytearray(), 0
        if user:
            assert self.call("Login", version=1, token=user)["error"] is None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def send(self, data):
        self._socket.sendall(data)

    def frame(self):
        """The next ServerFrame; None: the server has closed the connection."""
        while (found := wire.take_frame(self._inbox)) is None:
            try:
                data = self._socket.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                return None
            self._inbox += data
        return found

    def call(self, name, **fields):
        return self.raw_call(wire.REQUESTS[name][0], wire.encode(name, fields))

    def raw_call(self, request, body, more=b""):
        """The answer to a call, whose ClientFrame has `more` after its fields."""
        self._call += 1
        self.send(frame(put(1, self._call) + put(2, request) + put(3, body) + more))
        while (found := self.frame()) and found["call"] != self._call:
            pass
        return found or {"error": {"code": "closed"}}


def code(answer):
    return answer["error"]["code"] if answer["error"] else 0


def end(raw):
    """The code of `closed`, once the connection is at its end."""
    found = 0
    while (last := raw.frame()) is not None:
        found = last["closed"]["code"] if last["closed"] else found
    return found


def check_worked_example(expect):
    """Section 16: the bytes that stand there."""
    login = wire.request_frame(1, "Login", {"version": 1, "token": "alice"})
    expect("the bytes of Login", login.hex(), "0000000f080110401a0908011205616c696365")
    send = wire.request_frame(2, "Send", {"to": {"direct": "bob"}, "content": {"text": "hi"},
                                          "key": {"source": "a1", "number": 1}})
    expect("the bytes of Send", send.hex(),
           "0000001b080210011a150a051203626f6212040a0268691a060a0261311001")
    accepted = wire.decode("Accepted", bytes.fromhex("0a037e643110011880c0e285e3682003"))
    expect("Accepted", accepted, {"conversation": "~d1", "seq": 1, "time_ms": 1800000000000, "durability": 3,
                                  "duplicate": False})


def check_login(address, expect):
    """Sections 5 and 14."""
    with Raw(address) as raw:
        expect("a request before the login", code(raw.call("ListConversations")), 1)
        expect("a Ping before the login", code(raw.call("Ping")), 0)
        expect("a version too new", code(raw.call("Login", version=2, token="eve")), 16)
        expect("no token", code(raw.call("Login", version=1)), 23)
        expect("a login after a refused one", code(raw.call("Login", version=1, token="eve")), 0)
        expect("a second login", code(raw.call("Login", version=1, token="eve")), 5)


def check_unknown(address, expect):
    """Sections 3, "Rules", and 14."""
    number, to, text = wire.REQUESTS["Send"][0], put(1, put(2, b"frank")), put(2, put(1, b"hi"))
    strange = put(99, 7) + put(2000, b"new") + varint(98 << 3 | 1) + bytes(8) + varint(97 << 3 | 5) + bytes(4)
    with Raw(address, "eve") as raw:
        expect("an unknown request", code(raw.raw_call(9999, b"")), 18)
        expect("unknown fields", code(raw.raw_call(number, strange + to + strange + text + strange, strange)), 0)
        expect("unknown fields inside", code(raw.raw_call(number, to + put(2, strange + put(1, b"hi")))), 0)
        expect("a field of another wire type", code(raw.raw_call(number, to + text + put(2, 7))), 0)
        expect("a text that is not UTF-8", code(raw.raw_call(number, to + put(2, put(1, b"\xff")))), 5)
        expect("a body that is cut off", code(raw.raw_call(number, to + text[:-1])), 5)
        expect("no content", code(raw.raw_call(number, to)), 5)
        expect("the connection goes on", code(raw.call("Ping")), 0)
        for byte in wire.request_frame(1000, "Ping", {}):
            raw.send(bytes([byte]))
        expect("a frame byte by byte", raw.frame()["call"], 1000)


def check_frames(address, expect):
    """Sections 2 and 14."""
    for what, payload in (("a frame that is not Protobuf", b"\xff"), ("a frame without a call", put(2, 65)),
                          ("a frame with call 0", put(1, 0) + put(2, 65))):
        with Raw(address, "eve") as raw:
            raw.send(frame(payload))
            expect(what, end(raw), 21)
    for what, size in (("a length of 0", 0), ("a length above the limit", (256 << 10) + 1)):
        with Raw(address, "eve") as raw:
            raw.send(struct.pack(">I", size))
            end(raw)
    with Raw(address, "eve") as raw:
        ping = put(1, 7) + put(2, 65)
        raw.send(frame(ping + put(50, bytes((256 << 10) - len(ping) - 5))))
        expect("a frame of the largest size", raw.frame()["call"], 7)


def check_strangers(address, expect, conversation):
    """Section 11: what is not yours is not there."""
    with Raw(address, "eve") as raw:
        for name, fields in (("ReadHistory", {}), ("Sync", {}), ("ListMembers", {}), ("Join", {}),
                             ("EditMessage", {"seq": 2, "content": {"text": "x"}}), ("MarkRead", {"seq": 1}),
                             ("MarkDelivered", {"seq": 1}), ("GetReceipts", {}), ("Mute", {}), ("Pin", {}),
                             ("Archive", {}), ("MarkUnread", {})):
            expect(f"a stranger's {name}", code(raw.call(name, conversation=conversation, **fields)), 2)
        expect("a stranger's SetTyping", code(raw.call("SetTyping", to={"conversation": conversation})), 2)
        expect("a stranger's WatchPresence", code(raw.call("WatchPresence", conversations=[conversation])), 2)


def check_live_limits(address, expect):
    """Section 11, "Live state" and what follows, with the limits of section 15; what may be absent is true."""
    with Raw(address, "frank") as raw:
        many = [f"u{i}" for i in range(1001)]
        expect("the presence of a thousand", code(raw.call("GetPresence", users=many[1:])), 0)
        expect("the presence of more", code(raw.call("GetPresence", users=many)), 4)
        expect("a watch of more", code(raw.call("WatchPresence", users=many)), 4)
        expect("a watch of 101 conversations", code(raw.call("WatchPresence", conversations=many[:101])), 4)
        expect("profiles of more", code(raw.call("GetProfiles", users=many[:201])), 4)
        expect("sessions of more", code(raw.call("EndSessions", sessions=many)), 5)
        expect("another's profile", code(raw.call("SetProfile", profile={"user": "eve"})), 5)
        expect("a long name", code(raw.call("SetProfile", profile={"display_name": "x" * 256})), 4)
        expect("a state that is none", code(raw.call("SetPresence", state=4)), 5)
        raw.call("Send", to={"direct": "eve"}, content={"text": "hi"}, key={"source": "live", "number": 1})
        of = wire.decode("ConversationInfo", raw.call("GetConversation", of={"direct": "eve"})["body"])
        place = {"conversation": of["conversation"]}
        for name in ("MarkRead", "MarkDelivered"):
            expect(f"{name} beyond the head", code(raw.call(name, seq=of["head"] + 1, **place)), 5)
        for name, mark in (("Pin", "pinned"), ("Archive", "archived"), ("MarkUnread", "unread")):
            expect(f"{name} where nothing is said", wire.decode("Marks", raw.call(name, **place)["body"])[mark], True)
            expect(f"{name} no", wire.decode("Marks", raw.call(name, **{mark: False}, **place)["body"])[mark], False)


def check_keys(address, expect):
    """Section 10: an answer that got lost, and a key for something else."""
    fields = {"to": {"direct": "frank"}, "content": {"text": "once"}, "key": {"source": "lost", "number": 1}}
    with Raw(address, "gina") as raw:
        raw.send(wire.request_frame(1000, "Send", fields))
    replies = []
    for _ in range(2):
        with Raw(address, "gina") as raw:
            replies.append(wire.decode("Accepted", raw.call("Send", **fields)["body"]))
            expect("a key for another text", code(raw.call("Send", **{**fields, "content": {"text": "other"}})), 6)
    expect("the seqs of one key", [reply["seq"] for reply in replies], [1, 1])
    expect("duplicate", replies[1]["duplicate"], True)


def check_silence(address, expect, heartbeat):
    """Section 6: silence is closed after twice the heartbeat."""
    with Raw(address, "eve") as raw:
        start = time.monotonic()
        expect("a silent client", end(raw), 22)
        expect("not before its time", time.monotonic() - start > heartbeat * 1.9, True)


class Lossy(Client):
    """Does not hear every third event, and every fifth twice."""

    heard = 0

    def _frame(self, link, frame):
        if frame["event"] is not None:
            self.heard += 1
            if self.heard % 3 == 0:
                return
            if self.heard % 5 == 0:
                super()._frame(link, frame)
        super()._frame(link, frame)


def check_holes(address, expect, loop):
    """Section 9: two who talk at once; one of them hears badly, and is shown everything once, in order."""
    shown = {"hugo": [], "ines": []}
    clients = {user: kind(loop, address, user, lambda event, user=user: shown[user].append(event))
               for user, kind in (("hugo", Client), ("ines", Lossy))}
    for i in range(60):
        for user, peer in (("hugo", "ines"), ("ines", "hugo")):
            clients[user].request("Send", to={"direct": peer}, content={"text": str(i)})
    loop.run(lambda: len(shown["hugo"]) >= 60, SECONDS, "what hugo is shown")
    asked = clients["hugo"].request("Send", to={"direct": "ines"}, content={"text": "the last"})
    loop.run(asked.is_answered, SECONDS, "the last answer")
    loop.run(lambda: len(shown["ines"]) >= 60, SECONDS, "what ines is shown")
    for user, others in shown.items():
        texts = [event["message_posted"]["content"]["text"] for event in others]
        due = [str(i) for i in range(60)] + ["the last"] * (user == "ines")
        expect(f"what {user} is shown", texts, due[:max(60, len(texts))])
    expect("holes were filled", clients["ines"].syncs > 0, True)
    print(f"holes: {clients['hugo'].syncs} syncs of who hears well, {clients['ines'].syncs} of who does not")
    for client in clients.values():
        client.close()


def check_idle(expect, loop, clients, heartbeat):
    """Section 6: who sends Pings stays."""
    before = [(client.logins, client.pongs) for client in clients]
    loop.run(lambda: all(client.pongs >= pongs + 5 for client, (_, pongs) in zip(clients, before)),
             heartbeat * 15, "five pongs")
    expect("logins of idle clients", [client.logins for client in clients], [logins for logins, _ in before])


def check_restored(server, expect, loop, clients):
    """Section 9, "Reset": a restored store is another one."""
    epochs, resets = [client.epoch for client in clients], []
    for client in clients:
        client.on_reset = lambda client=client: resets.append(client)
    server.kill()
    server.start("--restored")
    loop.run(lambda: all(client in resets for client in clients), SECONDS, "a reset of each client")
    expect("nothing is seen any more", [client.delivery.seen for client in clients], [{} for _ in clients])
    expect("the epoch is another", [client.epoch in epochs for client in clients], [False for _ in clients])


def run(server, loop, player, heartbeat):
    """The list of what was not as the page says."""
    wrong, done = [], []

    def expect(what, found, due):
        done.append(what)
        if found != due:
            wrong.append(f"{what}: {found}, and should be {due}")

    address, clients = server.address, list(player.clients.values())
    try:
        check_worked_example(expect)
        check_holes(address, expect, loop)
        check_idle(expect, loop, clients, heartbeat)
        check_login(address, expect)
        check_unknown(address, expect)
        check_frames(address, expect)
        check_strangers(address, expect, player.ids["team"])
        check_live_limits(address, expect)
        check_keys(address, expect)
        check_silence(address, expect, heartbeat)
        check_restored(server, expect, loop, clients)
    except (AssertionError, OSError, wire.WireError) as error:  # a TimeoutError is an OSError
        wrong.append(f"after {done[-1]!r}: {error!r}")
    print(f"{len(done)} checks")
    return wrong
