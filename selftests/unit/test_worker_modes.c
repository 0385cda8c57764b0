// SPDX-License-Identifier: BSD-2-Clause
/*
 * From host port to host port through two workers, by every mode, without loss: packets of all
 * sizes come out as they went in, none leaves in the clear or larger than the path, and what does
 * not fit is dropped, counted and told.
 */
#include "worker_testing.h"
#include "worker_modes.h"
#include "worker_traffic.h"
#include "worker_too_big.h"

static int end(void **state)
{
	(void)state;
	ledger_clear();
	return 0;
}

/* Both workers work until nothing is under way. Returns how many packet-too-big messages of their
 * own they have sent to their hosts. */
static uint32_t settle(void)
{
	uint32_t messages = 0;

	do {
		host_work(&a);
		host_work(&b);
		carry(&a, &b);
		carry(&b, &a);
		messages += take_delivered(&a) + take_delivered(&b);
	} while (!STAILQ_EMPTY(&a.wire_in) || !STAILQ_EMPTY(&b.wire_in));
	return messages;
}

/* Everything that was not refused has come. */
static void check_all_delivered(void)
{
	for (uint32_t i = 1; i < ledger_count; i++)
		assert_int_equal(ledger[i].delivered, !ledger[i].refused);
	for (unsigned int family = 0; family < FAMILY_COUNT; family++)
		for (uint32_t i = 0; i < stream_next[family]; i++)
			assert_int_equal(stream_seen[family][i], 1);
}

/* So many for that reason and none else. */
static void check_drops(enum drop_reason reason, uint64_t count)
{
	assert_int_equal(a.stats.drops[reason] + b.stats.drops[reason], count);
	assert_int_equal(drops_of(&a) + drops_of(&b), count);
}

/* ---- sizes --------------------------------------------------------------------------------- */

/* IPv6 goes in fragments up to 1280 octets, and if the stack has cut it (RFC 2473 7.1). */
static bool fits_ipv6(const struct mode *mode, const struct stack_packet *packet)
{
	struct test_host *host = packet->back ? &b : &a;
	struct worker_sa *sa = host->worker.sas.by_slot[inner_slot(mode, packet->back, FAMILY_V6)];
	uint32_t len = 40 + 8 + packet->payload;

	return len <= 1280 || len > TEST_MTU ||
	       len <= worker_sas_inner_mtu(&host->worker.sas, sa, host->worker.now_ns);
}

/* Both families, both ways. Returns how many are too big. */
static uint32_t send_size(const struct mode *mode, uint32_t payload)
{
	uint32_t refused = 0;

	for (unsigned int i = 0; i < 4; i++) {
		const struct stack_packet packet = {
			.family = i % 2, .back = i / 2, .payload = payload,
			.partial = payload % 3 == 0,
		};
		struct entry *entry = send_udp(mode, &packet);

		entry->refused = packet.family == FAMILY_V6 && !fits_ipv6(mode, &packet);
		refused += entry->refused;
	}
	return refused;
}

static void test_sizes_of(const struct mode *mode)
{
	uint32_t refused = 0;

	mode_begin(mode);
	for (uint32_t payload = 1; payload < 1600; payload += payload < 64 || payload > 1250 ? 1 : 31)
		refused += send_size(mode, payload);
	assert_int_equal(settle(), refused);
	check_all_delivered();
	assert_true(refused > 10 && refused < 400);
	a.largest = 0;
	for (uint32_t payload = 1600; payload < 65000; payload += 1700 + payload % 1301) {
		assert_int_equal(send_size(mode, payload), 0);
		assert_int_equal(settle(), 0);
	}
	check_all_delivered();
	check_drops(DROP_TOO_BIG, refused);
	/* Fragments are as large as the path has it. */
	assert_true(a.largest > TEST_MTU - (begins_with_tunnel(mode) || has_tunnel_around(mode) ?
					    32 : 8));
	assert_true(a.stats.reassembled_out > 50);
	assert_true(a.stats.fragmented_out > 50);
	assert_true(begins_with_tunnel(mode) ? udp_fragments > 100 : !udp_fragments);
	assert_int_equal(b.stats.reassembled_in,
			 begins_with_tunnel(mode) ? 0 : a.stats.fragmented_out);
	assert_int_equal(a.stats.host_rx_segments, given_to_layer(0));
	assert_int_equal(a.stats.host_rx_segments + b.stats.host_rx_segments, udp_frames);
	mode_end();
	ledger_clear();
}

static void test_sizes(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++)
		test_sizes_of(&modes[i]);
}

/* What is an IP packet, but none any more with headers and trailers around it. */
static void test_largest(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		const struct mode *mode = &modes[i];
		uint32_t refused = 0;

		mode_begin(mode);
		for (uint32_t payload = 65507; payload > 65507 - 300; payload -= 13) {
			struct stack_packet packet = { .payload = payload };
			struct entry *entry = send_udp(mode, &packet);

			settle();
			entry->refused = !entry->delivered;
			refused += entry->refused;
			/* If one fits, so do all that are smaller. */
			if (!entry->refused)
				assert_int_equal(entry->delivered, 1);
			assert_int_equal(a.stats.drops[DROP_TOO_BIG], refused);
		}
		assert_true(begins_with_tunnel(mode) ? !refused : refused > 0 && refused < 24);
		assert_int_equal(drops_of(&a), refused);
		assert_int_equal(drops_of(&b), 0);
		check_all_delivered();
		mode_end();
		ledger_clear();
	}
}

