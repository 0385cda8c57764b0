// SPDX-License-Identifier: BSD-2-Clause
/*
 * The worker's SAs: what is found by slot and by outer header, against a list searched from end to
 * end; the sizes that fit through bundles, against packets that are really protected.
 */
#include "worker_testing.h"
#include "frames.h"

static struct test_host host;

static int begin(void **state)
{
	(void)state;
	host_begin(&host, 1);
	return 0;
}

static int end(void **state)
{
	(void)state;
	host_end(&host);
	return 0;
}

static struct sa_config inbound(enum ip_family family, uint32_t spi)
{
	struct sa_config sa = sa_default(family, spi);

	sa.direction = SPD_IN;
	return sa;
}

static struct outer outer_of(const struct sa_config *sa)
{
	return (struct outer){ .src = sa->src, .dst = sa->dst, .spi = sa->spi,
			       .sport = sa->encap_sport, .dport = sa->encap_dport,
			       .family = sa->family, .proto = sa->proto };
}

/* ---- slots --------------------------------------------------------------------------------- */

static void test_slots(void **state)
{
	struct worker_sas *sas = &host.worker.sas;
	struct sa_config sa = sa_default(FAMILY_V4, 0x1000);

	(void)state;
	assert_int_equal(sa_put(sas, 0, 1, &sa), -EINVAL);
	assert_int_equal(sa_put(sas, TEST_SLOTS, 1, &sa), -EINVAL);
	host_sa(&host, 3, 7, &sa);
	assert_non_null(worker_sas_outbound(sas, 3, 7));
	assert_null(worker_sas_outbound(sas, 3, 8));	/* another user of the slot */
	assert_null(worker_sas_outbound(sas, 4, 7));
	assert_null(worker_sas_outbound(sas, 0, 7));
	assert_null(worker_sas_outbound(sas, TEST_SLOTS, 7));
	assert_null(worker_sas_outbound(sas, UINT32_MAX, 7));
	sa.spi = htobe32(0x2000);
	host_sa(&host, 3, 8, &sa);
	assert_null(worker_sas_outbound(sas, 3, 7));
	assert_int_equal(worker_sas_outbound(sas, 3, 8)->sa.spi, sa.spi);
	worker_sas_remove(sas, 3);
	worker_sas_remove(sas, 3);
	worker_sas_remove(sas, TEST_SLOTS);
	assert_null(worker_sas_outbound(sas, 3, 8));
	sa.direction = SPD_IN;
	host_sa(&host, 3, 9, &sa);
	assert_null(worker_sas_outbound(sas, 3, 9));
}

/* What was in the slot goes, even if nothing can take its place. */
static void test_refused(void **state)
{
	struct worker_sas *sas = &host.worker.sas;
	struct sa_config sa = sa_default(FAMILY_V4, 0x1000);
	struct outer outer;

	(void)state;
	sa.direction = SPD_IN;
	outer = outer_of(&sa);
	host_sa(&host, 1, 1, &sa);
	assert_non_null(worker_sas_find(sas, &outer, SPD_IN));
	sa.suite = UINT16_MAX;
	assert_int_equal(sa_put(sas, 1, 2, &sa), -EINVAL);
	assert_null(worker_sas_find(sas, &outer, SPD_IN));
	assert_null(sas->by_slot[1]);
}

static unsigned int nested_count(const struct worker_sas *sas)
{
	unsigned int count = 0;

	for (const struct worker_sa *sa = sas->nested; sa; sa = sa->next_nested)
		count++;
	return count;
}

