#include "protocol/wire.h"

namespace chatcore {
inline namespace v1 {
namespace protocol {

#define CHATCORE_CODEC(T)          \
  template Bytes encode(const T&); \
  template Result<T> decode(View);

CHATCORE_FOR_EACH_REQUEST(CHATCORE_CODEC)
CHATCORE_CODEC(Login)
CHATCORE_CODEC(Ping)

#undef CHATCORE_CODEC

}  // namespace protocol
}  // namespace v1
}  // namespace chatcore
