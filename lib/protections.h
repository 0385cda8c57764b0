/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Protect ids: what connects rules to SAs. A (peer, protection) pair of the policy has an id; rules
 * carry it, SAs serve it. An id stands for one immutable definition (mode, suites, addresses and so
 * on, and the id of the pair around it): when the definition changes, the pair gets a new id, and
 * SAs made for the old one serve nothing any more.
 *
 * Included by: policy_apply.c, policy_store.c, sa_apply.c, sad_publish.c. Threading: under the
 * attachment's lock (pins_lock()); `sa flush` in the supervisor, which has not got it, forgets pairs
 * (PROTECTION_HAD_SA) that a policy may be noting at that moment: those stay mandatory.
 */
#ifndef IPSECBPF_PROTECTIONS_H
#define IPSECBPF_PROTECTIONS_H

#include "pin.h"
#include "policy.h"

struct protections {
	const struct pins *pins;
	const struct policy *policy;
	uint32_t live;		     /* the generation in force */
	uint8_t taken[PROTECT_MAX];  /* ids that live SAs or the live policy hold */
	struct protection_key *keys; /* pairs of the new policy, with their ids */
	struct protection_val *values;
	struct policy_pair *pairs;
	size_t count, capacity;
	uint16_t places[2 * PROTECT_MAX]; /* hash table: index of a pair + 1, or 0 */
};

/* Reads what is live. */
void protections_init(struct protections *protections, const struct pins *pins,
		      const struct policy *policy);
void protections_fini(struct protections *protections);

/* The id of a pair of the new policy: the live one if its definition is unchanged, otherwise a free
 * one. 0 if all are taken. As a protect_id_fn for policy_compile(): outer pairs come first. */
uint32_t protections_id(void *protections, size_t peer, size_t protection);

/* Do all pairs of the new policy (those asked for by protections_id()) have their ids already? */
bool protections_are_live(const struct protections *protections);

/* Names the pairs of the new policy, in the generation that is not in force. 0 or -errno. */
int protections_add(const struct protections *protections);

/* Forgets the names of a generation that is not in force, nor will be; but not those that an SA has
 * served. PROTECTION_HAD_SA: these as well. */
void protections_remove(const struct pins *pins, uint32_t generation);

/* What is in force of a pair; id 0 if the live policy does not use it. */
struct protection_val protections_live(const struct pins *pins, const char *peer,
				       const char *protection);
uint32_t protections_live_id(const struct pins *pins, const char *peer, const char *protection);

#endif /* IPSECBPF_PROTECTIONS_H */
