// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the worker refuses: SAs of a bundle in the wrong place, SAs whose time has come, frames that
 * name no SA, and what finds no room; each time in one counter, and nothing leaves in the clear.
 */
#include <sys/eventfd.h>
#include <unistd.h>

#include "worker_testing.h"
#include "worker_modes.h"
#include "worker_traffic.h"
#include "lib/reservation.h"

static const struct mode *mode_named(const char *name)
{
	for (size_t i = 0; i < MODES; i++)
		if (!strcmp(modes[i].name, name))
			return &modes[i];
	fail_msg("no mode %s", name);
	return NULL;
}

static int end(void **state)
{
	(void)state;
	ledger_clear();
	return 0;
}

static void send_plain(const struct mode *mode, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		send_udp(mode, &(struct stack_packet){ .family = i % 2, .payload = 100 });
}

static void send_large(const struct mode *mode)
{
	send_udp(mode, &(struct stack_packet){ .payload = 9000 });
}

/* Sends, carries, and sees that nothing comes out and all `count` are in one of b's counters. */
static void check_refused(const struct mode *mode, uint32_t count, enum drop_reason reason)
{
	uint64_t before = b.stats.drops[reason], all = drops_of(&b);

	send_plain(mode, count);
	host_work(&a);
	carry(&a, &b);
	host_work(&b);
	assert_true(STAILQ_EMPTY(&b.host_out));
	assert_int_equal(b.stats.drops[reason] - before, count);
	assert_int_equal(drops_of(&b) - all, count);
	assert_int_equal(drops_of(&a), 0);
}

static void for_layer(struct test_host *host, unsigned int layer,
		      void (*change)(struct test_host *, struct worker_sa *))
{
	for (uint32_t slot = mode_slot(layer, 0, 0); slot < mode_slot(layer, 1, 0); slot++)
		if (host->worker.sas.by_slot[slot])
			change(host, host->worker.sas.by_slot[slot]);
}

/* ---- bundles ------------------------------------------------------------------------------- */

static void set_alone(struct test_host *host, struct worker_sa *sa)
{
	(void)host;
	sa->sa.within_id = 0;
}

static void set_right(struct test_host *host, struct worker_sa *sa)
{
	(void)host;
	sa->sa.within_id = sa->sa.protect_id + 1;
}

static void set_elsewhere(struct test_host *host, struct worker_sa *sa)
{
	(void)host;
	sa->sa.within_id = 99;
}

/* The receiver expects a bundle, and the inner SA's packets come by themselves. */
static void test_inner_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		if (mode_depth(&modes[i]) < 2)
			continue;
		mode_begin(&modes[i]);
		for_layer(&a, 0, set_alone);
		a.udp = modes[i].layers[0].udp;
		a.may_be_clear = true;	/* AH within ESP */
		check_refused(&modes[i], 10, DROP_BUNDLE);
		mode_end();
		ledger_clear();
	}
}

/* The inner SA is expected in another one, or in none. */
static void test_wrong_nesting(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		if (mode_depth(&modes[i]) < 2)
			continue;
		mode_begin(&modes[i]);
		for_layer(&b, 0, set_elsewhere);
		check_refused(&modes[i], 10, DROP_BUNDLE);
		for_layer(&b, 0, set_alone);
		check_refused(&modes[i], 10, DROP_BUNDLE);
		for_layer(&b, 0, set_right);
		mode_end();
		ledger_clear();
	}
}

/* How many packets each SA of the bundle makes of what send_large() sends, when nothing is amiss. */
static void count_large(const struct mode *mode, uint32_t ret_packets[BUNDLE_MAX])
{
	mode_begin(mode);
	send_large(mode);
	host_work(&a);
	for (unsigned int layer = 0; layer < BUNDLE_MAX; layer++)
		ret_packets[layer] = (uint32_t)given_to_layer(layer);
	assert_int_equal(a.stats.host_rx_segments, ret_packets[0]);
	assert_int_equal(drops_of(&a), 0);
	mode_end();
	ledger_clear();
}

