#pragma once

#include <chatcore/chatcore.h>

#include <string>
#include <string_view>

// How chat_cli prints: each thing one line, the same for ever, so that scripts can look for it. --help shows all forms.

// Text on one line: control characters, which could move a terminal's cursor, become \n, \t, \xNN.
std::string escaped(std::string_view text);

// "[CONVERSATION #SEQ] USER: TEXT" or "[CONVERSATION #SEQ] * what happened".
std::string line_of(const chatcore::Event&);
std::string line_of(const chatcore::Push&);
std::string line_of(const chatcore::Accepted&);           // "[CONVERSATION #SEQ] disk", and " duplicate"
std::string line_of(const chatcore::ConversationEntry&);  // "CONVERSATION unread N head N title"
std::string line_of(const chatcore::Error&);              // "CODE: message"

std::string_view name_of(chatcore::Role);
