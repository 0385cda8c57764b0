// SPDX-License-Identifier: BSD-2-Clause
#include "sad.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#include "clock.h"
#include "sa_runtime.h"

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

static void sa_name(const struct sa_config *sa, char *out, size_t out_len)
{
	struct address_range dst = { .family = sa->family };
	char address[100];

	dst.lo = dst.hi = addr128_from_wire(sa->family, &sa->dst);
	address_format(&dst, address, sizeof(address));
	snprintf(out, out_len, "SA dst %s proto esp spi 0x%08x", address, be32toh(sa->spi));
}

/* ---- publishing to BPF --------------------------------------------------------------------- */

static struct sad_key map_key(const struct sa_config *sa)
{
	return (struct sad_key){
		.dst = sa->dst,
		.spi = sa->spi,
		.proto = sa->proto,
		.family = sa->family,
	};
}

static int publish_inbound(const struct sad *sad, uint32_t slot)
{
	const struct sad_sa *sa = &sad->sas[slot];
	struct sad_key key = map_key(&sa->config);
	struct sad_entry entry = {
		.src = sa->config.src,
		.slot = slot,
		.protect_id = sa->config.protect_id,
		.flags = (uint16_t)((sa->config.esn ? SA_F_ESN : 0) |
				    (sa->config.tunnel ? SA_F_TUNNEL : 0)),
		.sa_gen = sa->gen,
		.replay_window = sa->config.replay_window,
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

/*
 * Is `a` the better SA for packets of this family? A tunnel carries both families, but one of the
 * packet's own is preferred; then the newest.
 */
static bool better_outbound(const struct sad_sa *a, const struct sad_sa *b, enum ip_family family)
{
	if (!b || (a->config.family == family) != (b->config.family == family))
		return !b || a->config.family == family;
	return a->serial > b->serial;
}

static uint32_t best_outbound(const struct sad *sad, uint32_t protect_id, enum ip_family family)
{
	uint32_t best = 0;

	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		const struct sad_sa *sa = &sad->sas[slot];

		if (!sa->used || sa->config.direction != SPD_OUT ||
		    sa->config.protect_id != protect_id ||
		    (!sa->config.tunnel && sa->config.family != family))
			continue;
		if (better_outbound(sa, best ? &sad->sas[best] : NULL, family))
			best = slot;
	}
	return best;
}

/* Points the policy's (peer, protection) at its SA, for both families. */
static int publish_outbound(const struct sad *sad, uint32_t protect_id)
{
	for (int family = 0; family < FAMILY_COUNT; family++) {
		uint32_t key = OUT_SA(protect_id, (uint32_t)family);
		uint32_t slot = best_outbound(sad, protect_id, (enum ip_family)family);
		struct out_sa value = { .slot = slot, .sa_gen = sad->sas[slot].gen };

		if (bpf_map_update_elem(sad->pins->out_sa_fd, &key, &value, 0))
			return -errno;
	}
	return 0;
}

static int publish(const struct sad *sad, uint32_t slot)
{
	int err = publish_slot(sad, slot, true);

	if (err)
		return err;
	return sad->sas[slot].config.direction == SPD_IN
		       ? publish_inbound(sad, slot)
		       : publish_outbound(sad, sad->sas[slot].config.protect_id);
}

static void withdraw(struct sad *sad, uint32_t slot)
{
	struct sad_sa *sa = &sad->sas[slot];
	struct sad_key key = map_key(&sa->config);

	sa->used = false;
	if (sa->config.direction == SPD_IN)
		bpf_map_delete_elem(sad->pins->sad_fd, &key);
	else
		publish_outbound(sad, sa->config.protect_id);
	publish_slot(sad, slot, false);
}

/* ---- adding and removing ------------------------------------------------------------------- */

static int explain_reservation(int err, const struct sa_config *sa, struct ipsecbpf_report *report)
{
	char name[160];

	sa_name(sa, name, sizeof(name));
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
	state->replay_top = mark->replay_top;
	memset(state->replay_bitmap, 0xff, sizeof(state->replay_bitmap));
}

/* Reserves the first block of numbers on disk, and lays out the SA's run-time state. */
static int reserve(struct sad *sad, uint32_t slot, uint32_t flags, struct ipsecbpf_report *report)
{
	struct sad_sa *sa = &sad->sas[slot];
	struct sa_state state = { 0 };
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

static int add_one(struct sad *sad, const struct sa_config *config, uint32_t flags,
		   uint32_t *ret_slot, struct ipsecbpf_report *report)
{
	uint32_t slot = free_slot(sad); /* capacity was checked */
	struct sad_sa *sa = &sad->sas[slot];
	char name[160];
	int err;

	sa->config = *config;
	err = reserve(sad, slot, flags, report);
	if (err)
		goto wipe;
	sa->gen++;
	sa->serial = ++sad->serial;
	sa->used = true;
	err = sad->worker.add(sad->worker.context, slot, sa);
	if (!err) {
		/* First, so that most often not even the first packet goes a wrong way. */
		track_next_hop(sad, slot);
		err = publish(sad, slot);
	}
	if (!err) {
		*ret_slot = slot;
		return 0;
	}
	sa_name(config, name, sizeof(name));
	report_error(report, name, NULL, "cannot install: %s", strerror(-err));
	withdraw(sad, slot);
	net_watch_untrack(sad->net_watch, slot);
	sad->worker.remove(sad->worker.context, slot);
	reservation_close(&sa->reservation, sad->states[slot].seq_next);
wipe:
	sa_config_wipe(&sa->config);
	return err;
}

static void remove_one(struct sad *sad, uint32_t slot)
{
	struct sad_sa *sa = &sad->sas[slot];
	bool quiet;

	withdraw(sad, slot);
	net_watch_untrack(sad->net_watch, slot);
	quiet = !sad->worker.remove(sad->worker.context, slot);
	remember_received(sad, slot);
	/* If the worker has not answered, it may still send: nothing goes back to the disk. */
	reservation_close(&sa->reservation, quiet ? sad->states[slot].seq_next : UINT64_MAX);
	sa_config_wipe(&sa->config);
}

static uint32_t find_same(const struct sad *sad, const struct sa_config *config)
{
	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		const struct sad_sa *sa = &sad->sas[slot];

		if (sa->used && sa->config.spi == config->spi &&
		    sa->config.proto == config->proto && sa->config.family == config->family &&
		    !memcmp(&sa->config.dst, &config->dst, sizeof(config->dst)))
			return slot;
	}
	return 0;
}

static bool equal_sa(const struct sa_config *a, const struct sa_config *b)
{
	return !memcmp(&a->src, &b->src, sizeof(a->src)) && a->direction == b->direction &&
	       a->tunnel == b->tunnel && a->esn == b->esn && a->suite == b->suite &&
	       a->replay_window == b->replay_window && a->protect_id == b->protect_id &&
	       !memcmp(a->key, b->key, sizeof(a->key)) &&
	       !memcmp(a->mac_key, b->mac_key, sizeof(a->mac_key));
}

/* Is this SA there already? 1 yes, 0 no, -EEXIST with another key or other parameters. */
static int compare_live(const struct sad *sad, const struct sa_config *config,
			struct ipsecbpf_report *report)
{
	char name[160], live[SA_FINGERPRINT_LEN + 1], given[SA_FINGERPRINT_LEN + 1];
	uint32_t slot = find_same(sad, config);

	if (!slot)
		return 0;
	if (equal_sa(&sad->sas[slot].config, config))
		return 1;
	sa_name(config, name, sizeof(name));
	sa_fingerprint(&sad->sas[slot].config, live);
	sa_fingerprint(config, given);
	if (strcmp(live, given))
		report_error(report, name,
			     "give the new SA another SPI, or ipsecbpf sa flush first",
			     "exists with another key (live %s, given %s)", live, given);
	else
		report_error(report, name,
			     "give the new SA another SPI, or ipsecbpf sa flush first",
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
		sa_name(config, name, sizeof(name));
		sa_name(live, live_name, sizeof(live_name));
		report_error(
			report, name, "give each direction a key of its own: ipsecbpf sa genkey",
			"has the key of the live %s, which the other host sends with", live_name);
		return -EEXIST;
	}
	return 0;
}

/* Every refusal that needs no change to find, all of them reported; counts what is to be added. */
static int check_apply(const struct sad *sad, const struct sa_config *configs, size_t count,
		       uint32_t *ret_add, struct ipsecbpf_report *report)
{
	uint32_t add = 0, room = 0;
	int err = 0, same;

	for (size_t i = 0; i < count; i++) {
		same = compare_live(sad, &configs[i], report);
		if (same == 0)
			same = check_key_use(sad, &configs[i], report);
		if (same < 0)
			err = same;
		add += same == 0;
	}
	for (uint32_t slot = 1; slot < sad->slots; slot++)
		room += !sad->sas[slot].used;
	if (add > room) {
		report_error(report, "SAD", "attach with a larger --sa-slots",
			     "%u SAs to add, room for %u (of %u)", add, room, sad->slots - 1);
		err = -ENOSPC;
	}
	*ret_add = add;
	return err;
}

int sad_apply(struct sad *sad, const struct sa_config *configs, size_t count, uint32_t flags,
	      struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report)
{
	uint32_t *added, add, done = 0;
	int err;

	err = check_apply(sad, configs, count, &add, report);
	if (err)
		return err;
	added = calloc(add + 1, sizeof(*added));
	if (!added)
		return -ENOMEM;
	for (size_t i = 0; !err && i < count; i++) {
		if (find_same(sad, &configs[i]))
			continue;
		err = add_one(sad, &configs[i], flags, &added[done], report);
		done += !err;
	}
	while (err && done)
		remove_one(sad, added[--done]);
	free(added);
	if (err)
		return err;
	*ret_result = (struct ipsecbpf_sa_result){ done, (uint32_t)count - done };
	return 0;
}

uint32_t sad_flush(struct sad *sad)
{
	uint32_t removed = 0;

	for (uint32_t slot = 1; slot < sad->slots; slot++) {
		if (!sad->sas[slot].used)
			continue;
		remove_one(sad, slot);
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

/* ---- telling ------------------------------------------------------------------------------- */

static uint32_t inner_mtu_of(const struct sa_config *config, uint32_t mtu)
{
	const struct sa_runtime sizes = {
		.suite = suite_at(config->suite),
		.tunnel = config->tunnel,
		.family = config->family,
	};

	return sa_inner_mtu(&sizes, mtu);
}

static bool in_use(const struct sad *sad, uint32_t slot)
{
	uint32_t protect_id = sad->sas[slot].config.protect_id;

	return best_outbound(sad, protect_id, FAMILY_V4) == slot ||
	       best_outbound(sad, protect_id, FAMILY_V6) == slot;
}

static void describe(const struct sad *sad, uint32_t slot, uint32_t mtu, struct control_sa *out)
{
	const struct sa_config *config = &sad->sas[slot].config;
	const struct sa_state *state = &sad->states[slot];
	bool outbound = config->direction == SPD_OUT;

	*out = (struct control_sa){
		.suite = config->suite,
		.info = {
			.src = config->src, .dst = config->dst, .spi = config->spi,
			.proto = config->proto, .family = config->family,
			.direction = config->direction, .tunnel = config->tunnel,
			.esn = config->esn, .replay_window = config->replay_window, .slot = slot,
			.active = outbound && in_use(sad, slot),
			.inner_mtu = inner_mtu_of(config, mtu),
			.seq = outbound ? state->seq_next - 1 : state->replay_top,
			.packets = state->packets, .bytes = state->bytes,
			.icv_failed = state->icv_failed, .replayed = state->replayed,
			.idle_ms = state->used_ns ? (clock_ns() - state->used_ns) / 1000000
						  : UINT64_MAX,
		},
	};
	memcpy(out->info.peer, config->peer, sizeof(out->info.peer));
	memcpy(out->info.protection, config->protection, sizeof(out->info.protection));
	sa_fingerprint(config, out->info.fingerprint);
}

struct control_sa *sad_list(const struct sad *sad, uint32_t mtu, uint32_t *ret_count)
{
	uint32_t in, out, count = 0;
	struct control_sa *list;

	sad_count(sad, &in, &out);
	list = calloc(in + out + 1, sizeof(*list));
	if (!list)
		return NULL;
	for (uint32_t slot = 1; slot < sad->slots; slot++)
		if (sad->sas[slot].used)
			describe(sad, slot, mtu, &list[count++]);
	*ret_count = count;
	return list;
}

void sad_count(const struct sad *sad, uint32_t *ret_in, uint32_t *ret_out)
{
	uint32_t counts[SPD_DIRECTION_COUNT] = { 0 };

	for (uint32_t slot = 1; slot < sad->slots; slot++)
		if (sad->sas[slot].used)
			counts[sad->sas[slot].config.direction]++;
	*ret_in = counts[SPD_IN];
	*ret_out = counts[SPD_OUT];
}