static void test_counters(void **state)
{
	struct worker_sas *sas = &host.worker.sas;
	struct sa_config sa = inbound(FAMILY_V4, 0x1000);

	(void)state;
	sa.within_id = 2;
	host_sa(&host, 1, 1, &sa);
	sa.spi = htobe32(0x1001);
	host_sa(&host, 2, 1, &sa);
	assert_int_equal(nested_count(sas), 2);
	host_sa(&host, 2, 2, &sa);		/* the same again */
	assert_int_equal(nested_count(sas), 2);
	sa.within_id = 0;
	host_sa(&host, 2, 3, &sa);
	assert_int_equal(nested_count(sas), 1);
	sa.within_id = 2;
	sa.direction = SPD_OUT;
	host_sa(&host, 3, 1, &sa);		/* outbound ones do not count */
	assert_int_equal(nested_count(sas), 1);
	worker_sas_remove(sas, 1);
	assert_int_equal(nested_count(sas), 0);

	sa.within_id = 0;
	sa.keepalive = 20;
	host_sa(&host, 4, 1, &sa);		/* not in UDP */
	assert_int_equal(sas->keepalives, 0);
	sa.encap_sport = sa.encap_dport = htobe16(4500);
	host_sa(&host, 4, 2, &sa);
	host_sa(&host, 4, 3, &sa);
	assert_int_equal(sas->keepalives, 1);
	assert_int_equal(sas->by_slot[4]->keepalive_ns, 20 * SECOND_NS);
	sa.direction = SPD_IN;
	host_sa(&host, 4, 4, &sa);
	assert_int_equal(sas->keepalives, 0);
}

static void test_expiry(void **state)
{
	struct worker *worker = &host.worker;
	struct sa_config sa = sa_default(FAMILY_V4, 0x1000);

	(void)state;
	host_sa(&host, 1, 1, &sa);
	sa.hard.seconds = 5;
	host_sa(&host, 2, 1, &sa);
	sa.hard.seconds = UINT32_MAX;	/* the most that a file may say */
	host_sa(&host, 3, 1, &sa);
	worker->now_ns += 5 * SECOND_NS - 1;
	assert_false(worker_sa_expired(worker, worker->sas.by_slot[2]));
	worker->now_ns++;
	assert_true(worker_sa_expired(worker, worker->sas.by_slot[2]));
	assert_false(worker_sa_expired(worker, worker->sas.by_slot[3]));
	worker->now_ns = UINT64_MAX - 1;
	assert_false(worker_sa_expired(worker, worker->sas.by_slot[1]));
	assert_true(worker_sa_expired(worker, worker->sas.by_slot[3]));
	worker->now_ns = 1000 * SECOND_NS;
}

/* ---- looking up ---------------------------------------------------------------------------- */

static struct sa_config present[TEST_SLOTS];	/* spi 0: nothing in the slot */

/* Few values of each, so that the same SPI is there with all else different. */
static struct sa_config random_sa(uint64_t *random)
{
	struct sa_config sa = sa_default(next_random(random) % 2, 0x1000 + next_random(random) % 3);
	static const char *const suites[] = { "aes128gcm16", "null-sha256" };
	bool ah = next_random(random) % 3 == 0;

	sa.suite = (uint16_t)suite_index(suite_find(suites[ah]));
	sa.proto = ah ? IPPROTO_AH : IPPROTO_ESP;
	sa.direction = next_random(random) % 2 ? SPD_IN : SPD_OUT;
	sa.src = end_address(sa.family, 1 + next_random(random) % 2);
	sa.dst = end_address(sa.family, 1 + next_random(random) % 3);
	if (!ah && next_random(random) % 2)
		sa.encap_dport = htobe16(4500 + (uint16_t)(next_random(random) % 2));
	if (sa.encap_dport)
		sa.encap_sport = htobe16(4500 + (uint16_t)(next_random(random) % 2));
	return sa;
}

static bool same_identity(const struct sa_config *a, const struct sa_config *b)
{
	return a->spi == b->spi && a->family == b->family && a->proto == b->proto &&
	       a->direction == b->direction && a->encap_dport == b->encap_dport &&
	       !memcmp(&a->dst, &b->dst, sizeof(a->dst));
}

