"""The bytes of the chatcore protocol: docs/protocol.md sections 2, 3, 4, 11 and 12, and nothing else.

A message is a dict from field names to values. `encode` writes the fields that are in the dict; `decode` gives every
field: absent ones have their default, an absent message is None.
"""

import struct

MAX_FRAME = 16 << 20  # section 2: what is longer is to be refused


class WireError(Exception):
    """These bytes are not the protocol."""


# Section 12, with the envelopes of section 4. `=` is the default of a field marked * there.
_PAGE = "1 events repeated Event, 2 covers_from uint64, 3 covers_to uint64, 4 oldest uint64, 5 head uint64, " \
        "6 gaps repeated Gap, 7 epoch string, 8 more bool"
_TABLE = f"""
ClientFrame: 1 call uint64, 2 request uint32, 3 body bytes
ServerFrame: 1 call uint64, 2 error Error, 3 body bytes, 4 event Event, 5 signal Signal, 6 head_moved HeadMoved, 7
    reset Reset, 8 closed Error, 9 checkpoint bytes
Error: 1 code uint32, 2 message string, 3 retry_after_ms uint64
Key: 1 source string, 2 number uint64
Content: 1 text string, 2 content_type string, 3 data bytes, 4 metadata map
Member: 1 user string, 2 role uint32=2
Settings: 1 title string, 2 custom map, 3 newcomers_see uint32=1, 4 newcomers_last uint32, 5 open bool
Target: 1 conversation string, 2 direct string
Event: 1 conversation string, 2 seq uint64, 3 sender string, 4 time_ms sint64, 5 key Key, 16 message_posted
    MessagePosted, 17 message_changed MessageChanged, 18 members_changed MembersChanged, 19 settings_changed
    SettingsChanged, 20 own_changed OwnChanged
MessagePosted: 1 content Content, 2 revision uint32, 3 deleted bool, 4 changed_ms sint64
MessageChanged: 1 target uint64, 2 kind uint32, 3 revision uint32, 4 now MessagePosted
MembersChanged: 1 joined repeated string, 2 left repeated string, 3 roles repeated Member
SettingsChanged: 1 settings Settings
OwnChanged: 1 marks repeated Marks, 2 hides_receipts bool
Marks: 1 conversation string, 2 read uint64, 3 muted_until_ms sint64, 4 pinned bool, 5 archived bool, 6 unread bool
Signal: 16 ephemeral Ephemeral, 17 typing Typing, 18 presence_changed PresenceChanged, 19 online_count OnlineCount, 20
    receipts Receipts, 21 profile_changed ProfileChanged
Typing: 1 conversation string, 2 users repeated string
PresenceChanged: 1 users repeated Presence
Presence: 1 user string, 2 state uint32=1, 3 last_seen_ms sint64
OnlineCount: 1 conversation string, 2 online uint32
Receipts: 1 conversation string, 2 receipts repeated Receipt
Receipt: 1 user string, 2 delivered uint64, 3 read uint64
ProfileChanged: 1 profile Profile
Profile: 1 user string, 2 display_name string, 3 avatar string, 4 custom map
Ephemeral: 1 conversation string, 2 sender string, 3 content Content
HeadMoved: 1 conversation string, 2 head uint64
Reset:
Login: 1 version uint32=1, 2 token string, 3 device string, 4 resume bytes
LoggedIn: 1 version uint32, 2 user string, 3 device string, 4 epoch string, 5 heartbeat_ms uint64, 6 frame_bytes
    uint64, 7 session_requests uint64, 8 reset bool, 9 checkpoint bytes
Ping:
Pong: 1 time_ms uint64
Accepted: 1 conversation string, 2 seq uint64, 3 time_ms sint64, 4 durability uint32, 5 duplicate bool
Nothing:
Send: 1 to Target, 2 content Content, 3 key Key
SendEphemeral: 1 to Target, 2 content Content, 3 only repeated string
Delivered: 1 sessions uint32
Gap: 1 from uint64, 2 to uint64, 3 why uint32
ReadHistory: 1 conversation string, 2 start uint64, 3 direction uint32=1, 4 limit uint32=50
HistoryPage: {_PAGE}
Sync: 1 conversation string, 2 after uint64, 3 limit uint32=50
SyncPage: {_PAGE}, 9 live_from uint64
EditMessage: 1 conversation string, 2 seq uint64, 3 content Content, 4 key Key
DeleteMessage: 1 conversation string, 2 seq uint64, 3 key Key
Abandon: 1 to Target, 2 key Key
CreateConversation: 1 conversation string, 2 settings Settings, 3 members repeated Member, 4 key Key
ChangeSettings: 1 conversation string, 2 settings Settings, 3 key Key
GetConversation: 1 of Target
ConversationInfo: 1 conversation string, 2 kind uint32, 3 settings Settings, 4 members uint32, 5 oldest uint64, 6
    head uint64, 7 role uint32, 8 former bool, 9 peer string
AddMembers: 1 conversation string, 2 members repeated Member, 3 key Key
RemoveMembers: 1 conversation string, 2 users repeated string, 3 key Key
Join: 1 conversation string, 2 key Key
Leave: 1 conversation string, 2 key Key
SetRole: 1 conversation string, 2 user string, 3 role uint32, 4 key Key
ListMembers: 1 conversation string, 2 after string, 3 limit uint32=100
MembersPage: 1 members repeated Member, 2 next string, 3 total uint32
MarkRead: 1 conversation string, 2 seq uint64
ReadCursor: 1 seq uint64
ListConversations: 1 after bytes, 2 limit uint32=50
ConversationsPage: 1 conversations repeated ConversationEntry, 2 next bytes
ConversationEntry: 1 info ConversationInfo, 2 active_ms sint64, 3 last Event, 4 unread uint32, 5 unread_more bool, 6
    read uint64, 7 marks Marks
SetTyping: 1 to Target, 2 typing bool=1
SetPresence: 1 state uint32=3
GetPresence: 1 users repeated string
PresencePage: 1 users repeated Presence
WatchPresence: 1 users repeated string, 2 conversations repeated string
MarkDelivered: 1 conversation string, 2 seq uint64
GetReceipts: 1 conversation string, 2 after string, 3 limit uint32=50
ReceiptsPage: 1 receipts repeated Receipt, 2 next string
ShareReceipts: 1 share bool=1
Mute: 1 conversation string, 2 until_ms sint64
Pin: 1 conversation string, 2 pinned bool=1
Archive: 1 conversation string, 2 archived bool=1
MarkUnread: 1 conversation string, 2 unread bool=1
GetUnread:
UnreadTotal: 1 messages uint32, 2 conversations uint32, 3 more bool
ListSessions:
SessionsPage: 1 sessions repeated SessionInfo
SessionInfo: 1 session string, 2 device string, 3 since_ms sint64, 4 peer_address string, 5 mine bool
EndSessions: 1 sessions repeated string
SessionsEnded: 1 sessions uint32
SetProfile: 1 profile Profile
GetProfiles: 1 users repeated string
ProfilesPage: 1 profiles repeated Profile
Entry: 1 key string, 2 value string
"""

