/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many connections each application has (map app_usage): rows that no policy can use any more go, so
 * that policies whose applications come and go do not fill the map, which would let no more connections
 * begin.
 *
 * A row goes if it is 0 and no generation names its application. Hooks cannot be about to count there:
 * they charge by the snapshot of a generation, which is taken away only after all hooks that had looked
 * it up were waited for (policy_store.h); and a connection that is still charged keeps its row from
 * being 0. One that ends later leaves its row to the next time.
 *
 * Included by: policy_store.c. Threading: under the attachment's lock.
 */
#ifndef IPSECBPF_APP_USAGE_H
#define IPSECBPF_APP_USAGE_H

#include "pin.h"

/* How many rows went, or -errno: some that could go may be left. */
int app_usage_sweep(const struct pins *pins);

#endif /* IPSECBPF_APP_USAGE_H */
