/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a live attachment is short of: SAs that its policy needs, and room in its maps.
 *
 * Included by: ctl/metrics*.c. Part of the public interface.
 * Ownership:   a view is the caller's, zeroed at first, freed by ipsecbpf_view_fini().
 * Threading:   none.
 */
#ifndef IPSECBPF_OBSERVE_H
#define IPSECBPF_OBSERVE_H

#include "ipsecbpf.h"

/* A (peer, protection) that the live policy uses. */
struct ipsecbpf_pair_use {
	char peer[NAME_LEN], protection[NAME_LEN];
	bool needed[SPD_DIRECTION_COUNT];	/* some rule protects by it in this direction */
	uint32_t sas[SPD_DIRECTION_COUNT];	/* that serve it as the policy defines it now */
};

/* The live policy and its pairs. Kept from one look to the next: it is parsed again only if another
 * one has been applied meanwhile. */
struct ipsecbpf_view {
	uint32_t identity;		/* as policy_identity() */
	struct policy *policy;		/* NULL: none is loaded */
	struct spd_head head;		/* of what it was compiled to */
	struct ipsecbpf_pair_use *pairs;
	size_t pair_count;
};
/* Brings it up to date. 0 or -errno; what the view held is then gone. */
int ipsecbpf_view_update(struct ipsecbpf_view *view, const char *ifname,
			 struct ipsecbpf_report *report);
void ipsecbpf_view_fini(struct ipsecbpf_view *view);

struct ipsecbpf_map_use {
	const char *name;	/* as in bpf/maps.h */
	uint32_t max_entries;	/* of `events`: octets */
	uint32_t entries;	/* in use */
	bool fills;		/* entries is known: it can become full */
};
/* Of every pinned map, in a fixed order; *ret_maps is malloc'd. */
int ipsecbpf_map_list(const char *ifname, struct ipsecbpf_map_use **ret_maps, size_t *ret_count,
		      struct ipsecbpf_report *report);

#endif /* IPSECBPF_OBSERVE_H */
