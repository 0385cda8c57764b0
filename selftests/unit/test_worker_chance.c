// SPDX-License-Identifier: BSD-2-Clause
/*
 * Two workers and a network between them that loses, repeats and reorders, while path MTUs change:
 * what comes out went in and comes once, and every packet that is missing is in a counter, or the
 * network has lost it.
 */
#include "worker_testing.h"
#include "worker_modes.h"
#include "worker_traffic.h"

#define UNDERWAY_MAX 16384

/* A frame on its way, and the protected packet that it is a part of. */
struct transit {
	struct octets *octets;
	uint64_t packet;	/* fragments: by what belongs together; else unique */
	bool fragment;
	uint32_t group;		/* what it holds is a fragment of this packet; 0: of none */
};

/* What the network knows of one protected packet in fragments. */
struct pieces {
	uint64_t packet;
	uint32_t sent, arrived;
};

/* A protected packet that went into a tunnel in fragments. */
struct group {
	uint32_t sent, arrived;
};

static struct transit underway[UNDERWAY_MAX];
static uint32_t underway_count;
static struct pieces pieces[UNDERWAY_MAX];
static uint32_t pieces_count;
static struct group groups[UNDERWAY_MAX];
static uint32_t group_count;
static uint64_t next_unique, seed;

/* Chances of 256 that a frame is lost, or comes twice, or at another time. */
struct weather {
	uint32_t loss, repeat, reorder;
	bool repeat_fragments;
};

/* What should have become of what was sent. */
struct tally {
	uint64_t whole, whole_again;	/* packets in one frame, and arrivals of those that came */
	uint64_t complete, complete_pieces;	/* packets in fragments that were all there */
	uint64_t stray;			/* arrivals of fragments of packets that were not */
	uint64_t inner, inner_pieces, inner_stray;	/* the same of fragments in a tunnel */
	uint64_t sent;			/* protected packets */
	uint64_t too_big;
};

static bool chance(uint32_t of_256)
{
	return next_random(&seed) % 256 < of_256;
}

/* Addresses are the same ones for all. */
static void identify(struct transit *transit)
{
	const uint8_t *ip = transit->octets->data + 14;

	transit->fragment = true;
	if (ip[0] >> 4 == 4 && load_be16(ip + 6) & IPV4_FRAGMENT_BITS)
		transit->packet = 1ull << 40 | (uint64_t)ip[9] << 32 | load_be16(ip + 4);
	else if (ip[0] >> 4 == 6 && ip[6] == IPPROTO_FRAGMENT)
		transit->packet = 2ull << 40 | load_be32(ip + 44);
	else
		transit->fragment = false;
	if (!transit->fragment)
		transit->packet = ++next_unique;
}

static struct pieces *pieces_of(uint64_t packet)
{
	for (uint32_t i = pieces_count; i > 0; i--)
		if (pieces[i - 1].packet == packet)
			return &pieces[i - 1];
	pieces[pieces_count] = (struct pieces){ .packet = packet };
	return &pieces[pieces_count++];
}

/* Takes what a has sent since; fragments of one packet within a tunnel are a group. */
static void pick_up(struct tally *tally, uint32_t group)
{
	struct octets *octets;

	while ((octets = octets_pop(&a.wire_out))) {
		struct transit *transit = &underway[underway_count++];

		assert_true(underway_count < UNDERWAY_MAX / 2);
		*transit = (struct transit){ .octets = octets, .group = group };
		identify(transit);
		groups[group].sent += group != 0;
		assert_false(group && transit->fragment);
		tally->sent += !transit->fragment;
		if (transit->fragment)
			tally->sent += pieces_of(transit->packet)->sent++ == 0;
	}
}

static void shuffle(const struct weather *weather)
{
	for (uint32_t i = 1; i < underway_count; i++) {
		uint32_t back = next_random(&seed) % 64;
		struct transit moved = underway[i];

		if (!chance(weather->reorder) || back > i)
			continue;
		underway[i] = underway[i - back];
		underway[i - back] = moved;
	}
}

static void arrive(const struct transit *transit, struct tally *tally, bool again)
{
	octets_push(&b.wire_in, transit->octets->data, transit->octets->len);
	groups[transit->group].arrived += !again;
	if (transit->fragment)
		pieces_of(transit->packet)->arrived += !again;
	else if (again)
		tally->whole_again++;
	else
		tally->whole++;
}

