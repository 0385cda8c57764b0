// SPDX-License-Identifier: BSD-2-Clause
/* What of the SAD the BPF maps show: no keys, and nothing that a hook need not know. */
#include <bpf/bpf.h>
#include <errno.h>

#include "protections.h"
#include "sad_internal.h"

static struct sad_key map_key(const struct sa_config *sa)
{
	return (struct sad_key){
		.dst = sa->dst,
		.spi = sa->spi,
		.proto = sa->proto,
		.family = sa->family,
		.encap_port = sa->encap_dport,
	};
}

/* A packet-too-big message quotes the outermost SA only. */
static bool in_sad(const struct sa_config *sa)
{
	return sa->direction == SPD_IN || !sa->within_id;
}

static uint16_t entry_flags(const struct sa_config *sa)
{
	return (uint16_t)((sa->esn ? SA_F_ESN : 0) | (sa->tunnel ? SA_F_TUNNEL : 0) |
			  (sa->follow_peer ? SA_F_ANY_SRC : 0) |
			  (sa->direction == SPD_OUT ? SA_F_OUTBOUND : 0) |
			  (sa->within_id ? SA_F_NESTED : 0));
}

static int publish_entry(const struct sad *sad, uint32_t slot)
{
	const struct sad_sa *sa = &sad->sas[slot];
	struct sad_key key = map_key(&sa->config);
	struct sad_entry entry = {
		.src = sa->config.src,
		.slot = slot,
		.protect_id = sa->config.protect_id,
		.flags = entry_flags(&sa->config),
		.sa_gen = sa->gen,
		.replay_window = sa->config.replay_window,
		.encap_src_port = sa->config.encap_sport,
	};

	return bpf_map_update_elem(sad->pins->sad_fd, &key, &entry, BPF_NOEXIST) ? -errno : 0;
}

static int publish_slot(const struct sad *sad, uint32_t slot, bool used)
{
	const struct sad_sa *sa = &sad->sas[slot];
	struct sa_slot value = {
		.protect_id = sa->config.protect_id,
		.sa_gen = sa->gen,
		.used = used,
		.inbound = sa->config.direction == SPD_IN,
	};

	return bpf_map_update_elem(sad->pins->sa_slots_fd, &slot, &value, 0) ? -errno : 0;
}

/* One inbound SA more or less between these addresses. */
static int count_peer(const struct sad *sad, const struct sa_config *sa, bool more)
{
	struct sad_peer peer = {
		.src = sa->src, .dst = sa->dst, .proto = sa->proto, .family = sa->family,
	};
	int fd = sad->pins->sad_peers_fd;
	uint32_t sas = 0;

	if (bpf_map_lookup_elem(fd, &peer, &sas) && errno != ENOENT)
		return -errno;
	sas += more ? 1 : (sas ? -1u : 0);
	if (sas)
		return bpf_map_update_elem(fd, &peer, &sas, 0) ? -errno : 0;
	return bpf_map_delete_elem(fd, &peer) && errno != ENOENT ? -errno : 0;
}

/* What lets XDP leave all other packets alone: who sends us fragments of ESP, and is there ESP in
 * UDP at all? */
static int count_inbound(struct sad *sad, struct sad_sa *sa, bool more)
{
	uint32_t *udp_sas = &sad->pins->control->udp_sas;
	int err = 0;

	if (sa->config.direction != SPD_IN || sa->config.within_id || sa->counted == more)
		return 0;
	if (sa->config.encap_dport)
		__atomic_store_n(udp_sas, more ? *udp_sas + 1 : *udp_sas - 1, __ATOMIC_RELEASE);
	else
		err = count_peer(sad, &sa->config, more);
	if (!err)
		sa->counted = more;
	return err;
}

/*
 * Is `a` the better SA for packets of this family? Not one of a rotation whose other half may not
 * be there yet, unless there is no other. A tunnel carries both families, but one of the packet's
 * own is preferred; then the newest.
 */
static bool better_outbound(const struct sad_sa *a, const struct sad_sa *b, enum ip_family family)
{
	if (!b)
		return true;
	if ((a->stage == STAGE_PENDING) != (b->stage == STAGE_PENDING))
		return b->stage == STAGE_PENDING;
	if ((a->config.family == family) != (b->config.family == family))
		return a->config.family == family;
	return a->serial > b->serial;
}

uint32_t sad_best_outbound(const struct sad *sad, uint32_t protect_id, enum ip_family family)
{
	uint32_t best = 0;

	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		const struct sad_sa *sa = &sad->sas[slot];

		if (!sa->used || sa->config.direction != SPD_OUT || sa->stage == STAGE_DRAINING ||
		    sa->config.protect_id != protect_id ||
		    (!sa->config.tunnel && sa->config.family != family))
			continue;
		if (better_outbound(sa, best ? &sad->sas[best] : NULL, family))
			best = slot;
	}
	return best;
}

int sad_publish_outbound(const struct sad *sad, uint32_t protect_id)
{
	for (int family = 0; family < FAMILY_COUNT; family++) {
		uint32_t key = OUT_SA(protect_id, (uint32_t)family);
		uint32_t slot = sad_best_outbound(sad, protect_id, (enum ip_family)family);
		struct out_sa value = { .slot = slot, .sa_gen = sad->sas[slot].gen };

		if (bpf_map_update_elem(sad->pins->out_sa_fd, &key, &value, 0))
			return -errno;
	}
	return 0;
}

static int set_had_sa(const struct sad *sad, uint32_t protect_id, uint32_t had)
{
	return bpf_map_update_elem(sad->pins->had_sa_fd, &protect_id, &had, 0) ? -errno : 0;
}

void sad_forget_had_sa(const struct sad *sad)
{
	for (uint32_t id = 0; id < PROTECT_MAX; id++)
		set_had_sa(sad, id, 0);
	protections_remove(sad->pins, PROTECTION_HAD_SA);
}

int sad_publish(struct sad *sad, uint32_t slot)
{
	struct sad_sa *sa = &sad->sas[slot];
	int err = publish_slot(sad, slot, true);

	/* Before it serves: from its first packet on none passes in the clear any more. */
	if (!err)
		err = set_had_sa(sad, sa->config.protect_id, 1);
	if (!err)
		err = count_inbound(sad, sa, true);
	if (!err && in_sad(&sa->config))
		err = publish_entry(sad, slot);
	if (!err && sa->config.direction == SPD_OUT)
		err = sad_publish_outbound(sad, sa->config.protect_id);
	return err;
}

void sad_withdraw(struct sad *sad, uint32_t slot)
{
	struct sad_sa *sa = &sad->sas[slot];
	struct sad_key key = map_key(&sa->config);

	sa->used = false;
	if (sa->config.direction == SPD_OUT)
		sad_publish_outbound(sad, sa->config.protect_id);
	if (in_sad(&sa->config))
		bpf_map_delete_elem(sad->pins->sad_fd, &key);
	count_inbound(sad, sa, false);
	publish_slot(sad, slot, false);
}
