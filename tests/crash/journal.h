#pragma once

#include <chatcore/ids.h>

#include <cstdint>
#include <iosfwd>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace crash {

using chatcore::Seq;

// Index of a user, a conversation or the source of a key in Journal::names.
using Name = std::uint32_t;
inline constexpr Name nobody = ~Name{0};

// What an event is: an index in Journal::sends, or one of these.
using Said = std::uint32_t;
inline constexpr Said no_message = ~Said{0};     // members came, and the like
inline constexpr Said strange = no_message - 1;  // a message that nobody handed over
inline constexpr Said reset = no_message - 2;    // not an event: the stream begins anew
inline constexpr Said largest_send = no_message - 3;

// A message that was handed to a client. Its text begins with its index, so texts are unique.
struct Handed {
  std::uint32_t client{};      // index in Journal::clients
  std::uint64_t number{};      // of its key: the client counts its requests
  Name conversation = nobody;  // nobody: the acknowledgement says which
  std::string text{};
  unsigned run{};        // of the server, when it was handed over
  Seq acknowledged = 0;  // 0: not
  unsigned acknowledged_run{};
  std::string refused{};  // answered for good with this error
};

// One life of a client: from open to close.
struct ClientLife {
  Name user{};
  bool closed = false;  // what it was not answered, it will not be
};

struct Entry {
  Name conversation{};
  Seq seq{};
  Said said = no_message;
  Name sender = nobody;
  std::uint32_t client = ~0u;  // that took it; of a page: nothing
  unsigned run{};
  Name key_source = nobody;  // only where the reader is the sender
  std::uint64_t key_number{};
};

// What an application received, over all lives of its client, each resumed from the checkpoint of the one before.
struct Stream {
  std::string name{};
  Name user{};
  std::set<std::uint32_t> clients{};  // what these sent may be missing: it isn't pushed to them
  std::map<Name, Seq> from{};         // seen before it began
  bool fresh = false;                 // resumed from an older checkpoint by a new client, which sent nothing
  std::vector<Entry> entries{};
  std::vector<std::string> surprises{};  // pushes that an application should not get here
};

// Seqs `from` to `to` of a conversation as one member read them, page by page.
struct History {
  Name conversation{}, reader{};
  unsigned run{};     // of the server
  bool last = false;  // read when all was over: from 1 to the head
  Seq from{}, to{}, head{};
  Seq must_reach{};  // the largest seq acknowledged when it was asked for
  std::vector<Entry> entries{};
};

// Everything that was seen from outside the server. Grows only. Used by one thread.
struct Journal {
  std::vector<std::string> names{};
  std::vector<ClientLife> clients{};
  std::vector<Handed> sends{};
  std::vector<Stream> streams{};
  std::vector<History> histories{};
  std::map<Name, std::set<Name>> members{};  // of each conversation
  std::vector<std::string> strange{};        // what fits nowhere else

  Name name(std::string_view);
  // The message with this text.
  Said said(std::string_view text) const;
  void write(std::ostream&) const;

 private:
  std::unordered_map<std::string, Name> index_{};
};

}  // namespace crash