static uint32_t reference_find(const struct sa_config *like)
{
	for (uint32_t slot = 1; slot < TEST_SLOTS; slot++)
		if (present[slot].spi && same_identity(&present[slot], like))
			return slot;
	return 0;
}

static void check_look_up(const struct sa_config *like, unsigned int *found)
{
	struct worker_sas *sas = &host.worker.sas;
	struct outer outer = outer_of(like);
	uint32_t slot = reference_find(like);
	enum drop_reason reason = DROP_NONE;
	struct worker_sa *sa = worker_sas_find(sas, &outer, like->direction);

	assert_int_equal(sa ? sa->sa.slot : 0, slot);
	if (like->direction != SPD_IN)
		return;
	sa = worker_sas_inbound(sas, &outer, &reason);
	if (!slot) {
		assert_null(sa);
		assert_int_equal(reason, DROP_STALE_SA);
	} else if (memcmp(&present[slot].src, &like->src, sizeof(like->src)) ||
		   present[slot].encap_sport != like->encap_sport) {
		assert_null(sa);
		assert_int_equal(reason, DROP_SA_SOURCE);
	} else {
		assert_int_equal(sa->sa.slot, slot);
		++*found;
	}
}

static void test_look_ups(void **state)
{
	unsigned int found = 0;
	uint64_t random = 5;

	(void)state;
	memset(present, 0, sizeof(present));
	for (unsigned int step = 0; step < 30000; step++) {
		uint32_t slot = 1 + next_random(&random) % (TEST_SLOTS - 1);
		struct sa_config sa = random_sa(&random);

		if (next_random(&random) % 3 == 0) {
			worker_sas_remove(&host.worker.sas, slot);
			present[slot].spi = 0;
		} else if (!reference_find(&sa)) {	/* the supervisor sees to that */
			host_sa(&host, slot, (uint8_t)step, &sa);
			present[slot] = sa;
		}
		for (unsigned int i = 0; i < 8; i++) {
			sa = random_sa(&random);
			check_look_up(&sa, &found);
			check_look_up(&sa, &found);	/* by what was found last */
		}
	}
	assert_true(found > 10000);
}

/* ---- bundles and sizes --------------------------------------------------------------------- */

static void test_around(void **state)
{
	struct worker_sas *sas = &host.worker.sas;
	struct sa_config sa = sa_default(FAMILY_V4, 0x1000);

	(void)state;
	sa.within_id = 2;
	host_sa(&host, 1, 1, &sa);
	assert_null(worker_sas_around(sas, sas->by_slot[1]));
	host.out_sas[OUT_SA(2, FAMILY_V4)] = (struct out_sa){ .slot = 2, .sa_gen = 4 };
	assert_null(worker_sas_around(sas, sas->by_slot[1]));	/* not here yet */
	/* Without an SA around it nothing can be sent: no size says so, protect() does. */
	assert_int_equal(worker_sas_mtu(sas, sas->by_slot[1], 0), TEST_MTU);
	sa.within_id = 0;
	host_sa(&host, 2, 3, &sa);
	assert_null(worker_sas_around(sas, sas->by_slot[1]));	/* another generation */
	host_sa(&host, 2, 4, &sa);
	assert_ptr_equal(worker_sas_around(sas, sas->by_slot[1]), sas->by_slot[2]);
	sas->by_slot[1]->sa.within_id = PROTECT_MAX;
	assert_null(worker_sas_around(sas, sas->by_slot[1]));
	sas->by_slot[1]->sa.within_id = 2;
	host.out_sas[OUT_SA(2, FAMILY_V4)].slot = 0;
	assert_null(worker_sas_around(sas, sas->by_slot[1]));
}