/* What came by the outer SA alone goes to the host as that: policy says whether it may. */
static void test_outer_only(void **state)
{
	const struct mode *mode = mode_named("esp-within-tunnel");
	struct octets *octets;
	struct host_tag tag;

	(void)state;
	mode_begin(mode);
	send_udp(mode, &(struct stack_packet){ .payload = 100 });
	octets = STAILQ_FIRST(&a.host_in);
	put32(octets->data + 6 + offsetof(struct host_tag, slot), mode_slot(1, 0, FAMILY_V4));
	host_work(&a);
	carry(&a, &b);
	host_work(&b);
	octets = octets_pop(&b.host_out);
	assert_non_null(octets);
	memcpy(&tag, octets->data, sizeof(tag));
	assert_int_equal(load_be32(tag.slot), mode_slot(1, 0, FAMILY_V4));
	assert_memory_equal(octets->data + 14, ledger[1].ip, ledger[1].len);
	free(octets);
	assert_int_equal(drops_of(&b), 0);
	mode_end();
}

/* One SA more than there may be around a packet, each in the right place. */
static void test_too_deep(void **state)
{
	(void)state;
	host_begin(&a, 1);
	host_begin(&b, 2);
	for (uint32_t i = 1; i <= BUNDLE_MAX + 1; i++) {
		struct sa_config sa = sa_default(FAMILY_V4, 0x1000 + i);

		sa.tunnel = true;
		sa.protect_id = i;
		sa.within_id = i <= BUNDLE_MAX ? i + 1 : 0;
		host_sa(&a, i, 1, &sa);
		a.out_sas[OUT_SA(i, FAMILY_V4)] = (struct out_sa){ .slot = i, .sa_gen = 1 };
		sa.direction = SPD_IN;
		host_sa(&b, i, 1, &sa);
	}
	send_plain(&modes[0], 1);
	host_work(&a);
	assert_int_equal(a.stats.drops[DROP_NO_SA_OUT], 1);
	assert_true(STAILQ_EMPTY(&a.wire_out));
	/* A sender that does it all the same. */
	for (unsigned int given = 0; given < 2; given++) {
		static uint8_t memory[2048];
		struct packet packet = { .data = memory + 512, .headroom = 512, .l2_len = 14,
					 .len = 14 + ledger[1].len, .tailroom = 1024 };
		struct packet *burst = &packet;

		store_be16(packet.data + 12, 0x0800);
		memcpy(packet.data + 14, ledger[1].ip, ledger[1].len);
		for (uint32_t i = 1 + !given; i <= BUNDLE_MAX + 1; i++) {
			packet.state = PACKET_CLEAR;
			sa_protect(&a.worker.sas.by_slot[i]->sa, &burst, 1);
		}
		assert_int_equal(packet.state, PACKET_PROTECTED);
		octets_push(&b.wire_in, packet.data, packet.len);
		host_work(&b);
		assert_int_equal(b.stats.drops[DROP_BUNDLE], given);
		assert_int_equal(octets_clear(&b.host_out), !given);
	}
	mode_end();
}

/* Nothing leaves while an SA of the bundle is missing. */
static void test_no_sa_around(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		unsigned int depth = mode_depth(&modes[i]);
		uint64_t packets;

		if (depth < 2)
			continue;
		mode_begin(&modes[i]);
		memset(&a.out_sas[OUT_SA(depth, 0)], 0, 2 * sizeof(a.out_sas[0]));
		send_plain(&modes[i], 70);
		send_large(&modes[i]);
		host_work(&a);
		assert_true(STAILQ_EMPTY(&a.wire_out));
		/* What the SA inside has made is refused, packet by packet. */
		packets = given_to_layer(depth - 2);
		assert_true(begins_with_tunnel(&modes[i]) ? packets > 75 : packets == 71);
		assert_int_equal(a.stats.drops[DROP_NO_SA_OUT], packets);
		assert_int_equal(drops_of(&a), packets);
		mode_end();
		ledger_clear();
	}
}

