// SPDX-License-Identifier: BSD-2-Clause
/* When the worker stays awake: what gaps between pieces of work teach it, and when others need the CPU. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/busy_poll.h"

#define US  1000ull
#define MAX (200 * US)

struct subject {
	struct worker_stats stats;
	struct busy_poll poll;
	uint64_t now;
};

static void begin(struct subject *subject, uint64_t max_ns)
{
	*subject = (struct subject){ .now = 1000 * US };
	subject->poll = (struct busy_poll){ .stats = &subject->stats, .max_ns = max_ns };
}

/* Nothing for `gap` ns, looking each microsecond, then work. For how long was it awake, ns? */
static uint64_t after(struct subject *subject, uint64_t gap)
{
	uint64_t awake = 0;

	for (uint64_t i = 0; i < gap; i += US) {
		bool again = busy_poll_again(&subject->poll, subject->now + i);

		assert_true(again ? awake == i : true);	/* never again once it slept */
		if (again)
			awake = i + US;
	}
	subject->now += gap;
	busy_poll_met(&subject->poll, subject->now);
	busy_poll_met(&subject->poll, subject->now += US);	/* and more work */
	return awake;
}

static void test_short_gaps_are_waited_for(void **state)
{
	struct subject subject;

	(void)state;
	begin(&subject, MAX);
	assert_int_equal(after(&subject, 30 * US), 0);
	assert_int_equal(subject.poll.window_ns, 60 * US);	/* twice what would have done */
	assert_int_equal(subject.stats.busy_polls, 0);
	for (unsigned int i = 1; i <= 10; i++) {
		assert_int_equal(after(&subject, 30 * US), 30 * US);
		assert_int_equal(subject.stats.busy_polls, i);
		assert_int_equal(subject.stats.busy_poll_ns, i * 30 * US);
	}
	assert_int_equal(subject.poll.window_ns, 60 * US);
}

static void test_window_is_bounded(void **state)
{
	struct subject subject;

	(void)state;
	begin(&subject, MAX);
	assert_int_equal(after(&subject, US), 0);
	assert_int_equal(subject.poll.window_ns, BUSY_POLL_FLOOR_NS);
	assert_int_equal(after(&subject, 150 * US), BUSY_POLL_FLOOR_NS);
	assert_int_equal(subject.poll.window_ns, MAX);
	assert_int_equal(after(&subject, 190 * US), 190 * US);
	assert_int_equal(after(&subject, 5000 * US), MAX);
}

/* A packet now and then: soon nobody waits for the next. */
static void test_long_gaps_end_it(void **state)
{
	struct subject subject;
	uint64_t window = MAX, spent;

	(void)state;
	begin(&subject, MAX);
	after(&subject, 150 * US);
	assert_int_equal(subject.poll.window_ns, MAX);
	while (window) {
		assert_in_range(after(&subject, 1000 * US), window, window + US - 1);
		window = window / 2 < BUSY_POLL_FLOOR_NS ? 0 : window / 2;
		assert_int_equal(subject.poll.window_ns, window);
	}
	spent = subject.stats.busy_poll_ns;
	assert_in_range(spent, 2 * MAX - 2 * BUSY_POLL_FLOOR_NS - 10 * US, 2 * MAX);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(after(&subject, 1000 * US), 0);
	assert_int_equal(subject.stats.busy_poll_ns, spent);
	assert_int_equal(subject.stats.busy_polls, 0);
}

static void test_off(void **state)
{
	struct subject subject;

	(void)state;
	begin(&subject, 0);
	for (unsigned int i = 0; i < 10; i++)
		assert_int_equal(after(&subject, US), 0);
	assert_int_equal(subject.stats.busy_poll_ns, 0);
}

/* What wakes it without work changes nothing: it sleeps on. */
static void test_sleeps_on(void **state)
{
	struct subject subject;

	(void)state;
	begin(&subject, MAX);
	after(&subject, 150 * US);
	assert_true(busy_poll_again(&subject.poll, subject.now));
	assert_false(busy_poll_again(&subject.poll, subject.now + MAX));
	assert_false(busy_poll_again(&subject.poll, subject.now + MAX + US));
	assert_int_equal(subject.stats.busy_poll_ns, MAX);
}

static void test_others_need_the_cpu(void **state)
{
	struct subject subject;

	(void)state;
	begin(&subject, MAX);
	after(&subject, 150 * US);
	busy_poll_back(&subject.poll, BUSY_POLL_AWAY_NS - 1, subject.now);
	assert_int_equal(after(&subject, 50 * US), 50 * US);
	busy_poll_back(&subject.poll, BUSY_POLL_AWAY_NS, subject.now);
	assert_int_equal(after(&subject, 50 * US), 0);
	subject.now += BUSY_POLL_REST_NS;
	assert_int_equal(after(&subject, 50 * US), 50 * US);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_gaps_are_waited_for),
		cmocka_unit_test(test_window_is_bounded),
		cmocka_unit_test(test_long_gaps_end_it),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_sleeps_on),
		cmocka_unit_test(test_others_need_the_cpu),
	};

	return cmocka_run_group_tests_name("busy_poll", tests, NULL, NULL);
}