static void count_complete(struct tally *tally)
{
	for (uint32_t i = 0; i < pieces_count; i++) {
		if (pieces[i].arrived == pieces[i].sent) {
			tally->complete++;
			tally->complete_pieces += pieces[i].arrived;
		} else {
			tally->stray += pieces[i].arrived;
		}
	}
	for (uint32_t i = 1; i <= group_count; i++) {
		if (groups[i].arrived == groups[i].sent) {
			tally->inner++;
			tally->inner_pieces += groups[i].arrived;
		} else {
			tally->inner_stray += groups[i].arrived;
		}
	}
}

/* Delivers what is under way, and waits until no fragment of it is there any more. */
static void deliver(const struct weather *weather, struct tally *tally)
{
	shuffle(weather);
	for (uint32_t i = 0; i < underway_count; i++) {
		const struct transit *transit = &underway[i];
		bool repeats = weather->repeat_fragments || !transit->fragment;

		if (!chance(weather->loss)) {
			arrive(transit, tally, false);
			while (repeats && chance(weather->repeat))
				arrive(transit, tally, true);
		}
		free(transit->octets);
		if (chance(16))
			host_work(&b);
	}
	host_work(&b);
	count_complete(tally);
	host_wait(&a);
	host_wait(&b);
}

/* ---- traffic ------------------------------------------------------------------------------- */

static uint32_t random_size(void)
{
	switch (next_random(&seed) % 4) {
	case 0:
		return 1 + next_random(&seed) % 200;
	case 1:
		return 1100 + next_random(&seed) % 400;
	case 2:
		return 1 + next_random(&seed) % 9000;
	default:
		return next_random(&seed) % 16 ? 1400 : 1 + next_random(&seed) % 65000;
	}
}

static bool too_big(const struct mode *mode, const struct stack_packet *packet)
{
	uint32_t len = ip_header_length(packet->family) + 8 + packet->payload;
	struct worker_sa *sa = a.worker.sas.by_slot[inner_slot(mode, 0, packet->family)];

	if (len <= worker_sas_inner_mtu(&a.worker.sas, sa, a.worker.now_ns))
		return false;
	return packet->family == FAMILY_V4 ? packet->df : len > 1280 && len <= TEST_MTU;
}

/* a works. If its inner SA has made one packet and the outermost more, that one was cut between. */
static void work(const struct mode *mode, struct tally *tally)
{
	unsigned int outer = mode_depth(mode) - 1;
	uint64_t inside = given_to_layer(0), outside = given_to_layer(outer);
	uint32_t group = 0;

	host_work(&a);
	take_delivered(&a);
	inside = given_to_layer(0) - inside;
	outside = given_to_layer(outer) - outside;
	if (outside > inside) {
		assert_true(has_tunnel_around(mode) && inside == 1);
		group = ++group_count;
		groups[group] = (struct group){ 0 };
	} else {
		assert_int_equal(inside, outside);
	}
	pick_up(tally, group);
}

/* One packet at a time, if the test could not tell apart what becomes of them otherwise. */
static void work_now(const struct mode *mode, struct tally *tally)
{
	if (has_tunnel_around(mode))
		work(mode, tally);
}

static void send_some(const struct mode *mode, struct tally *tally)
{
	underway_count = pieces_count = group_count = 0;
	groups[0] = (struct group){ 0 };
	for (unsigned int i = next_random(&seed) % 24; i < 24; i++) {
		struct stack_packet packet = {
			.family = next_random(&seed) % 2, .payload = random_size(),
			.gso_size = (uint16_t)(1000 + next_random(&seed) % 449),
		};
		struct entry *entry;

		if (next_random(&seed) % 3 == 0) {
			send_tcp(mode, &packet);
			work_now(mode, tally);
			continue;
		}
		packet.partial = next_random(&seed) % 2;
		packet.df = packet.payload < 1452 && next_random(&seed) % 2;
		entry = send_udp(mode, &packet);
		entry->refused = too_big(mode, &packet);
		tally->too_big += entry->refused;
		work_now(mode, tally);
	}
	work(mode, tally);
}

/* Another path, for all SAs whose packets a router sees. */
static void change_path(const struct mode *mode)
{
	uint32_t mtu = 1280 + next_random(&seed) % 221;

	if (wire_family(mode, FAMILY_V4) == FAMILY_V4 && wire_family(mode, FAMILY_V6) == FAMILY_V4)
		mtu = 576 + next_random(&seed) % 925;
	for (unsigned int family = 0; family < FAMILY_COUNT; family++) {
		struct sa_state *state = &a.states[outermost_slot(mode, 0, family)];

		state->path_mtu = mtu;
		state->path_mtu_ns = a.worker.now_ns;
	}
	a.wire_mtu = mtu;
}

