/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Preflight's own contract: its checks say what they found through preflight_say(). They read only.
 *
 * Included by: preflight.c (the system), preflight_nic.c (the interface).
 */
#ifndef IPSECBPF_PREFLIGHT_H
#define IPSECBPF_PREFLIGHT_H

#include "ipsecbpf.h"
#include "nic.h"

struct preflight {
	const char *ifname;
	struct nic nic;
	bool has_nic;		/* nic is filled in */
	preflight_fn fn;
	void *context;
	int failures;
};

/* Hands one check to the caller. `fix`: a command, in which "%s" becomes the interface, or NULL. */
void preflight_say(struct preflight *preflight, enum preflight_result result, const char *check,
		   const char *fix, const char *finding, ...) __attribute__((format(printf, 5, 6)));

/* Everything about the interface; leaves preflight->nic filled in if there is one. */
void preflight_nic(struct preflight *preflight);

#endif /* IPSECBPF_PREFLIGHT_H */
