// SPDX-License-Identifier: BSD-2-Clause
/*
 * What does not fit a tunnel: in which pieces it goes in, what is put together behind it and by
 * whom, what stays whole, and what is told to the sender instead.
 */
#include "worker_testing.h"
#include "worker_modes.h"
#include "worker_traffic.h"

static int end(void **state)
{
	(void)state;
	ledger_clear();
	return 0;
}

static const struct mode *mode_named(const char *name)
{
	for (size_t i = 0; i < MODES; i++)
		if (!strcmp(modes[i].name, name))
			return &modes[i];
	fail_msg("no mode %s", name);
	return NULL;
}

/* Frames under way that are IP fragments on the wire. */
static uint32_t wire_fragments(const struct test_host *host)
{
	const struct octets *octets;
	uint32_t count = 0;

	STAILQ_FOREACH(octets, &host->wire_out, next)
		count += is_fragment(octets->data + 14);
	return count;
}

static uint32_t length_of(const struct octets_queue *queue)
{
	const struct octets *octets;
	uint32_t count = 0;

	STAILQ_FOREACH(octets, queue, next)
		count++;
	return count;
}

/* From a to b. */
static void cross(void)
{
	host_work(&a);
	carry(&a, &b);
	host_work(&b);
}

static void set_path_mtu(const struct mode *mode, enum ip_family family, uint32_t mtu)
{
	struct sa_state *state = &a.states[outermost_slot(mode, 0, family)];

	state->path_mtu = mtu;
	state->path_mtu_ns = a.worker.now_ns;
	a.wire_mtu = mtu;
}

/* All outer headers of IPv4 say that they must not be fragmented. */
static void set_df(const struct mode *mode, unsigned int layer)
{
	for (unsigned int family = 0; family < FAMILY_COUNT; family++) {
		struct sa_config sa = mode_sa(mode, layer, 0, family);

		sa.df = DF_SET;
		if (outer_family(&mode->layers[layer], family) == family)
			host_sa(&a, mode_slot(layer, 0, family), 1, &sa);
	}
}

/* ---- inner fragments ----------------------------------------------------------------------- */

/* The other end sees the sender's fragments, be they cut anew: its identification, and a size that
 * the tunnel takes at once. */
static void check_sender_id(const struct mode *mode, enum ip_family family)
{
	uint32_t frames, largest = 0, mtu;
	struct octets *octets;

	mode_begin(mode);
	send_udp(mode, &(struct stack_packet){ .family = family, .payload = 5000 });
	mtu = ledger[1].inner_mtu;
	host_work(&a);
	frames = length_of(&a.wire_out);
	assert_int_equal(wire_fragments(&a), 0);
	carry(&a, &b);
	host_work(&b);
	assert_int_equal(length_of(&b.host_out), frames);
	STAILQ_FOREACH(octets, &b.host_out, next) {
		const uint8_t *ip = octets->data + 14;

		assert_true(is_fragment(ip) && octets->len - 14 <= mtu);
		if (family == FAMILY_V4)
			assert_int_equal(load_be16(ip + 4), 1);
		else
			assert_int_equal(load_be32(ip + 44), ledger[1].fragment_id);
		largest = octets->len - 14 > largest ? octets->len - 14 : largest;
	}
	assert_true(largest > mtu - 8 && mtu < TEST_MTU);
	assert_int_equal(take_delivered(&b), 0);
	assert_int_equal(ledger[1].delivered, 1);
	assert_int_equal(drops_of(&a) + drops_of(&b), 0);
	mode_end();
	ledger_clear();
}

static void test_sender_id(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++)
		for (unsigned int family = 0; family < FAMILY_COUNT; family++)
			if (begins_with_tunnel(&modes[i]))
				check_sender_id(&modes[i], family);
}

/* Two packets that the worker itself cuts are never mixed up. */
static void test_own_ids(void **state)
{
	const struct mode *mode = mode_named("esp-within-tunnel");
	uint32_t first;

	(void)state;
	mode_begin(mode);
	first = a.worker.fragment_id;
	for (unsigned int i = 0; i < 8; i++)
		send_udp(mode, &(struct stack_packet){ .family = FAMILY_V6, .payload = 3000 });
	cross();
	assert_true(a.worker.fragment_id - first >= 8);
	assert_int_equal(take_delivered(&b), 0);
	assert_int_equal(ledger_delivered(), 8);
	mode_end();
}