/* ---- what must hold ------------------------------------------------------------------------ */

static void check_sender(const struct mode *mode, const struct tally *tally)
{
	assert_int_equal(a.stats.drops[DROP_TOO_BIG], tally->too_big);
	assert_int_equal(drops_of(&a), tally->too_big);
	/* A number of each SA's for each packet that it was given, none for anything else. */
	assert_int_equal(a.stats.host_rx_segments, given_to_layer(0));
	assert_int_equal(tally->sent, given_to_layer(mode_depth(mode) - 1));
}

static void check_receiver(const struct tally *tally, const struct weather *weather)
{
	const struct worker_stats *stats = &b.stats;
	uint64_t came = tally->whole + tally->complete;
	uint64_t time = stats->drops[DROP_REASSEMBLY_TIME], dup = stats->drops[DROP_REPLAY_DUP];
	uint64_t again = stats->drops[DROP_FRAGMENT_DUP];
	uint64_t out = came - tally->inner_pieces - tally->inner_stray + tally->inner;
	uint64_t put_together = tally->complete + tally->inner;

	assert_int_equal(stats->host_tx + stats->host_tx_coalesced, out);
	assert_int_equal(udp_frames + tcp_packets, out);
	if (!weather->repeat_fragments) {
		assert_int_equal(dup, tally->whole_again);
		assert_int_equal(time, tally->stray + tally->inner_stray);
		assert_int_equal(again, 0);
		assert_int_equal(stats->reassembled_in, put_together);
		assert_int_equal(stats->wire_rx + tally->inner_stray,
				 came + drops_of(&b) + tally->complete_pieces - tally->complete);
	} else {	/* repeated fragments are dropped, wait in vain, or make a packet again */
		assert_true(dup >= tally->whole_again);
		assert_true(time >= tally->stray + tally->inner_stray);
		assert_int_equal(stats->reassembled_in - put_together, dup - tally->whole_again);
		assert_true(stats->wire_rx + tally->inner_stray >= came + drops_of(&b));
	}
	assert_int_equal(drops_of(&b), dup + time + again);
}

/* Nothing was lost on the way: all has come that was not refused. */
static void check_all(const struct tally *tally)
{
	assert_int_equal(udp_frames + tcp_packets, a.stats.host_rx_segments);
	assert_int_equal(ledger_delivered() + tally->too_big, ledger_count - 1);
}

static void run_mode(const struct mode *mode, const struct weather *weather, unsigned int rounds)
{
	struct tally tally = { 0 };

	mode_begin(mode);
	for (unsigned int round = 0; round < rounds; round++) {
		if (chance(64))
			change_path(mode);
		send_some(mode, &tally);
		deliver(weather, &tally);
		assert_int_equal(take_delivered(&b), 0);
		check_sender(mode, &tally);
		check_receiver(&tally, weather);
	}
	if (!weather->loss)
		check_all(&tally);
	assert_true(tally.whole > 100 && tally.complete + tally.inner + udp_fragments > 10);
	assert_true(begins_with_tunnel(mode) ? udp_fragments > 10 : !udp_fragments);
	if (!begins_with_tunnel(mode) && has_tunnel_around(mode))
		assert_true(tally.inner > 10);
	if (weather->repeat_fragments && tally.complete > 10)
		assert_true(b.stats.drops[DROP_FRAGMENT_DUP] > 0);
	mode_end();
	ledger_clear();
}

static void run_modes(const struct weather *weather, unsigned int rounds)
{
	for (size_t i = 0; i < MODES; i++) {
		seed = 1000 + i;
		run_mode(&modes[i], weather, rounds);
	}
}

static void test_reordering(void **state)
{
	(void)state;
	run_modes(&(struct weather){ .reorder = 128 }, 100);
}

static void test_loss(void **state)
{
	(void)state;
	run_modes(&(struct weather){ .loss = 20, .repeat = 30, .reorder = 60 }, 100);
}

static void test_repeated_fragments(void **state)
{
	(void)state;
	run_modes(&(struct weather){ .loss = 10, .repeat = 60, .reorder = 128,
				     .repeat_fragments = true }, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reordering), cmocka_unit_test(test_loss),
		cmocka_unit_test(test_repeated_fragments),
	};

	return cmocka_run_group_tests_name("worker_chance", tests, NULL, NULL);
}
