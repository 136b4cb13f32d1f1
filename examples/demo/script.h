#pragma once

#include <chatcore/chatcore.h>

#include <map>
#include <string>
#include <vector>

// One line of the script; script.txt says what each verb means.
struct Step {
  int line = 0;
  std::string text;                     // as it stands there
  std::string who, verb, conversation;  // "server" is one, too; a conversation, or whatever stands in its place
  chatcore::Seq first = 0, last = 0;    // #N..M
  chatcore::Seq target = 0;             // of #T
  std::string peer, key;                // to @PEER, key KEY
  std::vector<std::string> with;        // U V
  std::string says;                     // behind the colon; of `receives`: the event
};

// The steps of a file; `invalid`, naming the line, where it is none.
chatcore::Result<std::vector<Step>> read_script(const std::string& path);

// `text` with {seq} replaced.
std::string with_seq(std::string text, chatcore::Seq);

// An event in the script's words.
std::string event_in_words(const chatcore::Event&);
