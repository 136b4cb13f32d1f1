// Carries the precompiled header that all of the libraries share.
