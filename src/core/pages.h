#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/reader.h"

namespace chatcore {
inline namespace v1 {
namespace core {

class Shard;

// The pages of a shard's conversations that were read lately, as they are for everyone: so that one read serves all who
// ask for the same, at once or soon after. What one reader sees of a page is cut out of it (shown_to).
class Pages {
 public:
  explicit Pages(Shard& shard) : shard_(shard) {}
  ~Pages();

  using Then = Function<void(Result<StoredPagePtr>)>;
  // `version`: of the conversation's rows. A page is kept, and given to others, as long as that is the same. `then` may
  // run inside this call.
  void read(const ConversationId&, PageRange, std::uint64_t version, Then then);
  // Forgets the oldest until no more than so many bytes are kept.
  void shrink(std::size_t bytes);
  void clear();  // when nothing runs any more

 private:
  struct Key {
    ConversationId id{};
    bool with_changes = false;
    Direction direction{};
    Seq start{};
    std::uint32_t limit{};
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key&) const noexcept;
  };
  struct Kept {
    Key key{};
    std::uint64_t version{};
    SteadyTime read_at{};
    StoredPagePtr page{};
  };
  struct Reading {
    std::uint64_t version{};
    Seq head{};
    std::vector<Then> waiting{};
  };
  void keep(const Key&, std::uint64_t version, StoredPagePtr);
  void drop(std::list<Kept>::iterator);

  Shard& shard_;
  std::list<Kept> kept_;  // the one used last comes first
  std::unordered_map<Key, std::list<Kept>::iterator, Hash> index_;
  std::unordered_map<Key, std::shared_ptr<Reading>, Hash> reading_;
  std::size_t bytes_ = 0;
};

}  // namespace core
}  // namespace v1
}  // namespace chatcore
