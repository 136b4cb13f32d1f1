#include "directory.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

namespace chatcore {
inline namespace v1 {
namespace rocks {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view marker_text = "chatcore store, format ";

Error failed(const std::string& what, const fs::path& path, int error) {
  const ErrorCode code = error == ENOSPC || error == EDQUOT ? ErrorCode::storage_full : ErrorCode::storage_unavailable;
  return {code, "cannot " + what + " " + path.string() + ": " + std::strerror(error)};
}

Status sync_path(const fs::path& path, int flags) {
  const int file = ::open(path.c_str(), flags | O_CLOEXEC);
  const bool synced = file >= 0 && ::fsync(file) == 0;
  const int error = errno;
  if (file >= 0) ::close(file);
  if (!synced) return failed("sync", path, error);
  return {};
}

// Whole or not at all, also after a power cut: written beside its place, then renamed into it.
Status write_marker(const fs::path& directory) {
  const fs::path marker = directory / marker_name, draft = directory / "CHATCORE.new";
  std::ofstream out(draft, std::ios::binary | std::ios::trunc);
  out << marker_text << store_format << '\n';
  out.close();
  if (!out) return failed("write", draft, errno);
  if (Status ok = sync_path(draft, O_WRONLY); !ok) return ok;
  std::error_code error;
  fs::rename(draft, marker, error);
  if (error) return failed("write", marker, error.value());
  return sync_path(directory, O_RDONLY | O_DIRECTORY);
}

Status check_marker(const fs::path& directory) {
  std::ifstream in(directory / marker_name, std::ios::binary);
  std::string text;
  std::getline(in, text);
  unsigned format = 0;
  if (text.starts_with(marker_text))
    format = static_cast<unsigned>(std::strtoul(&text[marker_text.size()], nullptr, 10));
  if (format == 0) {
    return {ErrorCode::corruption,
            (directory / marker_name).string() + " is damaged: restore the directory from a backup"};
  }
  if (format > store_format) {
    return {ErrorCode::version_too_new, directory.string() + " has store format " + std::to_string(format) +
                                            ", this chatcore reads up to " + std::to_string(store_format) +
                                            ": open it with the chatcore that wrote it, or a later one"};
  }
  return {};
}

}  // namespace

Status claim_directory(const std::string& path) {
  if (path.empty()) return {ErrorCode::invalid, "RocksdbOptions::path is empty: name a directory"};
  std::error_code error;
  const fs::path directory(path);
  if (fs::exists(directory, error) && !fs::is_directory(directory, error)) {
    return {ErrorCode::not_ours, path + " is not a directory: name another path"};
  }
  fs::create_directories(directory, error);
  if (error) return failed("create", directory, error.value());

  bool marker = false, root = false, data = false, others = false;
  fs::directory_iterator entries(directory, error);
  if (error) return failed("read", directory, error.value());
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    const fs::path name = entries->path().filename();
    if (name == marker_name) {
      marker = true;
    } else if (name == "CURRENT") {
      root = others = true;
    } else if (name.extension() == ".sst" || name.extension() == ".log") {
      data = others = true;
    } else if (name != "CHATCORE.new" && name != "lost+found") {  // our own draft; the root of a file system
      others = true;
    }
  }
  if (error) return failed("read", directory, error.value());
  if (!marker) {
    if (others)
      return {ErrorCode::not_ours, path + " holds something that is no chatcore store: name another directory"};
    return write_marker(directory);
  }
  if (Status ok = check_marker(directory); !ok) return ok;
  // RocksDB would begin an empty store beside the orphaned files, and the host would miss its messages later.
  if (data && !root) {
    return {ErrorCode::corruption, path + " has lost its file CURRENT: restore the directory from a backup"};
  }
  return {};
}

std::string read_boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

}  // namespace rocks
}  // namespace v1
}  // namespace chatcore