/* ---- time ---------------------------------------------------------------------------------- */

static void set_expired(struct test_host *host, struct worker_sa *sa)
{
	sa->expires_ns = host->worker.now_ns;
}

/* Each SA of a bundle has its own end, at both hosts. */
static void test_lifetime(void **state)
{
	(void)state;
	for (size_t i = 0; i < MODES; i++) {
		uint32_t large[BUNDLE_MAX];

		count_large(&modes[i], large);
		for (unsigned int layer = 0; layer < mode_depth(&modes[i]); layer++) {
			mode_begin(&modes[i]);
			for_layer(&b, layer, set_expired);
			check_refused(&modes[i], 10, DROP_LIFETIME);
			for_layer(&a, layer, set_expired);
			send_plain(&modes[i], 10);
			send_large(&modes[i]);
			host_work(&a);
			assert_true(STAILQ_EMPTY(&a.wire_out));
			/* Fragments are refused before they are put together: there are seven. */
			if (!layer)
				large[layer] = 7;
			assert_int_equal(a.stats.drops[DROP_LIFETIME], 10 + large[layer]);
			assert_int_equal(drops_of(&a), 10 + large[layer]);
			mode_end();
			ledger_clear();
		}
	}
}

/* What nobody has authenticated does not make an SA look used. */
static void test_forgeries_leave_no_trace(void **state)
{
	const struct mode *mode = mode_named("esp-within-ah");
	uint32_t slot = outermost_slot(mode, 0, FAMILY_V4), inner = inner_slot(mode, 0, FAMILY_V4);
	struct sa_state before;
	struct octets *octets;

	(void)state;
	mode_begin(mode);
	before = b.states[slot];
	send_udp(mode, &(struct stack_packet){ .payload = 100 });
	host_work(&a);
	octets = STAILQ_FIRST(&a.wire_out);
	octets_push(&b.wire_in, octets->data, octets->len);
	STAILQ_FIRST(&b.wire_in)->data[octets->len - 1] ^= 1;
	host_work(&b);
	assert_int_equal(b.stats.drops[DROP_ICV], 1);
	before.icv_failed++;
	assert_memory_equal(&before, &b.states[slot], sizeof(before));
	carry(&a, &b);
	host_work(&b);
	assert_int_equal(b.states[slot].used_ns, b.worker.now_ns);
	assert_int_equal(b.states[inner].used_ns, b.worker.now_ns);
	mode_end();
}

/* ---- tags ---------------------------------------------------------------------------------- */

static void send_tagged(const struct host_tag *tag)
{
	send_udp(&modes[0], &(struct stack_packet){ .payload = 100 });
	memcpy(STAILQ_FIRST(&a.host_in)->data + 6, tag, sizeof(*tag));
	host_work(&a);
}

static void test_tags(void **state)
{
	uint32_t ours = inner_slot(&modes[0], 0, FAMILY_V4), in = inner_slot(&modes[0], 1, FAMILY_V4);
	uint64_t stale = 0;

	(void)state;
	mode_begin(&modes[0]);
	for (unsigned int magic = 0; magic < 256; magic++) {
		struct host_tag tag = { (uint8_t)magic, 1, { 0, 0, 0, (uint8_t)ours } };

		if (magic != HOST_TAG_SA)
			send_tagged(&tag);
	}
	assert_int_equal(a.stats.drops[DROP_HOST_TAG], 255);
	for (unsigned int i = 0; i < 256; i++) {
		struct host_tag other = { HOST_TAG_SA, (uint8_t)i, { 0, 0, 0, (uint8_t)ours } };
		struct host_tag slot = { HOST_TAG_SA, 1, { (uint8_t)i, 0, 0, (uint8_t)in } };

		if (i != 1) {
			send_tagged(&other);
			stale++;
		}
		send_tagged(&slot);
		stale++;
	}
	assert_int_equal(a.stats.drops[DROP_STALE_SA], stale);
	assert_int_equal(drops_of(&a), stale + 255);
	assert_true(STAILQ_EMPTY(&a.wire_out));
	mode_end();
}

