"""What makes exactly once of at least once: docs/protocol.md section 9."""

AGAIN = 0.1  # s, until a Sync is repeated that does not reach the pushes yet


class Delivery:
    """At least once becomes exactly once (section 9): show(event) in order.

    sync(conversation, seconds) is to call on_page, or on_no_page, some time later, with what came after after().
    """

    def __init__(self, show, sync, seen, checkpoint):
        self._show, self._sync = show, sync
        self.seen, self.checkpoint = seen, checkpoint
        self.new_connection()

    def new_connection(self):
        """What was kept aside comes again: the checkpoint is older than any open hole."""
        self._aside = {}  # conversation -> seq -> event above a hole; None for an answer
        self._heads = {}  # conversation -> the last head_moved
        self._filling = {}  # conversation with a Sync to come -> whether it is needed even without a hole
        self._next_checkpoint = b""

    def reset(self, checkpoint):
        """Section 9, "Reset"."""
        self.seen.clear()
        self.new_connection()
        self.checkpoint = checkpoint or self.checkpoint

    def on_event(self, event):
        self._take(event["conversation"], event["seq"], event)

    def on_accepted(self, accepted):
        if accepted["seq"] and accepted["conversation"] in self.seen:
            self._take(accepted["conversation"], accepted["seq"], None)

    def on_head_moved(self, moved):
        conversation = moved["conversation"]
        if moved["head"] > self.seen.setdefault(conversation, 0):
            self._heads[conversation] = moved["head"]
            self._fill(conversation)

    def on_checkpoint(self, checkpoint):
        self._next_checkpoint = checkpoint
        self._settle()

    def after(self, conversation):
        """Where a Sync has to begin; None: no hole is left."""
        if conversation not in self._filling:
            return None  # there was a reset
        if self._filling[conversation] or self._aside.get(conversation) or self._is_behind(conversation):
            return self.seen[conversation]
        self._filled(conversation)
        return None

    def on_page(self, conversation, page):
        if conversation not in self._filling:
            return
        for event in page["events"]:
            if event["seq"] > self.seen[conversation]:
                self.seen[conversation] = event["seq"]
                self._show(event)
        self.seen[conversation] = max(self.seen[conversation], page["covers_to"])  # which is 0 where nothing is newer
        if page["more"] or page["live_from"] == 0 or self._is_behind(conversation):
            self._filling[conversation] = True
            self._sync(conversation, 0 if page["more"] else AGAIN)
        else:
            self._filled(conversation)

    def on_no_page(self, conversation):
        """The hole can't be read: the user has left, say. Then it is none."""
        aside = self._aside.get(conversation)
        if aside and conversation in self._filling:
            self.seen[conversation] = max(self.seen[conversation], min(aside) - 1)
        self._heads.pop(conversation, None)
        self._filled(conversation)

    def _take(self, conversation, seq, event):
        if seq > self.seen.setdefault(conversation, seq - 1):
            self._aside.setdefault(conversation, {}).setdefault(seq, event)
            self._drain(conversation)

    def _drain(self, conversation):
        aside = self._aside.get(conversation)
        while aside:
            seq = min(aside)
            if seq > self.seen[conversation] + 1:
                if any(event is not None for event in aside.values()):
                    self._fill(conversation)
                return  # below an answer alone: the pushes are on their way
            event = aside.pop(seq)
            if seq > self.seen[conversation]:
                self.seen[conversation] = seq
                if event is not None:
                    self._show(event)

    def _is_behind(self, conversation):
        return self._heads.get(conversation, 0) > self.seen[conversation]

    def _fill(self, conversation):
        if conversation not in self._filling:
            self._filling[conversation] = False
            self._sync(conversation, 0)

    def _filled(self, conversation):
        self._filling.pop(conversation, None)
        self._drain(conversation)
        self._settle()

    def _settle(self):
        if self._next_checkpoint and not self._filling:
            self.checkpoint = self._next_checkpoint