static void test_path_mtu_age(void **state)
{
	struct worker_sas *sas = &host.worker.sas;
	struct sa_config sa = sa_default(FAMILY_V4, 0x1000);
	struct sa_state *sa_state = &host.states[1];
	uint64_t now = 5 * SECOND_NS;

	(void)state;
	host_sa(&host, 1, 1, &sa);
	assert_int_equal(worker_sas_mtu(sas, sas->by_slot[1], now), TEST_MTU);
	sa_state->path_mtu = 1300;
	sa_state->path_mtu_ns = now;
	assert_int_equal(worker_sas_mtu(sas, sas->by_slot[1], now), 1300);
	assert_int_equal(worker_sas_mtu(sas, sas->by_slot[1], now + PATH_MTU_LIFE_NS - 1), 1300);
	assert_int_equal(worker_sas_mtu(sas, sas->by_slot[1], now + PATH_MTU_LIFE_NS), TEST_MTU);
	sa_state->path_mtu = TEST_MTU + 1;	/* the NIC has become smaller */
	assert_int_equal(worker_sas_mtu(sas, sas->by_slot[1], now), TEST_MTU);
}

/* Puts SAs of a random bundle into slots 1 to depth, innermost first; returns the family of what
 * goes in. */
static enum ip_family random_bundle(uint64_t *random, unsigned int depth)
{
	static const char *const esp[] = { "aes128gcm16", "aes128-sha256", "null-sha256",
					   "chacha20poly1305" };
	static const char *const ah[] = { "sha256", "sha512", "aescmac", "sha1" };
	enum ip_family inside = next_random(random) % 2, family = inside;

	for (unsigned int i = 1; i <= depth; i++) {
		bool tunnel = next_random(random) % 2, is_ah = next_random(random) % 3 == 0;
		struct sa_config sa;

		memset(&host.out_sas[OUT_SA(i, 0)], 0, 2 * sizeof(host.out_sas[0]));
		host.out_sas[OUT_SA(i, family)] = (struct out_sa){ .slot = i, .sa_gen = 1 };
		if (tunnel)
			family = next_random(random) % 2;
		sa = sa_default(family, 0x1000 + i);
		sa.tunnel = tunnel;
		sa.protect_id = i;
		sa.within_id = i < depth ? i + 1 : 0;
		sa.proto = is_ah ? IPPROTO_AH : IPPROTO_ESP;
		sa.suite = (uint16_t)suite_index(is_ah ? suite_find_ah(ah[next_random(random) % 4])
						       : suite_find(esp[next_random(random) % 4]));
		if (!is_ah && next_random(random) % 3 == 0)
			sa.encap_sport = sa.encap_dport = htobe16(4500);
		host_sa(&host, i, 1, &sa);
		/* What an SA inside of another learnt when it was outside says nothing now. */
		host.states[i].path_mtu_ns = host.worker.now_ns;
		if (i < depth || next_random(random) % 2)
			host.states[i].path_mtu = 1280 + next_random(random) % 221;
	}
	return inside;
}

/* Octets of IP after a packet of `len`, with `extra` octets of options or extension headers, has
 * gone through all SAs. */
static uint32_t protected_length(enum ip_family family, uint32_t len, uint32_t extra)
{
	static uint8_t memory[PACKET_HEADROOM + 2048 + PACKET_TAILROOM];
	struct packet packet = { .data = memory + PACKET_HEADROOM, .headroom = PACKET_HEADROOM,
				 .len = 14 + len, .l2_len = 14, .state = PACKET_CLEAR,
				 .tailroom = (uint16_t)(2048 + PACKET_TAILROOM - 14 - len) };
	struct worker_sa *sa = host.worker.sas.by_slot[1];
	struct packet *burst = &packet;
	uint8_t *ip = packet.data + 14;

	memset(ip, 0, 40 + extra);
	store_be16(ip - 2, family == FAMILY_V4 ? 0x0800 : 0x86dd);
	if (family == FAMILY_V4) {
		ip[0] = (uint8_t)(0x45 + extra / 4);
		store_be16(ip + 2, (uint16_t)len);
		ip[9] = IPPROTO_UDP;
		memcpy(ip + 12, end_address(FAMILY_V4, 1).b, 4);
		memcpy(ip + 16, end_address(FAMILY_V4, 2).b, 4);
		memset(ip + 20, 1, extra);
	} else {
		ip[0] = 0x60;
		store_be16(ip + 4, (uint16_t)(len - 40));
		ip[6] = extra ? IPPROTO_HOPOPTS : IPPROTO_UDP;
		memcpy(ip + 8, end_address(FAMILY_V6, 1).b, 16);
		memcpy(ip + 24, end_address(FAMILY_V6, 2).b, 16);
		ip[40] = IPPROTO_UDP;
		ip[41] = (uint8_t)(extra / 8 - 1);
		if (!extra)
			ip[40] = ip[41] = 0;
	}
	for (; sa; sa = worker_sas_around(&host.worker.sas, sa)) {
		packet.state = PACKET_CLEAR;
		sa_protect(&sa->sa, &burst, 1);
		assert_int_equal(packet.drop, DROP_NONE);
	}
	return packet.len - packet.l2_len;
}

