// SPDX-License-Identifier: BSD-2-Clause
/*
 * Packet-too-big messages: what is believed, what is refused, what is learnt. The messages quote
 * packets laid out here, by no code of lib/.
 */
#include "worker_testing.h"
#include "worker_too_big.h"
#include "worker_quoted.h"

static struct test_host host;
static uint8_t quote[QUOTED_MAX], message[TOO_BIG_MAX];

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

/* Slot 1 + kind + KINDS * family. */
static uint32_t slot_of(enum ip_family family, enum kind kind)
{
	return 1 + kind + KINDS * (uint32_t)family;
}

static void add_sa(enum ip_family family, enum kind kind)
{
	struct sa_config sa = sa_default(family, SPI);
	uint32_t slot = slot_of(family, kind);

	sa.tunnel = true;
	sa.proto = kind == AH ? IPPROTO_AH : IPPROTO_ESP;
	if (kind == AH)
		sa.suite = (uint16_t)suite_index(suite_find_ah("sha256"));
	if (kind == UDP)
		sa.encap_sport = sa.encap_dport = htobe16(4500);
	host_sa(&host, slot, 1, &sa);
	host.states[slot].seq_next = SENT + 1;
}

static void add_sas(void)
{
	for (unsigned int family = 0; family < FAMILY_COUNT; family++)
		for (unsigned int kind = 0; kind < KINDS; kind++)
			add_sa(family, kind);
}

/* From memory of just that size. */
static enum drop_reason receive(const uint8_t *data, uint32_t len)
{
	struct packet packet = { .data = malloc(len ? len : 1), .len = len, .l2_len = 14 };
	enum drop_reason reason;

	assert_non_null(packet.data);
	memcpy(packet.data, data, len);
	reason = worker_ptb(&host.worker, &packet);
	free(packet.data);
	return reason;
}

static enum drop_reason report(const struct quoted *quoted, uint32_t mtu)
{
	uint32_t len = quoted_write(quoted, quote);
	struct too_big too_big = { quoted->family, quote, len, mtu, 0 };

	return receive(message, build_too_big(&too_big, message));
}

static uint32_t learnt(const struct quoted *quoted)
{
	return host.states[slot_of(quoted->family, quoted->kind)].path_mtu;
}

/* Nothing is known again. */
static void forget(void)
{
	for (uint32_t slot = 1; slot < TEST_SLOTS; slot++)
		host.states[slot].path_mtu = 0;
}

static void assert_refused(const struct quoted *quoted)
{
	uint64_t accepted = host.stats.ptb_accepted;

	assert_int_equal(report(quoted, 1300), DROP_PTB_REFUSED);
	assert_int_equal(host.stats.ptb_accepted, accepted);
	for (uint32_t slot = 1; slot < TEST_SLOTS; slot++)
		assert_int_equal(host.states[slot].path_mtu, 0);
}

static void assert_learnt(const struct quoted *quoted)
{
	uint64_t accepted = host.stats.ptb_accepted;

	assert_int_equal(report(quoted, 1300), DROP_NONE);
	assert_int_equal(host.stats.ptb_accepted, accepted + 1);
	for (uint32_t slot = 1; slot < TEST_SLOTS; slot++)
		assert_int_equal(host.states[slot].path_mtu,
				 slot == slot_of(quoted->family, quoted->kind) ? 1300 : 0);
	forget();
}

/* ---- what is believed ---------------------------------------------------------------------- */

static void test_right(void **state)
{
	static const uint8_t chain[] = { IPPROTO_HOPOPTS, IPPROTO_ROUTING, IPPROTO_DSTOPTS,
					 IPPROTO_NONE };
	static const uint8_t fragment[] = { IPPROTO_FRAGMENT, IPPROTO_NONE };

	(void)state;
	add_sas();
	for (unsigned int i = 0; i < FAMILY_COUNT * KINDS; i++) {
		struct quoted quoted = quoted_default(i / KINDS, i % KINDS);

		assert_learnt(&quoted);
		quoted.options = quoted.family == FAMILY_V4 ? 40 : 0;
		quoted.chain = chain;
		assert_learnt(&quoted);
		quoted.chain = fragment;
		quoted.fragment = IPV4_FRAGMENT_BITS & 0x2000;	/* the first of several */
		assert_learnt(&quoted);
	}
	assert_int_equal(host.stats.ptb_accepted, 3 * FAMILY_COUNT * KINDS);
}