/* ---- TCP ----------------------------------------------------------------------------------- */

static void test_tcp(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		mode_begin(&modes[i]);
		for (unsigned int step = 0; step < 24; step++) {
			struct stack_packet packet = {
				.family = step % 2, .df = true, .gso_size = 1448,
				.payload = 1 + next_random(&traffic_random) % 60000,
			};

			if (step % 6 >= 4) {	/* one segment, larger than fits when protected */
				packet.gso_size = 0;
				packet.payload = 1448 - TCP_HEADER;
			}
			send_tcp(&modes[i], &packet);
		}
		assert_int_equal(settle(), 0);
		check_all_delivered();
		check_drops(DROP_TOO_BIG, 0);
		assert_int_equal(tcp_packets, a.stats.host_rx_segments);
		assert_int_equal(b.stats.host_tx + b.stats.host_tx_coalesced, tcp_packets);
		assert_true(b.stats.host_tx_coalesced > 200);
		assert_int_equal(a.stats.fragmented_out, 0);
		mode_end();
		ledger_clear();
	}
}

/* ---- path MTU ------------------------------------------------------------------------------ */

/* A router tells `host` that the packet it has just sent was too big. */
static void router_says(struct test_host *host, uint32_t mtu)
{
	static uint8_t message[TOO_BIG_MAX];
	struct octets *octets = STAILQ_FIRST(&host->wire_out);
	struct too_big too_big = { .quote = octets->data + 14, .mtu = mtu };

	too_big.family = octets->data[14] >> 4 == 4 ? FAMILY_V4 : FAMILY_V6;
	too_big.quote_len = octets->len - 14 < 200 ? octets->len - 14 : 200;
	octets_push(&host->wire_in, message, build_too_big(&too_big, message));
}

/* The MTU in the worker's own message to its host. */
static uint32_t told_mtu(struct test_host *host)
{
	struct octets *octets = octets_pop(&host->host_out);
	const uint8_t *ip;
	uint32_t mtu;

	assert_non_null(octets);
	assert_int_equal(octets->data[0], HOST_TAG_LOCAL_ICMP);
	ip = octets->data + 14;
	mtu = ip[0] >> 4 == 4 ? load_be16(ip + 20 + 6) : load_be32(ip + 40 + 4);
	free(octets);
	return mtu;
}

/* Sends packets that must not be cut: what does not fit is told, and of the size told it fits. */
static void probe(const struct mode *mode, enum ip_family family, uint32_t *refused)
{
	struct stack_packet packet = { .family = family, .df = true,
				       .payload = TEST_MTU - ip_header_length(family) - 8 };
	struct entry *entry = send_udp(mode, &packet);
	uint32_t mtu;

	host_work(&a);
	entry->refused = true;
	++*refused;
	assert_int_equal(a.stats.drops[DROP_TOO_BIG], *refused);
	mtu = told_mtu(&a);
	assert_true(mtu < TEST_MTU && (family == FAMILY_V4 || mtu >= 1280));
	packet.payload = mtu - ip_header_length(family) - 8;
	send_udp(mode, &packet);
	assert_int_equal(settle(), 0);
	packet.payload++;
	send_udp(mode, &packet)->refused = true;
	++*refused;
	assert_int_equal(settle(), 1);
}

static void learn_path(const struct mode *mode, enum ip_family family, uint32_t mtu)
{
	struct stack_packet packet = { .family = family, .payload = 100 };
	struct sa_state *sa_state = &a.states[outermost_slot(mode, 0, family)];

	send_udp(mode, &packet);
	host_work(&a);
	router_says(&a, mtu);
	assert_int_equal(settle(), 0);
	assert_int_equal(sa_state->path_mtu, mtu);
	a.wire_mtu = mtu;
}

static void test_path_mtu_of(const struct mode *mode, enum ip_family family)
{
	static const uint32_t mtus[] = { 1480, 1400, 1300, 1280, 900, 600, 576 };
	uint32_t refused = 0;

	mode_begin(mode);
	for (size_t i = 0; i < sizeof(mtus) / sizeof(mtus[0]); i++) {
		if (wire_family(mode, family) == FAMILY_V6 && mtus[i] < 1280)
			break;
		learn_path(mode, family, mtus[i]);
		probe(mode, family, &refused);
		for (uint32_t payload = 200; payload < 9000; payload += payload / 3) {
			struct stack_packet packet = { .family = family, .payload = payload };

			if (family == FAMILY_V4 || fits_ipv6(mode, &packet))
				send_udp(mode, &packet);
		}
		assert_int_equal(settle(), 0);
	}
	check_all_delivered();
	assert_int_equal(drops_of(&a), refused);
	assert_int_equal(drops_of(&b), 0);
	/* Then it is forgotten. */
	a.worker.now_ns += PATH_MTU_LIFE_NS;
	a.wire_mtu = TEST_MTU;
	probe(mode, family, &refused);
	mode_end();
	ledger_clear();
}

static void test_path_mtu(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++)
		for (unsigned int family = 0; family < FAMILY_COUNT; family++)
			test_path_mtu_of(&modes[i], family);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_sizes, end),
		cmocka_unit_test_teardown(test_largest, end),
		cmocka_unit_test_teardown(test_tcp, end),
		cmocka_unit_test_teardown(test_path_mtu, end),
	};

	return cmocka_run_group_tests_name("worker_modes", tests, NULL, NULL);
}
