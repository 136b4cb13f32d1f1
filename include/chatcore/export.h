#pragma once

// CHATCORE_API marks what the library exports; everything else is hidden.
#if defined(_WIN32) && defined(CHATCORE_SHARED)
#ifdef CHATCORE_BUILDING
#define CHATCORE_API __declspec(dllexport)
#else
#define CHATCORE_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define CHATCORE_API __attribute__((visibility("default")))
#else
#define CHATCORE_API
#endif