/* The message's own headers may be longer, and what is quoted may go on. */
static void test_long_messages(void **state)
{
	static uint8_t whole[1400];

	(void)state;
	add_sas();
	for (unsigned int family = 0; family < FAMILY_COUNT; family++) {
		struct quoted quoted = quoted_default(family, ESP);
		struct too_big too_big = { .family = family, .quote = whole,
					   .quote_len = sizeof(whole), .mtu = 1300, .options = 40 };

		memcpy(whole, quote, quoted_write(&quoted, quote));
		assert_int_equal(receive(message, build_too_big(&too_big, message)), DROP_NONE);
		assert_int_equal(learnt(&quoted), 1300);
	}
}

/* NAT between us and the router may have changed the source port. */
static void test_source_port(void **state)
{
	struct quoted quoted = quoted_default(FAMILY_V4, UDP);
	struct too_big too_big = { FAMILY_V4, quote, quoted_write(&quoted, quote), 1300, 0 };

	(void)state;
	add_sas();
	put16(quote + 20, 61000);
	assert_int_equal(receive(message, build_too_big(&too_big, message)), DROP_NONE);
	assert_int_equal(learnt(&quoted), 1300);
	forget();
	put16(quote + 22, 4501);
	assert_int_equal(receive(message, build_too_big(&too_big, message)), DROP_PTB_REFUSED);
}

/* ---- what is refused ----------------------------------------------------------------------- */

/* Every octet of the addresses, and of what names the SA. */
static void test_other_packets(void **state)
{
	(void)state;
	add_sas();
	for (unsigned int i = 0; i < FAMILY_COUNT * KINDS; i++) {
		struct quoted quoted = quoted_default(i / KINDS, i % KINDS);
		uint32_t from = quoted.family == FAMILY_V4 ? 12 : 8;
		uint32_t len = quoted_write(&quoted, quote);
		struct too_big too_big = { quoted.family, quote, len, 1300, 0 };

		for (uint32_t at = from; at < len - 4; at++) {
			bool source_port = quoted.kind == UDP && at >= len - 16 && at < len - 14;
			bool unread = (quoted.kind == UDP && at >= len - 12 && at < len - 8) ||
				      (quoted.kind == AH && at >= len - 12 && at < len - 8);

			if (source_port || unread)
				continue;
			quote[at] ^= 0x10;
			assert_int_equal(receive(message, build_too_big(&too_big, message)),
					 DROP_PTB_REFUSED);
			quote[at] ^= 0x10;
		}
		assert_int_equal(learnt(&quoted), 0);
		assert_learnt(&quoted);
	}
}

static void test_protocols(void **state)
{
	struct quoted quoted = quoted_default(FAMILY_V4, ESP);
	struct too_big too_big = { FAMILY_V4, quote, quoted_write(&quoted, quote), 1300, 0 };

	(void)state;
	add_sas();
	for (unsigned int proto = 0; proto < 256; proto++) {
		quote[9] = (uint8_t)proto;
		assert_int_equal(receive(message, build_too_big(&too_big, message)),
				 proto == IPPROTO_ESP ? DROP_NONE : DROP_PTB_REFUSED);
		forget();
	}
	quote[9] = IPPROTO_ESP;
	for (unsigned int version = 0; version < 16; version++) {
		quote[0] = (uint8_t)(version << 4 | 5);
		assert_int_equal(receive(message, build_too_big(&too_big, message)),
				 version == 4 ? DROP_NONE : DROP_PTB_REFUSED);
	}
	for (uint8_t words = 0; words < 5; words++) {
		quote[0] = 0x40 | words;
		assert_int_equal(receive(message, build_too_big(&too_big, message)),
				 DROP_PTB_REFUSED);
	}
}

/* Later fragments show no SPI, whatever their octets look like. */
static void test_later_fragments(void **state)
{
	static const uint8_t chain[] = { IPPROTO_FRAGMENT, IPPROTO_NONE };
	struct quoted quoted = quoted_default(FAMILY_V4, ESP);
	struct too_big too_big = { .family = FAMILY_V6, .quote = quote, .mtu = 1300 };

	(void)state;
	add_sas();
	for (unsigned int bit = 0; bit < 13; bit++) {
		quoted.fragment = (uint16_t)(1u << bit);
		assert_refused(&quoted);
	}
	quoted = quoted_default(FAMILY_V6, ESP);
	quoted.chain = chain;
	too_big.quote_len = quoted_write(&quoted, quote);
	for (unsigned int bit = 0; bit < 16; bit++) {
		put16(quote + 42, 1u << bit);
		assert_int_equal(receive(message, build_too_big(&too_big, message)),
				 bit < 3 ? DROP_NONE : DROP_PTB_REFUSED);
		forget();
	}
}

