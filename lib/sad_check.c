// SPDX-License-Identifier: BSD-2-Clause
/* What is refused of SAs before anything is changed, all of it reported. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sad_internal.h"

/*
 * Ports are not compared: a (destination, protocol, SPI) that stands for one SA in UDP and for
 * another without would be one too many for whoever reads a capture.
 */
uint32_t sad_find(const struct sad *sad, const struct ipsecbpf_sa_id *id)
{
	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		const struct sad_sa *sa = &sad->sas[slot];

		if (sa->used && sa->config.spi == id->spi && sa->config.proto == id->proto &&
		    sa->config.family == id->family &&
		    !memcmp(&sa->config.dst, &id->dst, sizeof(id->dst)))
			return slot;
	}
	return 0;
}

struct ipsecbpf_sa_id sad_id(const struct sa_config *config)
{
	return (struct ipsecbpf_sa_id){
		.dst = config->dst, .spi = config->spi, .proto = config->proto,
		.family = config->family,
	};
}

static bool equal_limits(const struct sa_limits *a, const struct sa_limits *b)
{
	return a->bytes == b->bytes && a->packets == b->packets && a->seconds == b->seconds;
}

/* What the SA looks like on the wire. */
static bool equal_headers(const struct sa_config *a, const struct sa_config *b)
{
	return a->tunnel == b->tunnel && a->within_id == b->within_id && a->dscp == b->dscp &&
	       a->df == b->df && a->follow_peer == b->follow_peer &&
	       a->reassemble == b->reassemble && a->encap_sport == b->encap_sport &&
	       a->encap_dport == b->encap_dport && a->keepalive == b->keepalive &&
	       a->next_hop_given == b->next_hop_given &&
	       (!a->next_hop_given || (a->next_hop_family == b->next_hop_family &&
				       !memcmp(&a->next_hop, &b->next_hop, sizeof(a->next_hop))));
}

static bool equal_sa(const struct sa_config *a, const struct sa_config *b)
{
	return !memcmp(&a->src, &b->src, sizeof(a->src)) && a->direction == b->direction &&
	       equal_headers(a, b) && a->esn == b->esn && a->suite == b->suite &&
	       a->replay_window == b->replay_window && a->protect_id == b->protect_id &&
	       equal_limits(&a->soft, &b->soft) && equal_limits(&a->hard, &b->hard) &&
	       !memcmp(a->key, b->key, sizeof(a->key)) &&
	       !memcmp(a->mac_key, b->mac_key, sizeof(a->mac_key));
}

/* Is this SA there already? 1 yes, 0 no, -EEXIST with another key or other parameters. */
static int compare_live(const struct sad *sad, const struct sa_config *config,
			struct ipsecbpf_report *report)
{
	char name[160], live[SA_FINGERPRINT_LEN + 1], given[SA_FINGERPRINT_LEN + 1];
	const struct ipsecbpf_sa_id id = sad_id(config);
	uint32_t slot = sad_find(sad, &id);

	if (!slot)
		return 0;
	if (equal_sa(&sad->sas[slot].config, config))
		return 1;
	sad_sa_name(config, name, sizeof(name));
	sa_fingerprint(&sad->sas[slot].config, live);
	sa_fingerprint(config, given);
	if (strcmp(live, given))
		report_error(report, name,
			     "give the new SA another SPI, or ipsecbpf sa delete first",
			     "exists with another key (live %s, given %s)", live, given);
	else
		report_error(report, name,
			     "give the new SA another SPI, or ipsecbpf sa delete first",
			     "exists with the same key and other parameters, or for an older "
			     "definition of its protection");
	return -EEXIST;
}

/*
 * One counter-mode key, one sender: with the same key on an SA from another source (the peer's,
 * say), two hosts would use the same nonces (RFC 4106 2.1).
 */
static int check_key_use(const struct sad *sad, const struct sa_config *config,
			 struct ipsecbpf_report *report)
{
	const struct esp_suite *suite = suite_at(config->suite);
	char name[160], live_name[160];

	if (!suite->counter_mode)
		return 0;
	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		const struct sa_config *live = &sad->sas[slot].config;
		const struct esp_suite *other = suite_at(live->suite);

