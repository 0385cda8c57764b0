// SPDX-License-Identifier: BSD-2-Clause
/* Which SAs the live policy needs, and which of them there are. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe.h"
#include "policy_store.h"
#include "policy_trial.h"
#include "protections.h"

void ipsecbpf_view_fini(struct ipsecbpf_view *view)
{
	policy_free(view->policy);
	free(view->pairs);
	*view = (struct ipsecbpf_view){ 0 };
}

/* Names of what the policy needs on this interface. */
static int note_pairs(struct ipsecbpf_view *view, const char *ifname)
{
	struct policy_need *needs;
	size_t count;
	int err = policy_needs(view->policy, ifname, &needs, &count);

	if (err)
		return err;
	view->pairs = calloc(count + 1, sizeof(*view->pairs));
	for (size_t i = 0; view->pairs && i < count; i++) {
		const struct policy_pair *pair = &needs[i].pair;
		struct ipsecbpf_pair_use *use = &view->pairs[view->pair_count++];

		memcpy(use->peer, view->policy->peers[pair->peer].name, sizeof(use->peer));
		memcpy(use->protection, view->policy->protections[pair->protection].name,
		       sizeof(use->protection));
		memcpy(use->needed, needs[i].needed, sizeof(use->needed));
	}
	free(needs);
	return view->pairs ? 0 : -ENOMEM;
}

static int note_policy(struct ipsecbpf_view *view, const struct pins *pins,
		       struct ipsecbpf_report *report)
{
	uint32_t identity = policy_identity(pins);
	int err;

	if (view->policy && view->identity == identity)
		return 0;
	ipsecbpf_view_fini(view);
	if (!identity)
		return 0;
	view->policy = policy_read_live(pins, report);
	err = view->policy ? note_pairs(view, pins->ifname) : -errno;
	if (!err)
		err = policy_read_head(pins, policy_generation(pins), &view->head);
	if (err)
		ipsecbpf_view_fini(view);
	else
		view->identity = identity;
	return err == -ENODATA ? 0 : err;
}

static int count_sas(struct ipsecbpf_view *view, const struct pins *pins)
{
	uint32_t (*counts)[SPD_DIRECTION_COUNT] = calloc(PROTECT_MAX, sizeof(*counts));
	struct sa_slot slot;

	if (!counts)
		return -ENOMEM;
	for (uint32_t i = 1; i < pins->attachment.sa_slots; i++)
		if (!bpf_map_lookup_elem(pins->sa_slots_fd, &i, &slot) && slot.used)
			counts[slot.protect_id % PROTECT_MAX][slot.inbound ? SPD_IN : SPD_OUT]++;
	for (size_t i = 0; i < view->pair_count; i++) {
		struct ipsecbpf_pair_use *use = &view->pairs[i];
		uint32_t id = protections_live_id(pins, use->peer, use->protection);

		memset(use->sas, 0, sizeof(use->sas));
		if (id)
			memcpy(use->sas, counts[id % PROTECT_MAX], sizeof(use->sas));
	}
	free(counts);
	return 0;
}

int ipsecbpf_view_update(struct ipsecbpf_view *view, const char *ifname,
			 struct ipsecbpf_report *report)
{
	struct pins pins;
	int err;

	err = pins_open(&pins, ifname, report);
	if (err) {
		ipsecbpf_view_fini(view);
		return err;
	}
	err = note_policy(view, &pins, report);
	if (!err && view->policy)
		err = count_sas(view, &pins);
	pins_close(&pins);
	return err;
}
