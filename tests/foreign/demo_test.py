"""A stranger's client (client.py) plays examples/demo/script.txt against a chat_server, then breaks rules (checks.py).

    demo_test.py --server PATH_TO_chat_server

Exits with 1 and a list if anybody received anything else than the script says, in that order, once.
"""

import argparse
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

import checks
from client import Client, Loop

STEP = 10  # s, for a step, as the head of the script says
WHOLE = 55  # s, for everything
STATES = ["", "offline", "away", "online"]
HEARTBEAT = 1500  # ms: short, so that heartbeats matter here
SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "examples" / "demo" / "script.txt"


class Server:
    """chat_server, on the same directory and port each time it starts."""

    def __init__(self, program, data):
        self._program, self._data = program, data
        self._process = None
        self.address = ("127.0.0.1", 0)

    def start(self, *options):
        host, port = self.address
        self._process = subprocess.Popen(
            [self._program, "--listen", host, "--port", str(port), "--data", self._data, "--insecure-dev-auth", "--no-limits",
             "--heartbeat", str(HEARTBEAT), *options], stdout=subprocess.PIPE)
        output, deadline = b"", time.monotonic() + STEP
        while not (found := re.search(rb"listening on \S+:(\d+)\n", output)):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0, deadline - time.monotonic()))
            data = os.read(self._process.stdout.fileno(), 4096) if ready else b""
            if not data:
                raise RuntimeError(f"the server does not listen: {output.decode()}")
            output += data
        self.address = host, int(found[1])

    def kill(self):
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()
            self._process = None


def describe(event):
    """An event in the words of the script (docs/protocol.md section 8, "event")."""
    sender = event["sender"]
    if posted := event["message_posted"]:
        return f"{sender} says (deleted)" if posted["deleted"] else f"{sender} says: {posted['content']['text']}"
    if changed := event["message_changed"]:
        if changed["kind"] == 2:
            return f"{sender} deletes #{changed['target']}"
        return f"{sender} edits #{changed['target']}: {changed['now']['content']['text']}"
    if members := event["members_changed"]:
        return f"{sender} brings: {' '.join(sorted(members['joined']))}"
    return f"{sender} does something else"


