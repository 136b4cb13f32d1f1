"""A client of chatcore, written from docs/protocol.md alone: connects, logs in, resumes, retries, fills holes.

Everything runs in one thread, in `Loop.run`. Nothing is lost or shown twice while a `Client` lives; `Client.state()` is
what the next one needs to go on there (section 9, "Checkpoints").
"""

import heapq
import itertools
import random
import secrets
import selectors
import socket
import time

import wire
from delivery import Delivery

RETRY = {8, 9, 10, 11, 12, 13, 14, 19, 22}  # section 13: the same request, with the same key, later
STAY_AWAY = {5, 16, 23}  # section 6, "Coming back": invalid, version_too_new, unauthenticated
TRANSPORT_FAILED = 26
CHANGES = {name for name, (_, reply) in wire.REQUESTS.items() if reply == "Accepted"}
KEYED = {name for name in wire.REQUESTS if any(field.name == "key" for field in wire.FIELDS[name])}
LOGIN_SECONDS = 5
LEAST_WAIT, MOST_WAIT = 0.1, 10  # s, between attempts (section 6)


class Loop:
    """Sockets and timers of all clients."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self._timers = []
        self._count = itertools.count()

    def after(self, seconds, function):
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._count), function))

    def run(self, done, seconds, what="the condition"):
        """Until done(); TimeoutError after so many seconds."""
        deadline = time.monotonic() + seconds
        while not done():
            now = time.monotonic()
            if now >= deadline:
                raise TimeoutError(f"{what}: not within {seconds} s")
            wake = min([deadline] + [timer[0] for timer in self._timers[:1]])
            for key, mask in self.selector.select(max(0, wake - now)):
                key.data(mask)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()


class Link:
    """One TCP connection (section 2). Calls on_frame(link, frame), and on_end(link, why) once, at its end."""

    def __init__(self, selector, address, on_frame, on_end):
        self._selector, self._on_frame, self._on_end = selector, on_frame, on_end
        self._inbox, self._outbox = bytearray(), bytearray()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect_ex(address)  # how it went is seen at the first recv
        selector.register(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self._ready)
        self.closed = False
        self.last_sent = time.monotonic()

    def send(self, data):
        self._outbox += data
        self.last_sent = time.monotonic()
        self._selector.modify(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self._ready)

    def is_flushed(self):
        return not self._outbox

    def close(self):
        if not self.closed:
            self.closed = True
            self._selector.unregister(self._socket)
            self._socket.close()

    def _ready(self, mask):
        try:
            if mask & selectors.EVENT_READ:
                self._read()
            if mask & selectors.EVENT_WRITE and not self.closed:
                del self._outbox[:self._socket.send(self._outbox)]
                if not self._outbox:
                    self._selector.modify(self._socket, selectors.EVENT_READ, self._ready)
        except BlockingIOError:
            pass
        except (OSError, wire.WireError) as error:
            self._end(str(error))

    def _read(self):
        data = self._socket.recv(1 << 16)
        self._inbox += data
        while not self.closed and (frame := wire.take_frame(self._inbox)) is not None:
            self._on_frame(self, frame)
        if not data:
            self._end("end of stream")

    def _end(self, why):
        if not self.closed:
            self.close()
            self._on_end(self, why)


class Request:
    """One request, from Client.request to its `reply` or `error`, over as many attempts as it takes."""

    def __init__(self, name, fields, done=None):
        self.name, self.fields, self.done = name, fields, done
        self.call = 0  # not under way
        self.sent_at = 0
        self.reply = self.error = None

    def is_answered(self):
        return self.reply is not None or self.error is not None


class Client:
    """One session of a user, over as many connections as it takes. on_event(event) gets what others did."""

    def __init__(self, loop, address, token, on_event, state=None, device=""):
        state = state or {"seen": {}, "checkpoint": "", "epoch": ""}
        self.loop, self.address, self.token, self.on_event, self.device = loop, address, token, on_event, device
        self.on_reset = lambda: None
        self.on_signal = lambda signal: None
        self.delivery = Delivery(self._show, self._sync, dict(state["seen"]), bytes.fromhex(state["checkpoint"]))
        self.epoch = state["epoch"]
        self.info = None  # LoggedIn, while there is a session
        self.failed = None  # the error of a login that is not to be repeated
        self.logins = self.pongs = self.syncs = 0
        self._source, self._number = secrets.token_hex(8), itertools.count(1)  # section 10
        self._sources = {self._source}
        self._call = itertools.count(1)
        self._queue, self._calls = [], {}  # what is not answered, in order; what is under way
        self._waited, self._paused, self._closed_error = 0, False, None
        self._connect()

    def request(self, name, /, done=None, **fields):
        """Queues a request. One that changes something has a key, and is repeated until it is answered."""
        if name in KEYED:
            fields.setdefault("key", {"source": self._source, "number": next(self._number)})
            self._sources.add(fields["key"]["source"])
        request = Request(name, fields, done)
        self._queue.append(request)
        self._pump()
        return request

    def state(self):
        """What the next client of this user goes on from."""
        return {"seen": dict(self.delivery.seen), "checkpoint": self.delivery.checkpoint.hex(), "epoch": self.epoch}

    def is_flushed(self):
        return self._link.is_flushed()

    def close(self):
        self._link.close()
        self.info = None

    def _connect(self):
        self._link = link = Link(self.loop.selector, self.address, self._frame, self._ended)
        login = {"version": 1, "token": self.token, "device": self.device}
        if self.delivery.checkpoint:
            login["resume"] = self.delivery.checkpoint
        self._send(Request("Login", login, self._logged_in))
        self.loop.after(LOGIN_SECONDS, lambda: self.info or link._end("no answer to the login"))

    def _logged_in(self, request):
        if request.error:
            if request.error["code"] in STAY_AWAY:
                self.failed = request.error
                self._link.close()
            else:
                self._closed_error = request.error
                self._link._end("login refused")
            return
        self.info = request.reply
        self.epoch = self.info["epoch"]
        self.logins += 1
        self._waited = 0
        if self.info["reset"]:
            self._reset(self.info["checkpoint"])
        elif self.info["checkpoint"]:
            self.delivery.on_checkpoint(self.info["checkpoint"])
        self._beat(self._link)
        self._pump()

    def _beat(self, link, pinged=None):
        """Section 6, "Heartbeat": a Ping after half the time without any frame; its answer within the whole."""
        if link.closed:
            return
        now, heartbeat = time.monotonic(), self.info["heartbeat_ms"] / 1000
        if pinged is not None and not pinged.is_answered():
            if now - pinged.sent_at > heartbeat:
                link._end("no answer to a Ping")
                return
        elif now - link.last_sent > heartbeat / 2:
            pinged = Request("Ping", {}, self._pong)
            self._send(pinged)
        self.loop.after(heartbeat / 4, lambda: self._beat(link, pinged))

    def _pong(self, _):
        self.pongs += 1

    def _send(self, request):
        request.call, request.sent_at = next(self._call), time.monotonic()
        self._calls[request.call] = request
        self._link.send(wire.request_frame(request.call, request.name, request.fields))

    def _pump(self):
        """Sends what is not under way, in order (section 10, "To keep the order")."""
        for request in self._queue if self.info and not self._paused else ():
            if len(self._calls) >= self.info["session_requests"]:
                break
            if request.call == 0:
                self._send(request)

    def _frame(self, link, frame):
        """Section 4: an answer where there is a call, otherwise a push."""
        if frame["call"]:
            self._answer(frame)
        elif frame["event"] is not None:
            self.delivery.on_event(frame["event"])
        elif frame["signal"] is not None:
            self.on_signal(frame["signal"])
        elif frame["head_moved"] is not None:
            self.delivery.on_head_moved(frame["head_moved"])
        elif frame["checkpoint"]:
            self.delivery.on_checkpoint(frame["checkpoint"])
        elif frame["reset"] is not None:
            self._reset(b"")
        elif frame["closed"] is not None:
            self._closed_error = frame["closed"]

    def _answer(self, frame):
        request, error = self._calls.pop(frame["call"], None), frame["error"]
        if request is None:
            return
        request.call = 0
        if error and error["code"] in RETRY and request in self._queue:
            self._pause(error)
            return
        if error:
            request.error = error
        else:
            request.reply = wire.decode(wire.REQUESTS[request.name][1], frame["body"])
            if request.name in CHANGES:
                self.delivery.on_accepted(request.reply)
        if request in self._queue:
            self._queue.remove(request)
        if request.done:
            request.done(request)
        self._pump()

    def _pause(self, error):
        """After an error that may pass: everything again from the first, a little later."""
        if not self._paused:
            self._paused = True
            self.loop.after(self._wait(error), self._go_on)

    def _go_on(self):
        self._paused = False
        self._pump()

    def _wait(self, error=None):
        """Section 6, "Coming back"."""
        self._waited = min(MOST_WAIT, max(LEAST_WAIT, self._waited * 2))
        return max(self._waited * random.uniform(0.5, 1), (error or {"retry_after_ms": 0})["retry_after_ms"] / 1000)

    def _ended(self, link, why):
        """The connection is gone; what was not answered goes out again after the next login."""
        error, self._closed_error, self.info = self._closed_error, None, None
        for request in self._calls.values():
            request.call = 0
            if request.name == "SendEphemeral":  # has no key: a repeat would be a second one
                request.error = {"code": TRANSPORT_FAILED, "message": why, "retry_after_ms": 0}
                self._queue.remove(request)
        self._calls.clear()
        self.delivery.new_connection()
        if error and error["code"] in STAY_AWAY:
            self.failed = error
        else:
            self.loop.after(self._wait(error), lambda: link is self._link and self._connect())

    def _reset(self, checkpoint):
        self.delivery.reset(checkpoint)
        self.on_reset()

    def _sync(self, conversation, seconds):
        link = self._link

        def send():
            after = None if link.closed else self.delivery.after(conversation)
            if after is not None:
                self.syncs += 1
                self._send(Request("Sync", {"conversation": conversation, "after": after}, answered))

        def answered(request):
            if request.reply:
                self.delivery.on_page(conversation, request.reply)
            elif request.error["code"] in RETRY:
                self._sync(conversation, self._wait(request.error))
            else:
                self.delivery.on_no_page(conversation)

        self.loop.after(seconds, send)

    def _show(self, event):
        """What this client did itself is seen already."""
        if event["key"] is None or event["key"]["source"] not in self._sources:
            self.on_event(event)