/* ---- room ---------------------------------------------------------------------------------- */

/* With so many frames for sending and no more; a super-packet counts for each of its segments. */
static void check_frames(uint32_t frames, uint32_t tcp_payload)
{
	struct stack_packet packet = { .payload = tcp_payload, .gso_size = 1000 };
	uint32_t segments = (tcp_payload + 999) / 1000, sent;

	mode_begin(&modes[0]);
	a.frames_left = frames;
	send_tcp(&modes[0], &packet);
	host_work(&a);
	sent = octets_clear(&a.wire_out);
	assert_int_equal(sent, frames < segments ? frames : segments);
	assert_int_equal(a.stats.drops[DROP_NO_BUFFER], segments - sent);
	assert_int_equal(drops_of(&a), segments - sent);
	mode_end();
	ledger_clear();
}

static void test_no_frames(void **state)
{
	(void)state;
	for (uint32_t frames = 0; frames < 24; frames++)
		check_frames(frames, 20000);
	check_frames(64, 63900);
	check_frames(63, 63900);
	check_frames(0, 1);
	check_frames(1, 1);
}

/* With so many frames, or places in the ring: a protected packet in fragments that cannot all be
 * sent is one that is lost. */
static void check_fragments(uint32_t frames, uint32_t places)
{
	uint32_t room = frames < places ? frames : places;
	bool all = room >= 7;

	mode_begin(&modes[0]);
	a.frames_left = frames;
	a.ring_left = places;
	send_large(&modes[0]);
	host_work(&a);
	assert_int_equal(octets_clear(&a.wire_out), all ? 7 : room);
	assert_int_equal(a.stats.drops[DROP_NO_BUFFER], !all);
	assert_int_equal(drops_of(&a), !all);
	assert_int_equal(a.stats.fragmented_out, all);
	assert_int_equal(a.stats.host_rx_segments, 1);
	mode_end();
	ledger_clear();
}

/* In a tunnel each fragment is a packet, and lost as one; with those that no frame was left for. */
static void check_inner_fragments(const struct mode *mode, uint32_t frames, uint32_t places)
{
	uint32_t large[BUNDLE_MAX], room = frames < places ? frames : places, count, sent;
	unsigned int outer = mode_depth(mode) - 1;

	count_large(mode, large);
	count = large[outer];
	assert_true(count >= 7);
	mode_begin(mode);
	a.frames_left = frames;
	a.ring_left = places;
	send_large(mode);
	host_work(&a);
	sent = octets_clear(&a.wire_out);
	assert_int_equal(sent, room < count ? room : count);
	assert_int_equal(a.stats.drops[DROP_NO_BUFFER], count - sent);
	assert_int_equal(drops_of(&a), count - sent);
	assert_int_equal(a.stats.host_rx_segments, given_to_layer(0));
	assert_int_equal(a.stats.fragmented_out, frames >= count);
	mode_end();
	ledger_clear();
}

static void test_no_room_for_fragments(void **state)
{
	(void)state;
	for (uint32_t room = 0; room < 12; room++) {
		check_fragments(room, UNLIMITED);
		check_fragments(UNLIMITED, room);
		check_inner_fragments(mode_named("esp-tunnel"), room, UNLIMITED);
		check_inner_fragments(mode_named("esp-tunnel"), UNLIMITED, room);
		check_inner_fragments(mode_named("esp-within-tunnel"), room, UNLIMITED);
		check_inner_fragments(mode_named("esp-within-tunnel"), UNLIMITED, room);
	}
}

