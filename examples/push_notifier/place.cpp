#include "place.h"

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

namespace push {

using namespace chatcore;

namespace {

class File {
 public:
  File(const std::filesystem::path& path, int flags) : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  bool is_open() const { return descriptor_ >= 0; }
  bool write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = ::write(descriptor_, text.data(), text.size());
      if (written < 0 && errno != EINTR) return false;
      if (written > 0) text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
  }
  bool sync() { return ::fsync(descriptor_) == 0; }
  ssize_t read(char* to, std::size_t most) { return ::read(descriptor_, to, most); }

 private:
  const int descriptor_;
};

Error failed(const std::filesystem::path& path) {
  return {ErrorCode::storage_unavailable, path.string() + ": " + std::strerror(errno), {}};
}

}  // namespace

Result<std::optional<std::uint64_t>> read_place(const std::filesystem::path& path) {
  File file(path, O_RDONLY);
  if (!file.is_open()) {
    if (errno == ENOENT) return std::optional<std::uint64_t>();
    return failed(path);
  }
  char text[32];
  const ssize_t size = file.read(text, sizeof text);
  if (size < 0) return failed(path);
  std::uint64_t place = 0;
  const auto [end, error] = std::from_chars(text, text + size, place);
  if (error != std::errc() || end == text + size || *end != '\n') {
    return Error{ErrorCode::corruption, path.string() + ": holds no place in the feed", {}};
  }
  return std::optional(place);
}

Status write_place(const std::filesystem::path& path, std::uint64_t place) {
  std::filesystem::path beside = path;
  beside += ".new";
  {
    File file(beside, O_WRONLY | O_CREAT | O_TRUNC);
    if (!file.is_open() || !file.write(std::to_string(place) + "\n") || !file.sync()) return failed(beside);
  }
  if (::rename(beside.c_str(), path.c_str()) != 0) return failed(path);
  File folder(path.has_parent_path() ? path.parent_path() : ".", O_RDONLY | O_DIRECTORY);
  if (!folder.is_open() || !folder.sync()) return failed(path);
  return {};
}

}  // namespace push
