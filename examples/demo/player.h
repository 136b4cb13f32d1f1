#pragma once

#include <chatcore/chatcore.h>

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

// One user of the script, with a real client. Used by one thread; only answers come from the client's.
class Player {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  struct Received {
    chatcore::Seq seq = 0;
    std::string words;
  };

  explicit Player(std::string name) : name_(std::move(name)) {}  // "USER", or "USER@DEVICE"

  chatcore::Status connect(const chatcore::Endpoint&, Deadline);
  chatcore::Status disconnect();
  bool is_here() const { return client_.has_value(); }

  // Asks and waits for the answer, or (queue) leaves an acknowledgement for await().
  template <chatcore::Request R>
  chatcore::Result<typename R::Reply> ask(R request, Deadline deadline) {
    return wait(*start(std::move(request)), deadline);
  }
  void queue(chatcore::Send message) { queued_.push_back(start(std::move(message))); }
  chatcore::Result<chatcore::Accepted> await(Deadline);  // the next that was queued

  // Takes pushes until so many events of this conversation have come.
  bool receive(const chatcore::ConversationId&, std::size_t count, Deadline);
  void receive_what_is_there();

  // What he was told last about `topic`, in the script's words ("bob": "online"), once it is so or the time is over.
  std::string see(const std::string& topic, const std::string& words, Deadline);
  chatcore::Status wait_for_end(Deadline);  // of his session, by another one of his

  const std::string& name() const { return name_; }
  const std::vector<Received>& received(const chatcore::ConversationId& id) { return received_[id]; }
  const std::vector<std::pair<chatcore::ConversationId, Received>>& transcript() const { return transcript_; }
  const std::vector<std::string>& surprises() const { return surprises_; }  // pushes that are no events

 private:
  template <class Reply>
  struct Answer {
    std::mutex mutex;
    std::optional<chatcore::Result<Reply>> result;
  };

  template <chatcore::Request R>
  std::shared_ptr<Answer<typename R::Reply>> start(R request) {
    auto answer = std::make_shared<Answer<typename R::Reply>>();
    client_->call(std::move(request), [answer](chatcore::Result<typename R::Reply> result) {
      std::lock_guard lock(answer->mutex);
      answer->result.emplace(std::move(result));
    });
    return answer;
  }
  template <class Reply>
  static chatcore::Result<Reply> wait(Answer<Reply>& answer, Deadline deadline) {
    while (std::chrono::steady_clock::now() < deadline) {
      {
        std::lock_guard lock(answer.mutex);
        if (answer.result) return std::move(*answer.result);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return chatcore::Error{chatcore::ErrorCode::timeout, "no answer", {}};
  }
  bool take_until(Deadline);  // one push, and notes it
  void note(const chatcore::Push&);
  void note_live(const chatcore::Push&);

  std::string name_;
  std::optional<chatcore::Checkpoint> checkpoint_;
  std::deque<std::shared_ptr<Answer<chatcore::Accepted>>> queued_;
  std::map<chatcore::ConversationId, std::vector<Received>> received_;
  std::vector<std::pair<chatcore::ConversationId, Received>> transcript_;
  std::vector<std::string> surprises_;
  std::map<std::string, std::string> live_;  // by topic
  std::optional<chatcore::Error> closed_;
  std::optional<chatcore::Client> client_;
};