/* Everything up to what the worker says fits, and not much more does. */
static void check_bundle(enum ip_family family, unsigned int depth)
{
	struct worker_sas *sas = &host.worker.sas;
	struct worker_sa *sa = sas->by_slot[1], *outermost = sas->by_slot[depth];
	uint32_t mtu = host.states[depth].path_mtu ?: TEST_MTU;
	uint32_t inner = worker_sas_inner_mtu(sas, sa, host.worker.now_ns), len;

	assert_int_equal(worker_sas_mtu(sas, outermost, host.worker.now_ns), mtu);
	assert_int_equal(worker_sas_inner_mtu(sas, sa, host.worker.now_ns), inner);	/* kept */
	assert_true(inner > 800 && inner < mtu);
	for (len = inner; len > inner - 40; len--)
		for (uint32_t extra = 0; extra <= 16; extra += 8)
			assert_true(protected_length(family, len, extra) <= mtu);
	for (len = inner + 1; protected_length(family, len, 0) <= mtu; len++)
		;
	/* Each cipher may be in a phase that is better than the worst. */
	assert_true(len - inner <= 16 * depth);
}

static void test_bundle_sizes(void **state)
{
	struct worker_sas *sas = &host.worker.sas;
	uint64_t random = 77;

	(void)state;
	for (unsigned int step = 0; step < 600; step++) {
		unsigned int depth = 1 + step % BUNDLE_MAX;
		enum ip_family family = random_bundle(&random, depth);

		check_bundle(family, depth);
		host.states[depth].path_mtu = 1290;	/* a new one holds at once */
		assert_int_equal(worker_sas_mtu(sas, sas->by_slot[depth], host.worker.now_ns),
				 1290);
		check_bundle(family, depth);
	}
}

/* ---- peers that move ----------------------------------------------------------------------- */

static struct sa_config to_peer(uint32_t spi)
{
	struct sa_config sa = sa_default(FAMILY_V4, spi);

	sa.tunnel = true;
	sa.follow_peer = true;
	sa.encap_sport = sa.encap_dport = htobe16(4500);
	return sa;
}

static bool goes_to(uint32_t slot, const union wire_addr *addr, uint16_t port)
{
	const struct sa_runtime *sa = &host.worker.sas.by_slot[slot]->sa;

	return !memcmp(&sa->dst, addr, sizeof(*addr)) && sa->encap_dport == htobe16(port);
}