# Section 11: request -> (number, reply).
REQUESTS = {
    "Send": (1, "Accepted"), "SendEphemeral": (2, "Delivered"), "ReadHistory": (3, "HistoryPage"),
    "Sync": (4, "SyncPage"), "EditMessage": (5, "Accepted"), "DeleteMessage": (6, "Accepted"),
    "Abandon": (7, "Nothing"), "CreateConversation": (8, "Accepted"), "ChangeSettings": (9, "Accepted"),
    "GetConversation": (10, "ConversationInfo"), "AddMembers": (11, "Accepted"), "RemoveMembers": (12, "Accepted"),
    "Join": (13, "Accepted"), "Leave": (14, "Accepted"), "SetRole": (15, "Accepted"),
    "ListMembers": (16, "MembersPage"), "MarkRead": (17, "ReadCursor"),
    "ListConversations": (18, "ConversationsPage"), "SetTyping": (19, "Nothing"), "SetPresence": (20, "Nothing"),
    "GetPresence": (21, "PresencePage"), "WatchPresence": (22, "Nothing"), "MarkDelivered": (23, "ReadCursor"),
    "GetReceipts": (24, "ReceiptsPage"), "ShareReceipts": (25, "Nothing"), "Mute": (26, "Marks"), "Pin": (27, "Marks"),
    "Archive": (28, "Marks"), "MarkUnread": (29, "Marks"), "GetUnread": (30, "UnreadTotal"),
    "ListSessions": (31, "SessionsPage"), "EndSessions": (32, "SessionsEnded"), "SetProfile": (33, "Nothing"),
    "GetProfiles": (34, "ProfilesPage"), "Login": (64, "LoggedIn"), "Ping": (65, "Pong"),
}

_WIRE_TYPE = {"uint32": 0, "uint64": 0, "sint64": 0, "bool": 0}  # every other type: 2
_ZERO = {"uint32": 0, "uint64": 0, "sint64": 0, "bool": False, "string": "", "bytes": b""}


