#pragma once

#include <atomic>
#include <filesystem>
#include <string>

#include <unistd.h>

#include <chatcore/storage.h>

#include "conformance/storage_subject.h"

namespace scratch {

using namespace chatcore;
using namespace chatcore::conformance;

// A directory that is gone when the test is.
class Directory {
 public:
  Directory() {
    static std::atomic<unsigned> count = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("chatcore-storage-" + std::to_string(::getpid()) + "-" + std::to_string(++count));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

}  // namespace scratch