static void test_moved_peer(void **state)
{
	struct worker_sas *sas = &host.worker.sas;
	union wire_addr home = end_address(FAMILY_V4, 2), away = end_address(FAMILY_V4, 77);
	struct sa_config sa = to_peer(0x1000);
	struct outer outer, quoted;
	enum drop_reason reason;

	(void)state;
	host_sa(&host, 1, 1, &sa);
	sa.protect_id = 2;
	host_sa(&host, 2, 1, &sa);	/* somebody else's */
	sa.protect_id = 1;
	sa.follow_peer = false;
	host_sa(&host, 3, 1, &sa);
	sa.follow_peer = true;
	sa.direction = SPD_IN;
	sa.src = home;
	sa.dst = end_address(FAMILY_V4, 1);
	host_sa(&host, 4, 1, &sa);
	outer = outer_of(&sa);
	outer.src = away;
	outer.sport = htobe16(61000);
	assert_non_null(worker_sas_inbound(sas, &outer, &reason));
	assert_true(goes_to(1, &home, 4500));
	worker_sas_peer_moved(sas, sas->by_slot[4], &outer);
	assert_true(goes_to(1, &away, 61000));
	assert_true(goes_to(2, &home, 4500));
	assert_true(goes_to(3, &home, 4500));
	assert_int_equal(sas->by_slot[4]->sa.dst.b[3], 1);

	/* A packet-too-big message quotes where the packet went. */
	quoted = (struct outer){ .dst = away, .spi = htobe32(0x1000), .dport = htobe16(61000),
				 .proto = IPPROTO_ESP };
	assert_ptr_equal(worker_sas_find(sas, &quoted, SPD_OUT), sas->by_slot[1]);
	/* The next worker is given the SA as it is configured, and the state that is there. */
	sa = to_peer(0x1000);
	assert_int_equal(sa_put(sas, 1, 1, &sa), 0);
	assert_true(goes_to(1, &away, 61000));
	worker_sas_remove(sas, 1);
	assert_null(worker_sas_find(sas, &quoted, SPD_OUT));
	sa.follow_peer = false;		/* not followed any more: as configured */
	assert_int_equal(sa_put(sas, 1, 1, &sa), 0);
	assert_true(goes_to(1, &home, 4500));
}

/* A rotation: the new SA goes where the old one went, without hearing of a move again. */
static void test_moved_peer_rotation(void **state)
{
	struct worker_sas *sas = &host.worker.sas;
	union wire_addr home = end_address(FAMILY_V4, 2), away = end_address(FAMILY_V4, 77);
	union wire_addr farther = end_address(FAMILY_V4, 78);
	struct sa_config sa = to_peer(0x1000);

	(void)state;
	for (uint32_t slot = 1; slot <= 2; slot++) {	/* nothing is known yet */
		sa.direction = slot == 1 ? SPD_IN : SPD_OUT;
		host_sa(&host, slot, 1, &sa);
	}
	assert_true(goes_to(2, &home, 4500));
	host.states[1].peer = host.states[2].peer = away;
	host.states[1].peer_port = host.states[2].peer_port = htobe16(61000);
	sa.spi = htobe32(0x2000);
	host_sa(&host, 3, 1, &sa);
	assert_true(goes_to(3, &away, 61000));
	assert_int_equal(host.states[3].peer_port, htobe16(61000));
	sa.protect_id = 2;
	host_sa(&host, 4, 1, &sa);			/* somebody else's */
	assert_true(goes_to(4, &home, 4500));
	/* No other outbound SA is left: where the last packet came from. */
	worker_sas_remove(sas, 2);
	worker_sas_remove(sas, 3);
	sa.protect_id = 1;
	sa.direction = SPD_IN;
	host_sa(&host, 5, 1, &sa);
	host.states[1].used_ns = 1;
	host.states[5].used_ns = 2;
	host.states[5].peer = farther;
	host.states[5].peer_port = htobe16(7);
	sa.direction = SPD_OUT;
	host_sa(&host, 6, 1, &sa);
	assert_true(goes_to(6, &farther, 7));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_slots), TEST(test_refused), TEST(test_counters), TEST(test_expiry),
		TEST(test_look_ups), TEST(test_around), TEST(test_path_mtu_age),
		TEST(test_bundle_sizes), TEST(test_moved_peer),
		TEST(test_moved_peer_rotation),
	};

	return cmocka_run_group_tests_name("worker_sas", tests, NULL, NULL);
}
