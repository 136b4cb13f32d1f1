#pragma once

// Everything a host needs. Each part also stands alone; testing.h (TestEngine, conformance) is apart.
#include <chatcore/async.h>
#include <chatcore/auth.h>
#include <chatcore/client.h>
#include <chatcore/engine.h>
#include <chatcore/event.h>
#include <chatcore/ids.h>
#include <chatcore/membership.h>
#include <chatcore/options.h>
#include <chatcore/policy.h>
#include <chatcore/pubsub.h>
#include <chatcore/requests.h>
#include <chatcore/result.h>
#include <chatcore/session.h>
#include <chatcore/storage.h>
#include <chatcore/transport.h>
