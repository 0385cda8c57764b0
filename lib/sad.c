// SPDX-License-Identifier: BSD-2-Clause
/* SAs come and go: with keys, slots, sequence numbers and a place in the worker. */
#include "sad.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#include "clock.h"
#include "replay.h"
#include "sad_internal.h"

static size_t page_round(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

int sad_init(struct sad *sad, const struct pins *pins)
{
	uint32_t slots = pins->attachment.sa_slots;

	*sad = (struct sad){ .pins = pins, .slots = slots };
	sad->states_size = page_round(slots * sizeof(*sad->states));
	sad->states = mmap(NULL, sad->states_size, PROT_READ | PROT_WRITE, MAP_SHARED,
			   pins->sa_state_fd, 0);
	if (sad->states == MAP_FAILED)
		return -errno;
	sad->sas_size = page_round(slots * sizeof(*sad->sas));
	sad->sas = mmap(NULL, sad->sas_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
	if (sad->sas == MAP_FAILED) {
		munmap(sad->states, sad->states_size);
		return -ENOMEM;
	}
	sad->marks = calloc(slots, sizeof(*sad->marks));
	if (!sad->marks) {
		sad_fini(sad);
		return -ENOMEM;
	}
	/* Keys must not reach swap, core files or children. */
	if (mlock(sad->sas, sad->sas_size) || madvise(sad->sas, sad->sas_size, MADV_DONTDUMP) ||
	    madvise(sad->sas, sad->sas_size, MADV_WIPEONFORK)) {
		int err = -errno;

		sad_fini(sad);
		return err;
	}
	return 0;
}

void sad_fini(struct sad *sad)
{
	explicit_bzero(sad->sas, sad->sas_size);
	munmap(sad->sas, sad->sas_size);
	munmap(sad->states, sad->states_size);
	free(sad->marks);
	*sad = (struct sad){ 0 };
}

void sad_sa_name(const struct sa_config *sa, char *out, size_t out_len)
{
	struct address_range dst = { .family = sa->family };
	char address[100];

	dst.lo = dst.hi = addr128_from_wire(sa->family, &sa->dst);
	address_format(&dst, address, sizeof(address));
	snprintf(out, out_len, "SA dst %s proto %s spi 0x%08x", address,
		 sa->proto == IPPROTO_AH ? "ah" : "esp", be32toh(sa->spi));
}

/* ---- adding and removing ------------------------------------------------------------------- */

static int explain_reservation(int err, const struct sa_config *sa, struct ipsecbpf_report *report)
{
	char name[160];

	sad_sa_name(sa, name, sizeof(name));
	if (err == -ENOENT)
		report_error(report, name,
			     "if no host ever sent with this key, apply with --fresh; otherwise "
			     "make a new one with ipsecbpf sa genkey",
			     "no sequence number record of this key on this host: an IV could "
			     "repeat, and %s must never see one twice",
			     suite_at(sa->suite)->name);
	else if (err == -EBUSY)
		report_error(report, name, "give each outbound SA a key of its own: ipsecbpf sa genkey",
			     "another outbound SA on this host is sending with this key");
	else if (err == -EBADMSG)
		report_error(report, name, "make a new key with ipsecbpf sa genkey",
			     "the sequence number record of this key is damaged");
	else
		report_error(report, name, "is " STATE_ROOT " writable?",
			     "cannot reserve sequence numbers: %s", strerror(-err));
	return err;
}

static struct sad_mark *find_mark(const struct sad *sad, const struct sa_config *config,
				  const char *key_id)
{
	for (uint32_t i = 0; i < sad->slots; i++) {
		struct sad_mark *mark = &sad->marks[i];

		if (mark->replay_top && mark->spi == config->spi &&
		    !memcmp(&mark->dst, &config->dst, sizeof(mark->dst)) &&
		    !strcmp(mark->key_id, key_id))
			return mark;
	}
	return NULL;
}

/* A removed inbound SA: what it had received must not be accepted again under the same key. */
static void remember_received(struct sad *sad, uint32_t slot)
{
	const struct sa_config *config = &sad->sas[slot].config;
	uint64_t top = sad->states[slot].replay_top;
	struct sad_mark *mark;
	char key_id[33];

	if (config->direction != SPD_IN || !top)
		return;
	sa_key_id(config, key_id);
	mark = find_mark(sad, config, key_id);
	if (!mark)
		mark = &sad->marks[sad->next_mark++ % sad->slots];
	*mark = (struct sad_mark){ .dst = config->dst, .spi = config->spi, .replay_top = top };
	memcpy(mark->key_id, key_id, sizeof(mark->key_id));
}

/* The window of an inbound SA: empty, or, for one that was here before, closed up to where it was. */
static void open_window(const struct sad *sad, const struct sa_config *config,
			struct sa_state *state)
{
	const struct sad_mark *mark;
	char key_id[33];

	sa_key_id(config, key_id);
	mark = find_mark(sad, config, key_id);
	if (!mark)
		return;
	replay_resume(state, mark->replay_top);
}

/* Reserves the first block of numbers on disk, and lays out the SA's run-time state. */
static int reserve(struct sad *sad, uint32_t slot, uint32_t flags, struct ipsecbpf_report *report)
{
	struct sad_sa *sa = &sad->sas[slot];
	struct sa_state state = { .added_ns = clock_ns() };
	char key_id[33];
	int err = 0;

	sa->reservation.fd = -1;
	if (sa->config.direction == SPD_OUT) {
		sa_key_id(&sa->config, key_id);
		/* Only counter modes die of a repeated number; the rest start at 1 without a
		 * question. */
		if ((flags & SA_APPLY_FRESH) || !suite_at(sa->config.suite)->counter_mode)
			err = reservation_start(key_id, report);
		if (!err)
			err = reservation_open(&sa->reservation, key_id);
		if (err)
			return explain_reservation(err, &sa->config, report);
		state.seq_next = sa->reservation.next;
		err = reservation_extend(&sa->reservation, state.seq_next + SEQ_BLOCK);
		if (err) {
			reservation_close(&sa->reservation, UINT64_MAX);
			return explain_reservation(err, &sa->config, report);
		}
		state.seq_reserved = sa->reservation.next;
	} else {
		open_window(sad, &sa->config, &state);
	}
	sad->states[slot] = state;
	return 0;
}

void sad_next_hop(void *context, uint32_t slot, uint64_t value)
{
	struct sad *sad = context;

	__atomic_store_n(&sad->states[slot].next_hop, value, __ATOMIC_RELAXED);
}

/*
 * In transport mode the frame already goes where the packet goes. In a tunnel the stack has chosen
 * the next hop for the inner destination, which may be another than that for the peer.
 */
static void track_next_hop(const struct sad *sad, uint32_t slot)
{
	const struct sa_config *config = &sad->sas[slot].config;
	const struct net_watch_target target = {
		.address = config->next_hop_given ? config->next_hop : config->dst,
		.family = config->next_hop_given ? config->next_hop_family : config->family,
		.on_link = config->next_hop_given,
	};

	if (config->direction == SPD_OUT && config->tunnel)
		net_watch_track(sad->net_watch, slot, &target);
}

static uint32_t free_slot(const struct sad *sad)
{
	for (uint32_t slot = 1; slot < sad->slots; slot++)
		if (!sad->sas[slot].used)
			return slot;
	return 0;
}

/* How SAs are added. */
struct addition {
	uint32_t flags;			/* SA_APPLY_FRESH */
	enum sa_stage stage;		/* STAGE_LIVE or STAGE_PENDING; the rest is for that */
	uint32_t drain;			/* seconds */
	uint64_t until_ns;		/* CLOCK_MONOTONIC */
	uint64_t rotation;		/* the last serial before it */
};

static int add_one(struct sad *sad, const struct sa_config *config, const struct addition *how,
		   uint32_t *ret_slot, struct ipsecbpf_report *report)
{
	uint32_t slot = free_slot(sad); /* capacity was checked */
	struct sad_sa *sa = &sad->sas[slot];
	char name[160];
	int err;

	sa->config = *config;
	sa->stage = (uint8_t)how->stage;
	sa->drain = how->drain;
	sa->until_ns = how->until_ns;
	sa->rotation = how->rotation;
	sa->warned = 0;
	err = reserve(sad, slot, how->flags, report);
	if (err)
		goto wipe;
	sa->gen++;
	sa->serial = ++sad->serial;
	sa->used = true;
	sad->counts[config->direction]++;
	err = sad->worker.add(sad->worker.context, slot, sa);
	if (!err) {
		/* First, so that most often not even the first packet goes a wrong way. */
		track_next_hop(sad, slot);
		err = sad_publish(sad, slot);
	}
	if (!err) {
		*ret_slot = slot;
		return 0;
	}
	sad_sa_name(config, name, sizeof(name));
	report_error(report, name, NULL, "cannot install: %s", strerror(-err));
	sad_withdraw(sad, slot);
	net_watch_untrack(sad->net_watch, slot);
	sad->worker.remove(sad->worker.context, slot);
	sad->counts[config->direction]--;
	reservation_close(&sa->reservation, sad->states[slot].seq_next);
wipe:
	sa_config_wipe(&sa->config);
	return err;
}

static void remove_one(struct sad *sad, uint32_t slot)
{
	struct sad_sa *sa = &sad->sas[slot];
	bool quiet;

	sad_withdraw(sad, slot);
	net_watch_untrack(sad->net_watch, slot);
	quiet = !sad->worker.remove(sad->worker.context, slot);
	remember_received(sad, slot);
	sad->counts[sa->config.direction]--;
	/* If the worker has not answered, it may still send: nothing goes back to the disk. */
	reservation_close(&sa->reservation, quiet ? sad->states[slot].seq_next : UINT64_MAX);
	sa_config_wipe(&sa->config);
}

void sad_remove(struct sad *sad, uint32_t slot, enum sa_change change, enum sa_cause why)
{
	sad_tell(sad, slot, change, why);
	remove_one(sad, slot);
}

/* ---- requests ------------------------------------------------------------------------------ */

static int add_all(struct sad *sad, const struct sa_config *configs, size_t count,
		   const struct addition *how, struct ipsecbpf_sa_result *ret_result,
		   struct ipsecbpf_report *report)
{
	uint32_t *added, add, done = 0;
	int err;

	err = sad_check_apply(sad, configs, count, &add, report);
	if (err)
		return err;
	added = calloc(add + 1, sizeof(*added));
	if (!added)
		return -ENOMEM;
	for (size_t i = 0; !err && i < count; i++) {
		const struct ipsecbpf_sa_id id = sad_id(&configs[i]);

		if (sad_find(sad, &id))
			continue;
		err = add_one(sad, &configs[i], how, &added[done], report);
		done += !err;
	}
	for (uint32_t i = 0; !err && i < done; i++)
		sad_tell(sad, added[i], SA_CHANGE_ADDED, SA_CAUSE_COMMAND);
	while (err && done)
		remove_one(sad, added[--done]);
	free(added);
	if (err)
		return err;
	*ret_result = (struct ipsecbpf_sa_result){ done, (uint32_t)count - done };
	return 0;
}

int sad_apply(struct sad *sad, const struct sa_config *configs, size_t count, uint32_t flags,
	      struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report)
{
	const struct addition how = { .flags = flags, .stage = STAGE_LIVE };

	return add_all(sad, configs, count, &how, ret_result, report);
}

int sad_rotate(struct sad *sad, const struct sa_config *configs, size_t count, uint32_t flags,
	       const struct control_rotate *timing, struct ipsecbpf_sa_result *ret_result,
	       struct ipsecbpf_report *report)
{
	const struct addition how = {
		.flags = flags,
		.stage = STAGE_PENDING,
		.drain = timing->drain,
		.until_ns = clock_ns() + timing->switch_after * 1000000000ull,
		.rotation = sad->serial,
	};
	int err = sad_check_rotate(sad, configs, count, report);

	return err ? err : add_all(sad, configs, count, &how, ret_result, report);
}

int sad_delete(struct sad *sad, const struct ipsecbpf_sa_id *id, struct ipsecbpf_report *report)
{
	const struct sa_config wanted = {
		.dst = id->dst, .spi = id->spi, .proto = id->proto, .family = id->family,
	};
	uint32_t slot = sad_find(sad, id);
	char name[160];

	if (slot) {
		sad_remove(sad, slot, SA_CHANGE_REMOVED, SA_CAUSE_COMMAND);
		return 0;
	}
	sad_sa_name(&wanted, name, sizeof(name));
	report_error(report, name, "ipsecbpf sa list shows those that are there",
		     "there is no such SA");
	return -ENOENT;
}

uint32_t sad_flush(struct sad *sad)
{
	uint32_t removed = 0;

	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		if (!sad->sas[slot].used)
			continue;
		sad_remove(sad, slot, SA_CHANGE_REMOVED, SA_CAUSE_COMMAND);
		removed++;
	}
	return removed;
}

bool sad_refill(struct sad *sad)
{
	bool all = true;

	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		struct sad_sa *sa = &sad->sas[slot];
		struct sa_state *state = &sad->states[slot];
		uint64_t next = __atomic_load_n(&state->seq_next, __ATOMIC_RELAXED);
		int err;

		if (!sa->used || sa->config.direction != SPD_OUT ||
		    state->seq_reserved - next > SEQ_LOW_WATER)
			continue;
		err = reservation_extend(&sa->reservation, state->seq_reserved + SEQ_BLOCK);
		all &= !err;
		if (err)
			syslog(LOG_ERR, "slot %u: cannot reserve sequence numbers: %s", slot,
			       strerror(-err));
		else
			__atomic_store_n(&state->seq_reserved, sa->reservation.next,
					 __ATOMIC_RELEASE);
	}
	return all;
}
