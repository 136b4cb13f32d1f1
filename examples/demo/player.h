#pragma once

#include <chatcore/chatcore.h>

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

// One user of the script, with a real client. Used by one thread; only answers come from the client's.
class Player {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  struct Received {
    chatcore::Seq seq = 0;
    std::string words;
  };

  explicit Player(std::string name) : name_(std::move(name)) {}

  chatcore::Status connect(const chatcore::Endpoint&, Deadline);
  chatcore::Status disconnect();
  bool is_here() const { return client_.has_value(); }

  // Asks and waits for the acknowledgement, or (queue) leaves it for await().
  template <chatcore::Request R>
  chatcore::Result<chatcore::Accepted> ask(R request, Deadline deadline) {
    auto answer = start(std::move(request));
    return wait(answer, deadline);
  }
  template <chatcore::Request R>
  void queue(R request) {
    queued_.push_back(start(std::move(request)));
  }
  chatcore::Result<chatcore::Accepted> await(Deadline);  // the next that was queued

  // Takes pushes until so many events of this conversation have come.
  bool receive(const chatcore::ConversationId&, std::size_t count, Deadline);
  void receive_what_is_there();

  const std::string& name() const { return name_; }
  const std::vector<Received>& received(const chatcore::ConversationId& id) { return received_[id]; }
  const std::vector<std::pair<chatcore::ConversationId, Received>>& transcript() const { return transcript_; }
  const std::vector<std::string>& surprises() const { return surprises_; }  // pushes that are no events

 private:
  struct Answer {
    std::mutex mutex;
    std::optional<chatcore::Result<chatcore::Accepted>> result;
  };
  using AnswerPtr = std::shared_ptr<Answer>;

  template <chatcore::Request R>
  AnswerPtr start(R request) {
    auto answer = std::make_shared<Answer>();
    client_->call(std::move(request), [answer](chatcore::Result<chatcore::Accepted> result) {
      std::lock_guard lock(answer->mutex);
      answer->result.emplace(std::move(result));
    });
    return answer;
  }
  chatcore::Result<chatcore::Accepted> wait(const AnswerPtr&, Deadline);
  void note(const chatcore::Push&);

  std::string name_;
  std::optional<chatcore::Checkpoint> checkpoint_;
  std::deque<AnswerPtr> queued_;
  std::map<chatcore::ConversationId, std::vector<Received>> received_;
  std::vector<std::pair<chatcore::ConversationId, Received>> transcript_;
  std::vector<std::string> surprises_;
  std::optional<chatcore::Client> client_;
};
