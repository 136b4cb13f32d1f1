#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <string>

namespace scratch {

// SQLite's own way to the files, with faults: it fails where it is told to, counts syncs, and keeps of each file what
// was synced last: what a power cut leaves at the worst. The default of all connections opened while this lives.
class FaultyVfs {
 public:
  FaultyVfs() : real_(sqlite3_vfs_find(nullptr)) {
    vfs_ = *real_;
    vfs_.szOsFile = static_cast<int>(sizeof(File)) + real_->szOsFile;
    vfs_.zName = "chatcore-test-faulty";
    vfs_.pAppData = this;
    vfs_.pNext = nullptr;
    vfs_.xOpen = open;
    sqlite3_vfs_register(&vfs_, 1);
  }
  ~FaultyVfs() {
    sqlite3_vfs_register(real_, 1);
    sqlite3_vfs_unregister(&vfs_);
  }
  FaultyVfs(const FaultyVfs&) = delete;
  FaultyVfs& operator=(const FaultyVfs&) = delete;

  std::atomic<int> write_error = SQLITE_OK;  // what every write gives; SQLITE_OK: it is done
  std::atomic<int> sync_error = SQLITE_OK;   // what every sync gives; what was written is in the file all the same
  std::atomic<int> syncs = 0;
  std::atomic<int> busy = 0;  // locks of the write-ahead log that another connection held
  // Not empty: the files' synced contents are kept in this directory.
  std::string synced{};

 private:
  struct File {
    sqlite3_file base;  // first, as SQLite wants it
    FaultyVfs* vfs;
    const char* name;
    sqlite3_file* real() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  };
  static File& at(sqlite3_file* file) { return *reinterpret_cast<File*>(file); }
  static const sqlite3_io_methods& real(sqlite3_file* file) { return *at(file).real()->pMethods; }

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out) {
    auto* self = static_cast<FaultyVfs*>(vfs->pAppData);
    File& opened = at(file);
    opened.base.pMethods = nullptr;
    opened.vfs = self;
    opened.name = name;  // SQLite's own, which lives as long as the file
    const int code = self->real_->xOpen(self->real_, name, opened.real(), flags, out);
    if (opened.real()->pMethods) opened.base.pMethods = methods();
    return code;
  }
  static int write(sqlite3_file* file, const void* bytes, int count, sqlite3_int64 offset) {
    FaultyVfs& vfs = *at(file).vfs;
    if (const int error = vfs.write_error) return error;
    return real(file).xWrite(at(file).real(), bytes, count, offset);
  }
  static int sync(sqlite3_file* file, int flags) {
    FaultyVfs& vfs = *at(file).vfs;
    ++vfs.syncs;
    if (const int error = vfs.sync_error) return error;
    const int code = real(file).xSync(at(file).real(), flags);
    if (code == SQLITE_OK && !vfs.synced.empty() && at(file).name) {
      namespace fs = std::filesystem;
      fs::copy_file(at(file).name, fs::path(vfs.synced) / fs::path(at(file).name).filename(),
                    fs::copy_options::overwrite_existing);
    }
    return code;
  }

  static const sqlite3_io_methods* methods() {
    static const sqlite3_io_methods all = [] {
      sqlite3_io_methods m{};
      m.iVersion = 3;
      m.xClose = [](sqlite3_file* f) { return real(f).xClose(at(f).real()); };
      m.xRead = [](sqlite3_file* f, void* to, int n, sqlite3_int64 o) { return real(f).xRead(at(f).real(), to, n, o); };
      m.xWrite = write;
      m.xTruncate = [](sqlite3_file* f, sqlite3_int64 size) { return real(f).xTruncate(at(f).real(), size); };
      m.xSync = sync;
      m.xFileSize = [](sqlite3_file* f, sqlite3_int64* size) { return real(f).xFileSize(at(f).real(), size); };
      m.xLock = [](sqlite3_file* f, int level) { return real(f).xLock(at(f).real(), level); };
      m.xUnlock = [](sqlite3_file* f, int level) { return real(f).xUnlock(at(f).real(), level); };
      m.xCheckReservedLock = [](sqlite3_file* f, int* is) { return real(f).xCheckReservedLock(at(f).real(), is); };
      m.xFileControl = [](sqlite3_file* f, int op, void* arg) { return real(f).xFileControl(at(f).real(), op, arg); };
      m.xSectorSize = [](sqlite3_file* f) { return real(f).xSectorSize(at(f).real()); };
      m.xDeviceCharacteristics = [](sqlite3_file* f) { return real(f).xDeviceCharacteristics(at(f).real()); };
      m.xShmMap = [](sqlite3_file* f, int page, int size, int extend, void volatile** to) {
        return real(f).xShmMap(at(f).real(), page, size, extend, to);
      };
      m.xShmLock = [](sqlite3_file* f, int offset, int n, int flags) {
        const int code = real(f).xShmLock(at(f).real(), offset, n, flags);
        if (code == SQLITE_BUSY) ++at(f).vfs->busy;
        return code;
      };
      m.xShmBarrier = [](sqlite3_file* f) { real(f).xShmBarrier(at(f).real()); };
      m.xShmUnmap = [](sqlite3_file* f, int remove) { return real(f).xShmUnmap(at(f).real(), remove); };
      m.xFetch = [](sqlite3_file* f, sqlite3_int64 offset, int n, void** to) {
        return real(f).xFetch(at(f).real(), offset, n, to);
      };
      m.xUnfetch = [](sqlite3_file* f, sqlite3_int64 offset, void* page) {
        return real(f).xUnfetch(at(f).real(), offset, page);
      };
      return m;
    }();
    return &all;
  }

  sqlite3_vfs* real_;
  sqlite3_vfs vfs_{};
};

}  // namespace scratch
