// SPDX-License-Identifier: BSD-2-Clause
/*
 * SAs age (RFC 4301 4.4.2.1: soft and hard limits) and take over from each other (rotation). All
 * of it is looked at once a second; what must not wait that long, no packet beyond a hard limit, is
 * the worker's to keep.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "clock.h"
#include "sad_internal.h"

#define NS_PER_S 1000000000ull

/* An outbound SA that was replaced stays with the worker until the packets are through that the
 * hooks had given to it. */
#define OUT_DRAIN_NS NS_PER_S

uint64_t sad_age(const struct sad *sad, uint32_t slot, uint64_t now_ns)
{
	uint64_t added = sad->states[slot].added_ns;

	return now_ns > added ? (now_ns - added) / NS_PER_S : 0;
}

static struct sa_limits used_up(const struct sad *sad, uint32_t slot, uint64_t now_ns)
{
	const struct sa_state *state = &sad->states[slot];

	return (struct sa_limits){
		.bytes = __atomic_load_n(&state->bytes, __ATOMIC_RELAXED),
		.packets = __atomic_load_n(&state->packets, __ATOMIC_RELAXED),
		.seconds = sad_age(sad, slot, now_ns),
	};
}

static enum sa_cause reached(const struct sa_limits *limits, const struct sa_limits *used)
{
	if (limits->packets && used->packets >= limits->packets)
		return SA_CAUSE_PACKETS;
	if (limits->bytes && used->bytes >= limits->bytes)
		return SA_CAUSE_BYTES;
	if (limits->seconds && used->seconds >= limits->seconds)
		return SA_CAUSE_SECONDS;
	return SA_CAUSE_NONE;
}

/*
 * The limit in octets is seldom met exactly: the packet that would pass it is refused. Where the
 * worker has refused some, an SA that has no room for the largest is taken to be one that did, at
 * the worst a packet too early.
 */
static bool refused_by_bytes(const struct sa_limits *hard, const struct sa_limits *used,
			     uint32_t largest_refused)
{
	return hard->bytes && largest_refused && used->bytes + largest_refused > hard->bytes;
}

/* Three quarters of the sequence numbers (RFC 4303 2.2.1) leave time for new keys. */
static bool sequence_low(const struct sad *sad, uint32_t slot)
{
	const struct sa_config *config = &sad->sas[slot].config;
	uint64_t next = __atomic_load_n(&sad->states[slot].seq_next, __ATOMIC_RELAXED);

	return config->direction == SPD_OUT && next > (config->esn ? 3ull << 62 : 3ull << 30);
}

/* Once for each SA and cause. */
static void warn(struct sad *sad, uint32_t slot, enum sa_cause why)
{
	struct sad_sa *sa = &sad->sas[slot];

	if (sa->warned & (1u << why))
		return;
	sa->warned |= (uint16_t)(1u << why);
	sad_tell(sad, slot, SA_CHANGE_DYING, why);
}

static void check_soft(struct sad *sad, uint32_t slot, const struct sa_limits *used)
{
	const struct sa_limits *soft = &sad->sas[slot].config.soft;

	/* One by one: each of them is told. */
	if (reached(&(struct sa_limits){ .packets = soft->packets }, used))
		warn(sad, slot, SA_CAUSE_PACKETS);
	if (reached(&(struct sa_limits){ .bytes = soft->bytes }, used))
		warn(sad, slot, SA_CAUSE_BYTES);
	if (reached(&(struct sa_limits){ .seconds = soft->seconds }, used))
		warn(sad, slot, SA_CAUSE_SECONDS);
	if (sequence_low(sad, slot))
		warn(sad, slot, SA_CAUSE_SEQUENCE);
}

static void check_limits(struct sad *sad, uint32_t slot, uint64_t now_ns, uint32_t largest_refused)
{
	const struct sa_limits *hard = &sad->sas[slot].config.hard;
	struct sa_limits used = used_up(sad, slot, now_ns);
	enum sa_cause why = reached(hard, &used);

	check_soft(sad, slot, &used);
	if (why == SA_CAUSE_NONE && refused_by_bytes(hard, &used, largest_refused))
		why = SA_CAUSE_BYTES;
	if (why != SA_CAUSE_NONE)
		sad_remove(sad, slot, SA_CHANGE_EXPIRED, why);
}

/* ---- rotation ------------------------------------------------------------------------------ */

static bool same_pair(const struct sad_sa *sa, const struct sad_sa *other)
{
	return sa->used && sa->config.protect_id == other->config.protect_id &&
	       sa->config.family == other->config.family;
}

bool sad_rotating(const struct sad *sad, uint32_t protect_id, uint8_t family)
{
	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		const struct sad_sa *sa = &sad->sas[slot];

		if (sa->used && sa->stage == STAGE_PENDING &&
		    sa->config.protect_id == protect_id && sa->config.family == family)
			return true;
	}
	return false;
}

/* What was there when the rotation began goes, each direction only if it has got a successor. */
static void retire(struct sad *sad, const struct sad_sa *new, const bool replaced[],
		   uint64_t now_ns)
{
	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		struct sad_sa *sa = &sad->sas[slot];
		bool outbound = sa->config.direction == SPD_OUT;

		if (!same_pair(sa, new) || sa->stage != STAGE_LIVE || sa->serial > new->rotation ||
		    !replaced[sa->config.direction])
			continue;
		sa->stage = STAGE_DRAINING;
		sa->until_ns = now_ns + (outbound ? OUT_DRAIN_NS : new->drain * NS_PER_S);
	}
}

/* The new SAs of a (peer, protection) and family take over. */
static void switch_pair(struct sad *sad, uint32_t first, uint64_t now_ns, enum sa_cause why)
{
	const struct sad_sa *new = &sad->sas[first];
	bool replaced[SPD_DIRECTION_COUNT] = { false };
	int err;

	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		struct sad_sa *sa = &sad->sas[slot];

		if (!same_pair(sa, new) || sa->stage != STAGE_PENDING)
			continue;
		sa->stage = STAGE_LIVE;
		replaced[sa->config.direction] = true;
		if (sa->config.direction == SPD_OUT)
			sad_tell(sad, slot, SA_CHANGE_ROTATED, why);
	}
	retire(sad, new, replaced, now_ns);
	err = sad_publish_outbound(sad, new->config.protect_id);
	if (err)
		syslog(LOG_ERR, "slot %u: cannot put it in use: %s", first, strerror(-err));
}

/*
 * The peer has its half when it sends by it, or so it is assumed after a while: two hosts that are
 * told within that time lose nothing, for both receive by the new SAs before either sends.
 */
static void check_rotation(struct sad *sad, uint32_t slot, uint64_t now_ns)
{
	const struct sad_sa *sa = &sad->sas[slot];
	bool heard = sa->config.direction == SPD_IN &&
		     __atomic_load_n(&sad->states[slot].packets, __ATOMIC_RELAXED);

	if (sa->stage == STAGE_PENDING && (heard || now_ns >= sa->until_ns))
		switch_pair(sad, slot, now_ns, heard ? SA_CAUSE_PEER : SA_CAUSE_WAITED);
	else if (sa->stage == STAGE_DRAINING && now_ns >= sa->until_ns)
		sad_remove(sad, slot, SA_CHANGE_REMOVED, SA_CAUSE_ROTATION);
}

void sad_look(struct sad *sad, uint32_t largest_refused)
{
	uint64_t now_ns = clock_ns();

	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		if (sad->sas[slot].used)
			check_limits(sad, slot, now_ns, largest_refused);
		if (sad->sas[slot].used)
			check_rotation(sad, slot, now_ns);
	}
}