		if (!sad->sas[slot].used || live->direction == config->direction ||
		    suite_key_group(suite) != suite_key_group(other) ||
		    suite->key_len != other->key_len ||
		    memcmp(config->key, live->key, suite->key_len))
			continue;
		sad_sa_name(config, name, sizeof(name));
		sad_sa_name(live, live_name, sizeof(live_name));
		report_error(
			report, name, "give each direction a key of its own: ipsecbpf sa genkey",
			"has the key of the live %s, which the other host sends with", live_name);
		return -EEXIST;
	}
	return 0;
}

/* How many inbound SAs each (protection id, family) has, and would have. */
typedef uint32_t pair_counts[PROTECT_MAX][FAMILY_COUNT];

static int count_inbound(pair_counts counts, const struct sa_config *config,
			 struct ipsecbpf_report *report)
{
	char name[160];

	if (config->direction != SPD_IN ||
	    counts[config->protect_id][config->family]++ < INBOUND_SAS_MAX)
		return 0;
	sad_sa_name(config, name, sizeof(name));
	report_error(report, name,
		     "ipsecbpf sa delete one that is no longer needed; to exchange keys, ipsecbpf "
		     "sa rotate",
		     "one inbound SA too many from peer \"%s\" for \"%s\": %d are the limit",
		     config->peer, config->protection, INBOUND_SAS_MAX);
	return -EDQUOT;
}

/* An SA that may be added: all but its number. */
static int check_new(const struct sad *sad, const struct sa_config *config, pair_counts counts,
		     struct ipsecbpf_report *report)
{
	int err = check_key_use(sad, config, report);
	int too_many = count_inbound(counts, config, report);

	return err ? err : too_many;
}

static int check_room(const struct sad *sad, uint32_t add, struct ipsecbpf_report *report)
{
	uint32_t room = sad->slots - 1 - sad->counts[SPD_IN] - sad->counts[SPD_OUT];

	if (add <= room)
		return 0;
	report_error(report, "SAD", "attach with a larger --sa-slots",
		     "%u SAs to add, room for %u (of %u)", add, room, sad->slots - 1);
	return -ENOSPC;
}

int sad_check_apply(const struct sad *sad, const struct sa_config *configs, size_t count,
		    uint32_t *ret_add, struct ipsecbpf_report *report)
{
	pair_counts *counts = calloc(1, sizeof(*counts));
	uint32_t add = 0;
	int err = 0, same;

	if (!counts)
		return -ENOMEM;
	for (uint32_t slot = 1; slot < sad->slots; slot++)
		if (sad->sas[slot].used && sad->sas[slot].config.direction == SPD_IN)
			(*counts)[sad->sas[slot].config.protect_id]
				 [sad->sas[slot].config.family]++;
	for (size_t i = 0; i < count; i++) {
		same = compare_live(sad, &configs[i], report);
		add += same == 0;
		if (same == 0)
			same = check_new(sad, &configs[i], *counts, report);
		if (same < 0)
			err = same;
	}
	free(counts);
	if (!err)
		err = check_room(sad, add, report);
	*ret_add = add;
	return err;
}

int sad_check_rotate(const struct sad *sad, const struct sa_config *configs, size_t count,
		     struct ipsecbpf_report *report)
{
	char name[160];
	int err = 0;

	for (size_t i = 0; i < count; i++) {
		const struct ipsecbpf_sa_id id = sad_id(&configs[i]);

		sad_sa_name(&configs[i], name, sizeof(name));
		if (sad_find(sad, &id)) {
			report_error(report, name, "make new ones: ipsecbpf sa genkey",
				     "is there already: a rotation brings new SAs");
			err = -EEXIST;
		} else if (sad_rotating(sad, configs[i].protect_id, configs[i].family)) {
			report_error(report, name,
				     "wait until ipsecbpf sa list shows no SA as pending, or "
				     "ipsecbpf sa delete those",
				     "a rotation of \"%s\" with peer \"%s\" is pending already",
				     configs[i].protection, configs[i].peer);
			err = -EBUSY;
		}
	}
	return err;
}
