// SPDX-License-Identifier: BSD-2-Clause
/* What the SAD tells: all SAs with their figures, and what has happened to them. */
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "clock.h"
#include "sa_runtime.h"
#include "sad_internal.h"

#define PATH_MTU_FRESH_NS (600ull * 1000000000u) /* as long as the kernel keeps one */
#define NS_PER_MS	  1000000u

/* ---- events -------------------------------------------------------------------------------- */

static void log_event(const struct sad *sad, uint32_t slot, const struct ipsecbpf_sa_event *event)
{
	int level = event->change == SA_CHANGE_EXPIRED ? LOG_WARNING : LOG_NOTICE;
	char name[160];

	if (event->change == SA_CHANGE_ADDED || event->change == SA_CHANGE_REMOVED)
		return;
	sad_sa_name(&sad->sas[slot].config, name, sizeof(name));
	syslog(level, "%s: %s: %s: %s", sad->pins->ifname, name,
	       sa_change_name(event->change), sa_cause_text(event->why));
}

void sad_tell(struct sad *sad, uint32_t slot, enum sa_change change, enum sa_cause why)
{
	const struct sa_config *config = &sad->sas[slot].config;
	uint64_t serial = ++sad->event_serial;
	struct ipsecbpf_sa_event *event = &sad->events[serial % SA_EVENTS_KEPT];

	*event = (struct ipsecbpf_sa_event){
		.serial = serial,
		.ns = clock_ns(),
		.src = config->src,
		.dst = config->dst,
		.spi = config->spi,
		.proto = config->proto,
		.family = config->family,
		.direction = config->direction,
		.change = (uint8_t)change,
		.why = (uint8_t)why,
	};
	memcpy(event->peer, config->peer, sizeof(event->peer));
	memcpy(event->protection, config->protection, sizeof(event->protection));
	log_event(sad, slot, event);
}

uint32_t sad_events(const struct sad *sad, uint64_t since,
		    struct ipsecbpf_sa_event events[SA_EVENTS_KEPT])
{
	uint64_t last = sad->event_serial, first;
	uint32_t count = 0;

	/* More than there are: they were counted by an earlier supervisor. */
	first = since == CONTROL_LAST_EVENT ? last : since < last ? since + 1 : 1;
	if (since == last || !last)
		return 0;
	if (last - first >= SA_EVENTS_KEPT)
		first = last - SA_EVENTS_KEPT + 1;
	for (uint64_t serial = first; serial <= last; serial++)
		events[count++] = sad->events[serial % SA_EVENTS_KEPT];
	return count;
}

/* ---- SAs ----------------------------------------------------------------------------------- */

static uint32_t path_mtu_of(const struct sa_state *state, uint64_t now_ns)
{
	uint64_t learnt = __atomic_load_n(&state->path_mtu_ns, __ATOMIC_RELAXED);

	return state->path_mtu && now_ns - learnt < PATH_MTU_FRESH_NS ? state->path_mtu : 0;
}

static uint32_t inner_mtu_of(const struct sa_config *config, uint32_t mtu)
{
	const struct sa_runtime sizes = {
		.suite = suite_at(config->suite),
		.tunnel = config->tunnel,
		.family = config->family,
		.proto = config->proto,
		.esn = config->esn,
		.encap_sport = config->encap_sport,
		.encap_dport = config->encap_dport,
	};

	return sa_inner_mtu(&sizes, mtu);
}

/* What an SA's packets may have, by the path and the SAs around it: as worker_sas_mtu() says it. */
static uint32_t mtu_of(const struct sad *sad, uint32_t slot, uint32_t mtu, uint64_t now_ns)
{
	uint32_t chain[BUNDLE_MAX], depth = 0, learnt;

	while (slot && sad->sas[slot].config.within_id && depth < BUNDLE_MAX) {
		const struct sa_config *config = &sad->sas[slot].config;

		chain[depth++] = slot;
		slot = sad_best_outbound(sad, config->within_id, (enum ip_family)config->family);
	}
	if (!slot)
		return mtu;	/* nothing is sent now */
	learnt = path_mtu_of(&sad->states[slot], now_ns);
	if (learnt && learnt < mtu)
		mtu = learnt;
	for (; depth; slot = chain[--depth])
		mtu = inner_mtu_of(&sad->sas[slot].config, mtu);
	return mtu;
}