class Field:
    """One field of a message, from its place in the table: `number name [repeated] type[=default]`."""

    def __init__(self, text):
        words = text.split()
        self.number, self.name = int(words[0]), words[1]
        self.type, _, default = words[-1].partition("=")
        self.repeated = words[2] == "repeated"
        self.wire_type = _WIRE_TYPE.get(self.type, 2)
        self._default = int(default) if default else _ZERO.get(self.type)

    def default(self):
        if self.type == "map":
            return {}
        return [] if self.repeated else self._default


FIELDS = {}
for _row in _TABLE.replace("\n    ", " ").strip().splitlines():
    _name, _, _fields = _row.partition(":")
    FIELDS[_name] = [Field(text) for text in _fields.split(",") if text.strip()]


def varint(value):
    """Section 3, "Varint"."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data, at):
    value = 0
    for i in range(10):
        if at + i >= len(data):
            raise WireError("a varint is cut off")
        value |= (data[at + i] & 0x7F) << 7 * i
        if data[at + i] < 0x80:
            return value & (1 << 64) - 1, at + i + 1
    raise WireError("a varint is too long")


def put(number, value):
    """A field from its number: an int as a varint, bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def encode(name, message):
    """Section 3, "The encoding"."""
    unknown = message.keys() - {field.name for field in FIELDS[name]}
    if unknown:
        raise KeyError(f"{name} has no field {sorted(unknown)}")
    out = b""
    for field in FIELDS[name]:
        if field.name not in message:
            continue
        value = message[field.name]
        if field.type == "map":
            values = [{"key": key, "value": entry} for key, entry in value.items()]
        else:
            values = value if field.repeated else [value]
        for item in values:
            out += put(field.number, _to_wire(field.type, item))
    return out


def _to_wire(kind, value):
    if kind == "sint64":
        return value * 2 if value >= 0 else -value * 2 - 1
    if kind in ("uint32", "uint64", "bool"):
        return int(value)
    if kind == "string":
        return value.encode()
    if kind == "bytes":
        return value
    return encode("Entry" if kind == "map" else kind, value)


def _raw_fields(data):
    """Yields (number, wire type, value) of each field, known or not."""
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise WireError("field number 0")
        if wire_type == 0:
            value, at = read_varint(data, at)
        elif wire_type in (1, 2, 5):
            size = {1: 8, 5: 4}.get(wire_type)
            if size is None:
                size, at = read_varint(data, at)
            if size > len(data) - at:
                raise WireError("a field is cut off")
            value, at = data[at:at + size], at + size
        else:
            raise WireError(f"wire type {wire_type}")
        yield number, wire_type, value


def decode(name, data):
    """Section 3, "Rules": unknown numbers and known ones of another wire type are skipped, the last one counts."""
    fields = {(field.number, field.wire_type): field for field in FIELDS[name]}
    message = {field.name: field.default() for field in FIELDS[name]}
    for number, wire_type, raw in _raw_fields(data):
        field = fields.get((number, wire_type))
        if field is None:
            continue
        value = _from_wire(field.type, raw)
        if field.type == "map":
            message[field.name][value["key"]] = value["value"]
        elif field.repeated:
            message[field.name].append(value)
        else:
            message[field.name] = value
    return message


def _from_wire(kind, raw):
    if kind == "uint64" or kind == "bytes":
        return raw
    if kind == "uint32":
        return raw & 0xFFFFFFFF
    if kind == "bool":
        return raw != 0
    if kind == "sint64":
        return raw >> 1 if raw & 1 == 0 else -(raw >> 1) - 1
    if kind == "string":
        try:
            return str(raw, "utf-8")
        except UnicodeDecodeError as error:
            raise WireError("a string is not UTF-8") from error
    return decode("Entry" if kind == "map" else kind, raw)


def frame(payload):
    """Section 2: a frame on TCP."""
    return struct.pack(">I", len(payload)) + payload


def request_frame(call, name, fields):
    """Section 4: a request as a ClientFrame."""
    message = {"call": call, "request": REQUESTS[name][0]}
    body = encode(name, fields)
    if body:
        message["body"] = body
    return frame(encode("ClientFrame", message))


def take_frame(buffer):
    """Takes the first whole ServerFrame out of a bytearray; None: it is not all there."""
    if len(buffer) < 4:
        return None
    size, = struct.unpack_from(">I", buffer)
    if not 0 < size <= MAX_FRAME:
        raise WireError(f"a frame of {size} bytes")
    if len(buffer) < 4 + size:
        return None
    payload = bytes(buffer[4:4 + size])
    del buffer[:4 + size]
    return decode("ServerFrame", payload)
