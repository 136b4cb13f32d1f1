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
std::string line_of(const chatcore::Marks&);              // "CONVERSATION read #N muted pinned archived unread"
std::string line_of(const chatcore::Presence&);           // "USER online", "USER offline, last seen TIME"
std::string line_of(const chatcore::Receipt&);            // "USER received #N, read #N"
std::string line_of(const chatcore::Profile&);            // "USER is NAME, avatar AVATAR, KEY=VALUE"
std::string line_of(const chatcore::SessionInfo&);        // "SESSION DEVICE since TIME from ADDRESS, this one"
std::string line_of(const chatcore::Error&);              // "CODE: message"

// Who types, is here, has read: it comes when it likes, so nobody waits for a number of it.
bool is_live_state(const chatcore::Push&);

std::string_view name_of(chatcore::Role);