static void test_full_ring(void **state)
{
	(void)state;
	mode_begin(&modes[0]);
	a.ring_left = 30;
	send_plain(&modes[0], 100);
	host_work(&a);
	assert_int_equal(octets_clear(&a.wire_out), 30);
	assert_int_equal(a.stats.wire_tx, 30);
	assert_int_equal(a.stats.drops[DROP_NO_BUFFER], 70);
	assert_int_equal(drops_of(&a), 70);
	mode_end();
}

static void test_full_host_port(void **state)
{
	(void)state;
	mode_begin(&modes[0]);
	for (unsigned int i = 0; i < 10; i++)
		send_tcp(&modes[0], &(struct stack_packet){ .payload = 10000, .gso_size = 1000 });
	send_plain(&modes[0], 50);
	host_work(&a);
	carry(&a, &b);
	b.host_error = -EAGAIN;
	host_work(&b);
	assert_int_equal(b.stats.drops[DROP_HOST_PORT], 150);
	assert_int_equal(drops_of(&b), 150);
	assert_int_equal(b.stats.host_tx, 0);
	mode_end();
}

/* Messages to senders are bounded, what they are about is counted all the same. */
static void test_told_too_often(void **state)
{
	struct stack_packet packet = { .payload = 1460, .df = true };

	(void)state;
	mode_begin(&modes[0]);
	for (unsigned int i = 0; i < 1500; i++)
		send_udp(&modes[0], &packet);
	host_work(&a);
	assert_int_equal(octets_clear(&a.host_out), 1000);
	a.worker.now_ns += SECOND_NS;
	send_udp(&modes[0], &packet);
	host_work(&a);
	assert_int_equal(octets_clear(&a.host_out), 1);
	assert_int_equal(a.stats.drops[DROP_TOO_BIG], 1501);
	mode_end();
}

/* ---- numbers ------------------------------------------------------------------------------- */

static void test_asks_for_numbers(void **state)
{
	uint32_t slot = inner_slot(&modes[0], 0, FAMILY_V4);
	struct sa_state *sa_state = &a.states[slot];
	const struct stack_packet packet = { .payload = 100 };
	uint64_t asked = 0;

	(void)state;
	mode_begin(&modes[0]);
	a.config.need_fd = eventfd(0, EFD_NONBLOCK);
	assert_true(a.config.need_fd >= 0);
	sa_state->seq_reserved = SEQ_LOW_WATER + 3;
	send_udp(&modes[0], &packet);
	host_work(&a);			/* next is 2: one more than low water is left */
	assert_int_equal(read(a.config.need_fd, &asked, sizeof(asked)), -1);
	for (unsigned int i = 0; i < 5; i++) {
		send_udp(&modes[0], &packet);
		host_work(&a);
	}
	assert_int_equal(read(a.config.need_fd, &asked, sizeof(asked)), sizeof(asked));
	assert_int_equal(asked, 1);	/* once per reservation */
	sa_state->seq_reserved = sa_state->seq_next + 2;
	send_plain(&modes[0], 20);	/* half of them IPv6 */
	host_work(&a);
	assert_int_equal(a.stats.drops[DROP_SEQ_UNRESERVED], 8);
	assert_int_equal(read(a.config.need_fd, &asked, sizeof(asked)), sizeof(asked));
	close(a.config.need_fd);
	mode_end();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, end)
	const struct CMUnitTest tests[] = {
		TEST(test_inner_only), TEST(test_wrong_nesting), TEST(test_outer_only),
		TEST(test_too_deep), TEST(test_no_sa_around), TEST(test_lifetime),
		TEST(test_forgeries_leave_no_trace), TEST(test_tags), TEST(test_no_frames),
		TEST(test_no_room_for_fragments), TEST(test_full_ring),
		TEST(test_full_host_port), TEST(test_told_too_often), TEST(test_asks_for_numbers),
	};

	return cmocka_run_group_tests_name("worker_refusals", tests, NULL, NULL);
}
