#include <chatcore/result.h>

namespace chatcore {
inline namespace v1 {

std::string_view name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::ok:
      return "ok";
    case ErrorCode::not_logged_in:
      return "not_logged_in";
    case ErrorCode::no_such_conversation:
      return "no_such_conversation";
    case ErrorCode::forbidden:
      return "forbidden";
    case ErrorCode::too_large:
      return "too_large";
    case ErrorCode::invalid:
      return "invalid";
    case ErrorCode::conflict:
      return "conflict";
    case ErrorCode::key_expired:
      return "key_expired";
    case ErrorCode::rate_limited:
      return "rate_limited";
    case ErrorCode::overloaded:
      return "overloaded";
    case ErrorCode::storage_unavailable:
      return "storage_unavailable";
    case ErrorCode::storage_full:
      return "storage_full";
    case ErrorCode::unknown_outcome:
      return "unknown_outcome";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::stopped:
      return "stopped";
    case ErrorCode::full_group:
      return "full_group";
    case ErrorCode::version_too_new:
      return "version_too_new";
    case ErrorCode::corruption:
      return "corruption";
    case ErrorCode::unknown_request:
      return "unknown_request";
    case ErrorCode::earlier_failed:
      return "earlier_failed";
    case ErrorCode::no_such_message:
      return "no_such_message";
    case ErrorCode::malformed_frame:
      return "malformed_frame";
    case ErrorCode::timeout:
      return "timeout";
    case ErrorCode::unauthenticated:
      return "unauthenticated";
    case ErrorCode::in_use:
      return "in_use";
    case ErrorCode::not_ours:
      return "not_ours";
    case ErrorCode::transport_failed:
      return "transport_failed";
    case ErrorCode::gone:
      return "gone";
  }
  return "unknown";  // of a later version
}

bool is_retryable(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::rate_limited:
    case ErrorCode::overloaded:
    case ErrorCode::storage_unavailable:
    case ErrorCode::storage_full:
    case ErrorCode::unknown_outcome:
    case ErrorCode::cancelled:
    case ErrorCode::stopped:
    case ErrorCode::earlier_failed:
    case ErrorCode::timeout:
    case ErrorCode::transport_failed:
      return true;
    default:
      return false;
  }
}

}  // namespace v1
}  // namespace chatcore