static bool in_use(const struct sad *sad, uint32_t slot)
{
	uint32_t protect_id = sad->sas[slot].config.protect_id;

	return sad_best_outbound(sad, protect_id, FAMILY_V4) == slot ||
	       sad_best_outbound(sad, protect_id, FAMILY_V6) == slot;
}

static enum sa_stage stage_of(const struct sad_sa *sa)
{
	return sa->stage == STAGE_LIVE && sa->warned ? STAGE_DYING : (enum sa_stage)sa->stage;
}

static uint64_t left(uint64_t limit, uint64_t used)
{
	return limit > used ? limit - used : 0;
}

static void describe_use(const struct sad *sad, uint32_t slot, uint64_t now_ns,
			 struct ipsecbpf_sa_info *info)
{
	const struct sa_config *config = &sad->sas[slot].config;
	const struct sa_state *state = &sad->states[slot];

	info->age = sad_age(sad, slot, now_ns);
	info->seq = config->direction == SPD_OUT ? state->seq_next - 1 : state->replay_top;
	info->packets = state->packets;
	info->bytes = state->bytes;
	info->icv_failed = state->icv_failed;
	info->replayed = state->replayed;
	info->lost = state->lost;
	info->idle_ms = state->used_ns ? (now_ns - state->used_ns) / NS_PER_MS : UINT64_MAX;
	info->soft = config->soft;
	info->hard = config->hard;
	info->left = (struct sa_limits){
		.bytes = left(config->hard.bytes, state->bytes),
		.packets = left(config->hard.packets, state->packets),
		.seconds = left(config->hard.seconds, info->age),
	};
	info->path_mtu = path_mtu_of(state, now_ns);
	info->moved_to = state->peer;
	info->moved_port = state->peer_port;
}

static void describe(const struct sad *sad, uint32_t slot, uint32_t mtu, struct control_sa *out)
{
	const struct sa_config *config = &sad->sas[slot].config;
	bool outbound = config->direction == SPD_OUT;

	*out = (struct control_sa){
		.suite = config->suite,
		.info = {
			.src = config->src, .dst = config->dst, .spi = config->spi,
			.proto = config->proto, .family = config->family,
			.direction = config->direction, .tunnel = config->tunnel,
			.esn = config->esn, .replay_window = config->replay_window, .slot = slot,
			.active = outbound && in_use(sad, slot),
			.stage = (uint8_t)stage_of(&sad->sas[slot]),
			.nested = config->within_id != 0,
			.encap_sport = config->encap_sport, .encap_dport = config->encap_dport,
		},
	};
	describe_use(sad, slot, clock_ns(), &out->info);
	out->info.inner_mtu = inner_mtu_of(config, mtu_of(sad, slot, mtu, clock_ns()));
	memcpy(out->info.peer, config->peer, sizeof(out->info.peer));
	memcpy(out->info.protection, config->protection, sizeof(out->info.protection));
	sa_fingerprint(config, out->info.fingerprint);
}

struct control_sa *sad_list(const struct sad *sad, uint32_t mtu, uint32_t *ret_count)
{
	struct control_sa *list;
	uint32_t count = 0;

	list = calloc((size_t)sad->counts[SPD_IN] + sad->counts[SPD_OUT] + 1, sizeof(*list));
	if (!list)
		return NULL;
	for (uint32_t slot = 1; slot < sad->slots; slot++)
		if (sad->sas[slot].used)
			describe(sad, slot, mtu, &list[count++]);
	*ret_count = count;
	return list;
}