/* ---- IPv6 of 1280 octets ------------------------------------------------------------------- */

/* A sender may count on 1280 octets and has not cut them: the outer packet goes in fragments. */
static void check_minimum(const struct mode *mode, uint32_t path_mtu)
{
	mode_begin(mode);
	set_path_mtu(mode, FAMILY_V6, path_mtu);
	send_udp(mode, &(struct stack_packet){ .family = FAMILY_V6, .payload = 1280 - 48 });
	send_udp(mode, &(struct stack_packet){ .family = FAMILY_V6, .payload = 1281 - 48 })
		->refused = true;
	host_work(&a);
	assert_int_equal(a.stats.drops[DROP_TOO_BIG], 1);
	assert_int_equal(octets_clear(&a.host_out), 1);
	assert_int_equal(a.stats.fragmented_out, 1);
	assert_true(wire_fragments(&a) > 1 || has_tunnel_around(mode));
	carry(&a, &b);
	host_work(&b);
	assert_int_equal(length_of(&b.host_out), 1);
	assert_int_equal(take_delivered(&b), 0);
	assert_int_equal(ledger[1].delivered, 1);
	assert_null(ledger[1].seen);
	assert_int_equal(b.stats.reassembled_in, 1);
	mode_end();
	ledger_clear();
}

static void test_minimum(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		check_minimum(&modes[i], 1280);
		if (wire_family(&modes[i], FAMILY_V6) == FAMILY_V4)
			check_minimum(&modes[i], 700);
	}
}

/* ---- protected packets in a tunnel --------------------------------------------------------- */

/* Each frame is a packet of the tunnel; behind it the worker puts together what is an SA's within. */
static void check_within(const struct mode *mode, enum ip_family family, uint32_t payload)
{
	mode_begin(mode);
	send_udp(mode, &(struct stack_packet){ .family = family, .payload = payload });
	host_work(&a);
	assert_int_equal(wire_fragments(&a), 0);
	assert_true(length_of(&a.wire_out) > payload / TEST_MTU);
	assert_int_equal(a.stats.fragmented_out, 1);
	carry(&a, &b);
	host_work(&b);
	assert_int_equal(b.stats.reassembled_in, 1);
	assert_int_equal(length_of(&b.host_out), 1);
	assert_int_equal(take_delivered(&b), 0);
	assert_int_equal(ledger[1].delivered, 1);
	assert_int_equal(drops_of(&a) + drops_of(&b), 0);
	mode_end();
	ledger_clear();
}

static void test_within_tunnel(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		if (begins_with_tunnel(&modes[i]) || !has_tunnel_around(&modes[i]))
			continue;
		for (unsigned int family = 0; family < FAMILY_COUNT; family++) {
			check_within(&modes[i], family, 2000);
			check_within(&modes[i], family, 9000);
			check_within(&modes[i], family, 65000);
		}
	}
}

/* One of them is lost: the others wait in vain, and nothing comes out. */
static void test_within_tunnel_lost(void **state)
{
	const struct mode *mode = mode_named("esp-within-tunnel");
	uint32_t frames;

	(void)state;
	mode_begin(mode);
	send_udp(mode, &(struct stack_packet){ .payload = 9000 });
	host_work(&a);
	free(octets_pop(&a.wire_out));
	frames = length_of(&a.wire_out);
	carry(&a, &b);
	host_work(&b);
	host_wait(&b);
	assert_int_equal(octets_clear(&b.host_out), 0);
	assert_int_equal(b.stats.drops[DROP_REASSEMBLY_TIME], frames);
	assert_int_equal(drops_of(&b), frames);
	mode_end();
}