static void test_extensions_too_many(void **state)
{
	static const uint8_t chain[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, IPPROTO_NONE };
	struct quoted quoted = quoted_default(FAMILY_V6, ESP);

	(void)state;
	add_sas();
	quoted.chain = chain + 2;
	assert_learnt(&quoted);
	quoted.chain = chain;
	assert_refused(&quoted);
}

static void test_type_and_code(void **state)
{
	(void)state;
	add_sas();
	for (unsigned int family = 0; family < FAMILY_COUNT; family++) {
		struct quoted quoted = quoted_default(family, ESP);
		struct too_big too_big = { family, quote, quoted_write(&quoted, quote), 1300, 0 };
		uint32_t at = family == FAMILY_V4 ? 34 : 54, len = build_too_big(&too_big, message);

		for (uint32_t value = 0; value < 65536; value += 1 + value % 7) {
			bool right = family == FAMILY_V4 ? value == 0x0304 : value >> 8 == 2;
			uint16_t old = load_be16(message + at);

			/* The checksum stays right. */
			put16(message + at, value);
			put16(message + at + 2, ~naive_add(naive_add(~load_be16(message + at + 2) &
				0xffff, (uint8_t[]){ ~old >> 8 & 0xff, ~old & 0xff }, 2),
				message + at, 2) & 0xffff);
			assert_int_equal(receive(message, len),
					 right ? DROP_NONE : DROP_PTB_REFUSED);
			assert_int_equal(learnt(&quoted), right ? 1300 : 0);
			forget();
		}
	}
}