class Player:
    """Plays a script; `wrong` is the list of what was not as it stands there."""

    def __init__(self, server, loop):
        self.server, self.loop = server, loop
        self.clients, self.states, self.ids, self.queued = {}, {}, {}, {}
        self.received, self.expected, self.wrong = {}, {}, []
        self.live = {}  # (user, topic) -> what he was told last

    def play(self, text):
        verbs = [(re.compile(pattern), function) for pattern, function in (
            (r"server starts", self.starts),
            (r"server is killed", self.is_killed),
            (r"([\w@]+) connects", self.connects),
            (r"(\w+) disconnects", self.disconnects),
            (r"(\w+) (?:sends|(repeats)) (\w+)(?: to @(\w+))? #(\d+)(?: key (\S+))?: (.*)", self.sends),
            (r"(\w+) queues (\w+) #(\d+)\.\.(\d+): (.*)", self.queues),
            (r"(\w+) awaits (\w+) #(\d+)\.\.(\d+)", self.awaits),
            (r"(\w+) creates (\w+) with ([\w ]+) #(\d+): (.*)", self.creates),
            (r"(\w+) adds (\w+) with (\w+) #(\d+)", self.adds),
            (r"(\w+) edits (\w+) #(\d+) of #(\d+): (.*)", self.edits),
            (r"(\w+) deletes (\w+) #(\d+) of #(\d+)", self.deletes),
            (r"(\w+) is (online|away|offline)", self.is_here),
            (r"(\w+) watches (\w+)", self.watches),
            (r"(\w+) types (\w+)", self.types),
            (r"([\w@]+) reads (\w+) #(\d+)", self.reads),
            (r"(\w+) mutes (\w+)", self.mutes),
            (r"(\w+) calls himself: (.*)", self.calls_himself),
            (r"(\w+) ends (\w+)", self.ends),
            (r"([\w@]+) is ended", self.is_ended),
            (r"(\w+) sees (unread|devices): (.*)", self.sees_when_asked),
            (r"([\w@]+) sees (.+?): (.*)", self.sees),
            (r"([\w@]+) receives (\w+) #(\d+)(?:\.\.(\d+))? (.*)", self.receives))]
        for line in text.splitlines():
            if not line or line.startswith("#"):
                continue
            for pattern, function in verbs:
                if found := pattern.fullmatch(line):
                    self.step = line
                    function(*found.groups())
                    break
            else:
                raise ValueError(f"not a step: {line}")
        self.compare()

    def compare(self):
        """Everyone, each conversation: what came is what the script says."""
        names = {conversation: name for name, conversation in self.ids.items()}
        for place in sorted(self.received.keys() | self.expected.keys()):
            came, due = self.received.get(place, []), self.expected.get(place, [])
            if came != due:
                user, conversation = place
                self.wrong.append(f"{user} in {names.get(conversation, conversation)}:\n    received {came}"
                                  f"\n    expected {due}")

    def starts(self):
        self.server.start()

    def is_killed(self):
        self.wait(lambda: all(client.is_flushed() for client in self.clients.values()))
        self.server.kill()

    def connects(self, user):
        name, _, device = user.partition("@")
        client = Client(self.loop, self.server.address, name, lambda event: self.arrives(user, event),
                        self.states.get(user), device or "home")
        client.on_signal = lambda signal: self.is_told(user, signal)
        self.clients[user] = client
        self.wait(lambda: client.info)

    def disconnects(self, user):
        client = self.clients.pop(user)
        self.states[user] = client.state()
        client.close()

    def sends(self, user, repeats, name, peer, seq, key, text):
        to = {"direct": peer} if peer else {"conversation": self.ids[name]}
        fields = {"key": {"source": key}} if key else {}
        request = self.clients[user].request("Send", to=to, content={"text": text}, **fields)
        self.ids[name] = self.accepted(request, seq, bool(repeats))["conversation"]

    def queues(self, user, name, first, last, text):
        self.queued[user, name] = [
            self.clients[user].request("Send", to={"conversation": self.ids[name]},
                                       content={"text": text.replace("{seq}", str(seq))})
            for seq in range(int(first), int(last) + 1)]

    def awaits(self, user, name, first, last):
        requests = self.queued.pop((user, name))
        for seq, request in zip(range(int(first), int(last) + 1), requests, strict=True):
            self.accepted(request, seq, None)

    def creates(self, user, name, members, seq, title):
        request = self.clients[user].request("CreateConversation", settings={"title": title},
                                             members=[{"user": member} for member in members.split()])
        self.ids[name] = self.accepted(request, seq)["conversation"]

    def adds(self, user, name, member, seq):
        self.accepted(self.clients[user].request("AddMembers", conversation=self.ids[name],
                                                 members=[{"user": member}]), seq)

    def edits(self, user, name, seq, target, text):
        self.accepted(self.clients[user].request("EditMessage", conversation=self.ids[name], seq=int(target),
                                                 content={"text": text}), seq)

    def deletes(self, user, name, seq, target):
        self.accepted(self.clients[user].request("DeleteMessage", conversation=self.ids[name], seq=int(target)), seq)

    def receives(self, user, name, first, last, text):
        place = user, self.ids[name]
        due = self.expected.setdefault(place, [])
        for seq in range(int(first), int(last or first) + 1):
            due.append((seq, text.replace("{seq}", str(seq))))
        self.wait(lambda: len(self.received.get(place, ())) >= len(due))

    def is_here(self, user, state):
        self.done(user, "SetPresence", state=STATES.index(state))

    def watches(self, user, name):
        self.done(user, "WatchPresence", conversations=[self.ids[name]])

    def types(self, user, name):
        self.done(user, "SetTyping", to={"conversation": self.ids[name]})

    def reads(self, user, name, seq):
        reply = self.done(user, "MarkRead", conversation=self.ids[name], seq=int(seq))
        if reply["seq"] != int(seq):
            self.wrong.append(f"{self.step}: has read up to {reply['seq']}")

    def mutes(self, user, name):
        self.done(user, "Mute", conversation=self.ids[name], until_ms=(1 << 63) - 1)

    def calls_himself(self, user, name):
        self.done(user, "SetProfile", profile={"display_name": name})

    def ends(self, user, device):
        sessions = self.done(user, "ListSessions")["sessions"]
        names = [session["session"] for session in sessions if session["device"] == device]
        if self.done(user, "EndSessions", sessions=names)["sessions"] != 1:
            self.wrong.append(f"{self.step}: not one session was ended")

    def is_ended(self, user):
        client = self.clients.pop(user)
        self.wait(lambda: client.failed)
        if client.failed["code"] != 23:
            self.wrong.append(f"{self.step}: {client.failed}")

    def sees(self, user, topic, words):
        first, space, rest = topic.partition(" ")
        topic = self.ids.get(first, first) + space + rest
        self.wait(lambda: self.live.get((user, topic)) == words)

    def sees_when_asked(self, user, topic, words):
        def found():
            if topic == "devices":
                return " ".join(session["device"] for session in self.done(user, "ListSessions")["sessions"])
            total = self.done(user, "GetUnread")
            return f"{total['messages']} in {total['conversations']}"
        deadline = time.monotonic() + STEP
        while (last := found()) != words:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.step}: {last}")
            time.sleep(0.05)

    def done(self, user, name, **fields):
        """The reply to a request that is no change of a conversation."""
        request = self.clients[user].request(name, **fields)
        self.wait(request.is_answered)
        if request.error:
            raise RuntimeError(f"{self.step}: {request.error}")
        return request.reply

    def is_told(self, user, signal):
        """docs/protocol.md section 8, "signal"."""
        def tell(topic, words):
            self.live[user, topic] = words
        if typing := signal["typing"]:
            tell(typing["conversation"] + " typing", " ".join(typing["users"]) or "nobody")
        if presence := signal["presence_changed"]:
            for each in presence["users"]:
                tell(each["user"], STATES[each["state"]])
        if receipts := signal["receipts"]:
            for each in receipts["receipts"]:
                tell(f"{receipts['conversation']} read by {each['user']}", f"#{each['read']}")
        if profile := signal["profile_changed"]:
            tell("name of " + profile["profile"]["user"], profile["profile"]["display_name"])

    def arrives(self, user, event):
        if own := event["own_changed"]:
            for marks in own["marks"]:
                muted = " muted" if marks["muted_until_ms"] else ""
                self.live[user, marks["conversation"] + " marks"] = f"read #{marks['read']}{muted}"
            return
        if event["message_posted"] and self.live.get(typing := (user, event["conversation"] + " typing")) == event["sender"]:
            self.live[typing] = "nobody"
        self.received.setdefault((user, event["conversation"]), []).append((event["seq"], describe(event)))

    def accepted(self, request, seq, duplicate=False):
        """The acknowledgement of a request; `duplicate` None: either will do."""
        self.wait(request.is_answered)
        if request.error:
            raise RuntimeError(f"{self.step}: {request.error}")
        reply = request.reply
        if reply["seq"] != int(seq) or duplicate not in (None, reply["duplicate"]):
            self.wrong.append(f"{self.step}: acknowledged with {reply}")
        return reply

    def wait(self, done):
        self.loop.run(done, STEP, getattr(self, "step", ""))


def run(server):
    """The list of what was wrong."""
    loop = Loop()
    player = Player(server, loop)
    try:
        player.play(SCRIPT.read_text())
    except (TimeoutError, RuntimeError) as error:
        player.compare()
        return [str(error)] + player.wrong
    report = ", ".join(f"{user}: {client.logins} logins, {client.pongs} pongs, {client.syncs} syncs"
                       for user, client in player.clients.items())
    print(f"the script is played: {sum(map(len, player.received.values()))} deliveries; {report}")
    return player.wrong + checks.run(server, loop, player, HEARTBEAT / 1000)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the chat_server program")
    program = parser.parse_args().server

    def too_late(number, _):
        raise SystemExit(f"FAILED: {signal.Signals(number).name}, after at most {WHOLE} s")
    signal.signal(signal.SIGALRM, too_late)
    signal.signal(signal.SIGTERM, too_late)
    signal.alarm(WHOLE)
    with tempfile.TemporaryDirectory(prefix="chatcore-foreign-") as data:
        server = Server(program, os.path.join(data, "store"))
        try:
            wrong = run(server)
        finally:
            server.kill()
    for line in wrong:
        print("WRONG:", line)
    print("FAILED" if wrong else "passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