/* Fragments by the outer SA which belong to no SA within are the host's, also if they are of ESP. */
static void check_not_within(const struct mode *mode, uint8_t proto, bool elsewhere)
{
	struct octets *octets;
	uint32_t fragments;

	mode_begin(mode);
	send_udp(mode, &(struct stack_packet){ .payload = 4000 });
	STAILQ_FOREACH(octets, &a.host_in, next) {
		uint8_t *ip = octets->data + 14;

		put32(octets->data + 6 + offsetof(struct host_tag, slot), mode_slot(1, 0, FAMILY_V4));
		ip[9] = proto;
		ip[19] = elsewhere ? 77 : ip[19];
		put16(ip + 10, 0);
		put16(ip + 10, ~naive_add(0, ip, 20) & 0xffff);
	}
	host_work(&a);
	fragments = length_of(&a.wire_out);
	assert_true(fragments > 2);
	carry(&a, &b);
	host_work(&b);
	assert_int_equal(b.stats.host_tx, fragments);
	assert_int_equal(octets_clear(&b.host_out), fragments);
	assert_int_equal(b.stats.reassembled_in, 0);
	assert_int_equal(drops_of(&b), 0);
	mode_end();
	ledger_clear();
}

static void test_not_within(void **state)
{
	const struct mode *mode = mode_named("esp-within-tunnel");

	(void)state;
	check_not_within(mode, IPPROTO_UDP, false);
	check_not_within(mode, IPPROTO_AH, false);
	check_not_within(mode, IPPROTO_ESP, true);
}

/* ---- DF ------------------------------------------------------------------------------------ */

/* What may be fragmented itself must not be, in a tunnel that sets DF: its sender is told. */
static void check_df(const struct mode *mode, unsigned int layer)
{
	struct stack_packet packet = { .payload = TEST_MTU - 28 };
	struct octets *octets;
	uint32_t mtu;

	mode_begin(mode);
	set_df(mode, layer);
	mtu = send_udp(mode, &packet)->inner_mtu;
	ledger[1].refused = true;
	host_work(&a);
	assert_true(STAILQ_EMPTY(&a.wire_out));
	assert_int_equal(a.stats.drops[DROP_TOO_BIG], 1);
	assert_int_equal(drops_of(&a), 1);
	octets = octets_pop(&a.host_out);
	assert_non_null(octets);
	assert_int_equal(octets->data[0], HOST_TAG_LOCAL_ICMP);
	assert_int_equal(load_be16(octets->data + 14 + 20 + 6), mtu);
	free(octets);
	packet.payload = mtu - 28;	/* as told */
	send_udp(mode, &packet);
	packet.payload = 4000;		/* in fragments */
	send_udp(mode, &packet);
	host_work(&a);
	STAILQ_FOREACH(octets, &a.wire_out, next)
		assert_int_equal(load_be16(octets->data + 14 + 6), 0x4000);
	carry(&a, &b);
	host_work(&b);
	assert_int_equal(take_delivered(&b), 0);
	assert_int_equal(ledger_delivered(), 2);
	assert_int_equal(drops_of(&a), 1);
	mode_end();
	ledger_clear();
}

static void test_df(void **state)
{
	(void)state;
	check_df(mode_named("esp-tunnel"), 0);
	check_df(mode_named("esp-tunnel-in-ipv4"), 0);
	check_df(mode_named("ah-tunnel"), 0);
	check_df(mode_named("esp-within-tunnel"), 1);
	check_df(mode_named("ah-within-udp-tunnel-in-ipv4"), 1);
}

/* Also IPv6 of 1280 octets and less: less than the tunnel takes cannot be promised then. */
static void test_df_ipv6(void **state)
{
	const struct mode *mode = mode_named("esp-tunnel-in-ipv4");
	struct octets *octets;

	(void)state;
	mode_begin(mode);
	set_df(mode, 0);
	set_path_mtu(mode, FAMILY_V6, 1280);
	send_udp(mode, &(struct stack_packet){ .family = FAMILY_V6, .payload = 1280 - 48 });
	host_work(&a);
	assert_true(STAILQ_EMPTY(&a.wire_out));
	assert_int_equal(a.stats.drops[DROP_TOO_BIG], 1);
	octets = octets_pop(&a.host_out);
	assert_non_null(octets);
	assert_int_equal(load_be32(octets->data + 14 + 40 + 4), 1280);
	free(octets);
	mode_end();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, end)
	const struct CMUnitTest tests[] = {
		TEST(test_sender_id), TEST(test_own_ids), TEST(test_minimum),
		TEST(test_within_tunnel), TEST(test_within_tunnel_lost), TEST(test_not_within),
		TEST(test_df), TEST(test_df_ipv6),
	};

	return cmocka_run_group_tests_name("worker_fragments", tests, NULL, NULL);
}