/* Any bit of an ICMP message that is damaged makes its checksum wrong. */
static void test_checksum(void **state)
{
	(void)state;
	add_sas();
	for (unsigned int family = 0; family < FAMILY_COUNT; family++) {
		struct quoted quoted = quoted_default(family, ESP);
		struct too_big too_big = { family, quote, quoted_write(&quoted, quote), 1300, 0 };
		uint32_t from = family == FAMILY_V4 ? 34 : 22;	/* IPv6: addresses too */
		uint32_t len = build_too_big(&too_big, message);

		for (uint32_t bit = from * 8; bit < len * 8; bit++) {
			message[bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_int_equal(receive(message, len), DROP_PTB_REFUSED);
			message[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		assert_int_equal(receive(message, len), DROP_NONE);
	}
}

/* A quote that ends anywhere before the number's last octet, and messages cut short as such. */
static void test_cut(void **state)
{
	(void)state;
	add_sas();
	for (unsigned int i = 0; i < FAMILY_COUNT * KINDS; i++) {
		struct quoted quoted = quoted_default(i / KINDS, i % KINDS);
		uint32_t whole = quoted_write(&quoted, quote), len;
		struct too_big too_big = { quoted.family, quote, whole, 1300, 0 };

		for (too_big.quote_len = 0; too_big.quote_len < whole; too_big.quote_len++)
			assert_int_equal(receive(message, build_too_big(&too_big, message)),
					 DROP_PTB_REFUSED);
		len = build_too_big(&too_big, message);
		for (uint32_t cut = 14; cut < len; cut++)
			assert_int_equal(receive(message, cut), DROP_MALFORMED);
		for (uint32_t icmp = 0; icmp < 8; icmp++) {	/* less than ICMP's own header */
			uint32_t header = quoted.family == FAMILY_V4 ? 20 : 40;

			put16(message + 14 + (header == 20 ? 2 : 4),
			      header == 20 ? header + icmp : icmp);
			assert_int_equal(receive(message, 14 + header + icmp), DROP_PTB_REFUSED);
		}
		assert_int_equal(learnt(&quoted), 0);
	}
}

/* ---- sequence numbers ---------------------------------------------------------------------- */

static void test_numbers(void **state)
{
	/* the next number, a quoted one, is it one of the last 65536 that were sent? */
	static const struct { uint64_t next; uint32_t seq; bool lately; } cases[] = {
		{ 1001, 1000, true }, { 1001, 1, true }, { 1001, 0, false },
		{ 1001, 1001, false }, { 1001, 1002, false }, { 1001, 0x80000000, false },
		{ 100000, 99999, true }, { 100000, 100000 - 65536, true },
		{ 100000, 100000 - 65537, false }, { 100000, 100000, false },
		{ 65537, 1, true }, { 65538, 1, false }, { 65537, 0, false },
		/* nothing sent yet, or less than what would be lately */
		{ 0, 0, false }, { 0, 0xffffffff, false }, { 1, 0, false }, { 1, 0xffffffff, false },
		{ 1, 1, false }, { 2, 1, true }, { 2, 0xffffffff, false },
		{ 1001, 0xffffffff, false }, { 1001, 0xffff4000, false },
		/* the lower half goes round (ESN) */
		{ 0x100000000, 0xffffffff, true }, { 0x100000000, 0, false },
		{ 0x100000001, 0xffffffff, true }, { 0x100000001, 0, true },
		{ 0x100000001, 1, false }, { 0x100000010, 0xffff0010, true },
		{ 0x100000010, 0xffff000f, false }, { 0x10000ffff, 0, true },
		{ 0x100010000, 0, true }, { 0x100010001, 0, false },
		{ 0x200000000, 0xffffffff, true }, { UINT64_MAX, 0xfffffffe, true },
		{ UINT64_MAX, 0xffffffff, false },
	};
	struct quoted quoted = quoted_default(FAMILY_V4, ESP);

	(void)state;
	add_sas();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		host.states[slot_of(FAMILY_V4, ESP)].seq_next = cases[i].next;
		quoted.seq = cases[i].seq;
		if (cases[i].lately)
			assert_learnt(&quoted);
		else
			assert_refused(&quoted);
	}
}

static void test_other_sas(void **state)
{
	struct sa_config sa = sa_default(FAMILY_V4, SPI);
	struct quoted quoted = quoted_default(FAMILY_V4, ESP);

	(void)state;
	assert_refused(&quoted);		/* none at all */
	sa.direction = SPD_IN;
	host_sa(&host, 1, 1, &sa);
	host.states[1].seq_next = SENT + 1;
	assert_refused(&quoted);
	sa.direction = SPD_OUT;
	sa.within_id = 2;			/* routers see the SA around it */
	host_sa(&host, 1, 2, &sa);
	host.states[1].seq_next = SENT + 1;
	assert_refused(&quoted);
	sa.within_id = 0;
	host_sa(&host, 1, 3, &sa);
	host.states[1].seq_next = SENT + 1;
	assert_learnt(&quoted);
	worker_sas_remove(&host.worker.sas, 1);
	assert_refused(&quoted);
}

/* ---- what is learnt ------------------------------------------------------------------------ */

static void check_learns(const struct quoted *quoted, uint32_t reported, uint32_t wanted)
{
	assert_int_equal(report(quoted, reported), DROP_NONE);
	assert_int_equal(learnt(quoted), wanted);
	forget();
}

static void test_values(void **state)
{
	struct quoted v4 = quoted_default(FAMILY_V4, ESP), v6 = quoted_default(FAMILY_V6, ESP);

	(void)state;
	add_sas();
	check_learns(&v4, 1499, 1499);
	check_learns(&v4, 1500, 0);		/* not lower than the NIC's */
	check_learns(&v4, 65535, 0);
	check_learns(&v4, 576, 576);
	check_learns(&v4, 575, 576);		/* RFC 791 */
	check_learns(&v4, 1, 576);
	check_learns(&v6, 1280, 1280);
	check_learns(&v6, 1279, 1280);		/* RFC 8201 section 4 */
	check_learns(&v6, 0, 1280);
	check_learns(&v6, 1500, 0);
	check_learns(&v6, UINT32_MAX, 0);
	check_learns(&v6, 0x10000 + 1300, 0);	/* it has 32 bits */
}

/* RFC 1191 section 7: routers that do not say. */
static void test_plateaus(void **state)
{
	static const struct { uint32_t total, mtu; } cases[] = {
		{ 65535, 0 }, { 4353, 0 }, { 4352, 0 }, { 2003, 0 }, { 2002, 1492 }, { 1500, 1492 },
		{ 1493, 1492 }, { 1492, 1006 }, { 1007, 1006 }, { 1006, 576 }, { 100, 576 },
		{ 0, 576 },
	};
	struct quoted quoted = quoted_default(FAMILY_V4, ESP);

	(void)state;
	add_sas();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		quoted.total = cases[i].total;
		check_learns(&quoted, 0, cases[i].mtu);
	}
}

static void test_only_lower(void **state)
{
	struct quoted quoted = quoted_default(FAMILY_V4, ESP);
	const struct sa_state *sa_state = &host.states[slot_of(FAMILY_V4, ESP)];
	uint64_t then;

	(void)state;
	add_sas();
	assert_int_equal(report(&quoted, 1300), DROP_NONE);
	then = sa_state->path_mtu_ns;
	assert_int_equal(then, host.worker.now_ns);
	host.worker.now_ns += SECOND_NS;
	for (uint32_t mtu = 1300; mtu < 1320; mtu++)
		assert_int_equal(report(&quoted, mtu), DROP_NONE);
	/* Neither does the same again make it last longer. */
	assert_int_equal(sa_state->path_mtu, 1300);
	assert_int_equal(sa_state->path_mtu_ns, then);
	assert_int_equal(host.stats.ptb_accepted, 1);
	assert_int_equal(report(&quoted, 1299), DROP_NONE);
	assert_int_equal(sa_state->path_mtu, 1299);
	assert_int_equal(sa_state->path_mtu_ns, host.worker.now_ns);
	assert_int_equal(host.stats.ptb_accepted, 2);
	/* After ten minutes larger ones are tried, and may be too big again. */
	host.worker.now_ns += PATH_MTU_LIFE_NS - 1;
	assert_int_equal(report(&quoted, 1400), DROP_NONE);
	assert_int_equal(sa_state->path_mtu, 1299);
	host.worker.now_ns++;
	assert_int_equal(report(&quoted, 1400), DROP_NONE);
	assert_int_equal(sa_state->path_mtu, 1400);
	assert_int_equal(host.stats.ptb_accepted, 3);
}

/* Whatever comes, nothing but a path MTU changes, and it stays within bounds. */
static void test_fuzz(void **state)
{
	static const uint8_t chain[] = { IPPROTO_HOPOPTS, IPPROTO_FRAGMENT, IPPROTO_NONE };
	uint64_t random = 4711;
	unsigned int accepted = 0;

	(void)state;
	add_sas();
	for (unsigned int step = 0; step < 150000; step++) {
		struct quoted quoted = quoted_default(step % 2, step / 2 % KINDS);
		struct too_big too_big = { .family = quoted.family, .quote = quote,
					   .mtu = 1200 + next_random(&random) % 300,
					   .options = next_random(&random) % 3 * 8 };
		uint32_t len, flips = next_random(&random) % 4, slot;

		quoted.chain = step % 5 ? NULL : chain;
		too_big.quote_len = quoted_write(&quoted, quote);
		/* In the quote, under a right checksum; in the message; and cut. */
		for (uint32_t i = 0; i < flips; i++)
			quote[next_random(&random) % too_big.quote_len] = (uint8_t)
				next_random(&random);
		len = build_too_big(&too_big, message);
		for (uint32_t i = next_random(&random) % 8; i < 3; i++)
			message[next_random(&random) % len] = (uint8_t)next_random(&random);
		if (next_random(&random) % 4 == 0)
			len = 14 + next_random(&random) % (len - 13);
		accepted += receive(message, len) == DROP_NONE;
		for (slot = 1; slot <= FAMILY_COUNT * KINDS; slot++)
			assert_true(!host.states[slot].path_mtu ||
				    (host.states[slot].path_mtu >= (slot <= KINDS ? 576 : 1280) &&
				     host.states[slot].path_mtu < TEST_MTU));
		forget();
	}
	assert_true(accepted > 10000 && accepted < 100000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_right), TEST(test_long_messages), TEST(test_source_port),
		TEST(test_other_packets), TEST(test_protocols), TEST(test_later_fragments),
		TEST(test_extensions_too_many), TEST(test_type_and_code), TEST(test_checksum),
		TEST(test_cut), TEST(test_numbers), TEST(test_other_sas), TEST(test_values),
		TEST(test_plateaus), TEST(test_only_lower), TEST(test_fuzz),
	};

	return cmocka_run_group_tests_name("worker_ptb", tests, NULL, NULL);
}
