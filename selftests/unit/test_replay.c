// SPDX-License-Identifier: BSD-2-Clause
/* The replay window against a slow model that remembers every number, and its edges. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/replay.h"

#define STEPS 1000000u

/* Remembers full numbers; large enough that no two within a window fall on one place. */
#define MODEL_SLOTS 65536
struct model {
	uint64_t top;
	uint64_t first;		/* the first number that came; 0: none yet */
	uint64_t fallen;	/* numbers from `first` on that came and have left the window */
	uint64_t seen[MODEL_SLOTS];
};

static uint64_t random64(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/*
 * RFC 4303 A2.2 said otherwise: of all numbers with these low bits, the only one in
 * (top - window, top - window + 2^32]. False if that one cannot exist.
 */
static bool model_infer(const struct model *model, uint32_t window, uint32_t lo, uint64_t *ret_seq)
{
	__int128 bottom = (__int128)model->top - window + 1;

	for (int step = -1; step <= 1; step++) {
		__int128 seq = ((__int128)(model->top >> 32) + step) * ((__int128)1 << 32) + lo;

		if (seq >= bottom && seq < bottom + ((__int128)1 << 32)) {
			*ret_seq = (uint64_t)seq;
			return seq > 0 && seq <= UINT64_MAX;
		}
	}
	return false;
}

static enum drop_reason model_step(struct model *model, const struct replay_config *config,
				   uint32_t lo, uint64_t *ret_seq)
{
	uint64_t seq = lo;

	if (config->esn && !model_infer(model, config->window, lo, &seq))
		return DROP_REPLAY_OLD;
	if (seq == 0 || (__int128)seq <= (__int128)model->top - config->window)
		return DROP_REPLAY_OLD;
	if (model->seen[seq % MODEL_SLOTS] == seq)
		return DROP_REPLAY_DUP;
	*ret_seq = seq;
	return DROP_NONE;
}

static uint64_t model_left_edge(const struct model *model, uint32_t window)
{
	return model->top >= window ? model->top - window + 1 : 1;
}

/* By the balance: what is behind the window has come, or is lost. */
static uint64_t model_lost(const struct model *model, uint32_t window)
{
	uint64_t edge = model_left_edge(model, window);

	if (!model->first || edge <= model->first)
		return 0;
	return edge - model->first - model->fallen;
}

static void model_commit(struct model *model, uint32_t window, uint64_t seq)
{
	uint64_t old_top = model->top, old_edge = model_left_edge(model, window);

	if (!model->first)
		model->first = seq;
	if (seq > model->top)
		model->top = seq;
	for (uint64_t n = old_edge; n <= old_top && n < model_left_edge(model, window); n++)
		model->fallen += n >= model->first && model->seen[n % MODEL_SLOTS] == n;
	model->seen[seq % MODEL_SLOTS] = seq;
}

/* Mostly near the right edge; some far ahead, some behind the window, some anywhere. */
static uint32_t next_number(uint64_t *random, uint64_t top, uint32_t window)
{
	uint64_t r = random64(random), pick = r >> 56;

	r &= 0xffffffff;
	if (pick < 120)
		return (uint32_t)(top + 1 + r % 4);
	if (pick < 220)
		return (uint32_t)(top - r % (window + window / 4 + 3));
	if (pick < 250)
		return (uint32_t)(top + r % (2 * window + 130));
	if (pick < 254)
		return (uint32_t)(top + r % 70000);
	return (uint32_t)r;
}

static void run_model(uint32_t window, bool esn, uint64_t start)
{
	const struct replay_config config = { .window = window, .esn = esn };
	struct model *model = calloc(1, sizeof(*model));
	struct sa_state *state = calloc(1, sizeof(*state));
	uint64_t random = 0x9e3779b97f4a7c15 ^ window ^ start;

	assert_non_null(model);
	assert_non_null(state);
	model->top = state->replay_top = start;
	for (unsigned int i = 0; i < STEPS; i++) {
		uint32_t lo = next_number(&random, model->top, window);
		uint64_t want_seq = 0, seq = 0;
		enum drop_reason want = model_step(model, &config, lo, &want_seq);

		assert_int_equal(replay_check(state, &config, lo, &seq), want);
		assert_int_equal(seq, want_seq);
		/* One in eight fails its ICV and must leave no trace; rare leaps stay unauthentic. */
		if (want != DROP_NONE || random64(&random) % 8 == 0 ||
		    (seq > model->top && seq - model->top > 200000))
			continue;
		assert_int_equal(replay_commit(state, &config, seq), DROP_NONE);
		assert_int_equal(replay_commit(state, &config, seq), DROP_REPLAY_DUP);
		model_commit(model, window, seq);
		assert_int_equal(state->replay_top, model->top);
		assert_int_equal(state->lost, model_lost(model, window));
	}
	assert_true(state->lost > STEPS / 100);	/* the leaps alone lose that many */
	free(state);
	free(model);
}

static const uint32_t windows[] = { 1, 2, 31, 32, 63, 64, 65, 128, 1000, 1024, 4095, 4096 };

static void test_model_without_esn(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++)
		run_model(windows[i], false, 0);
}

static void test_model_with_esn(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
		run_model(windows[i], true, 0);
		run_model(windows[i], true, 0xffffffff - 40000);
	}
}

static void test_zero_is_refused(void **unused)
{
	struct sa_state state = { 0 };
	uint64_t seq;

	(void)unused;
	for (uint32_t window = 0; window <= 64; window += 64) {
		struct replay_config config = { .window = window };

		assert_int_equal(replay_check(&state, &config, 0, &seq), DROP_REPLAY_OLD);
		config.esn = true;
		assert_int_equal(replay_check(&state, &config, 0, &seq), DROP_REPLAY_OLD);
	}
}

/* The subspace after the last one does not exist, and neither does the one before the first. */
static void test_esn_ends(void **unused)
{
	const struct replay_config config = { .window = 64, .esn = true };
	struct sa_state state = { .replay_top = UINT64_MAX };
	uint64_t seq;

	(void)unused;
	assert_int_equal(replay_check(&state, &config, 5, &seq), DROP_REPLAY_OLD);
	state.replay_top = 3;
	assert_int_equal(replay_check(&state, &config, 0xfffffff0, &seq), DROP_REPLAY_OLD);
}

static void test_esn_wrap(void **unused)
{
	const struct replay_config config = { .window = 64, .esn = true };
	struct sa_state state = { .replay_top = 0xfffffffe };
	uint64_t seq;

	(void)unused;
	assert_int_equal(replay_check(&state, &config, 0, &seq), DROP_NONE);
	assert_int_equal(seq, 0x100000000);
	assert_int_equal(replay_commit(&state, &config, seq), DROP_NONE);
	assert_int_equal(replay_check(&state, &config, 0xffffffff, &seq), DROP_NONE);
	assert_int_equal(seq, 0xffffffff);
	assert_int_equal(replay_commit(&state, &config, seq), DROP_NONE);
	assert_int_equal(replay_check(&state, &config, 0, &seq), DROP_REPLAY_DUP);
}

/* Both pass the check before either commits: the commit decides. */
static void test_twice_in_a_burst(void **unused)
{
	const struct replay_config config = { .window = 32 };
	struct sa_state state = { .replay_top = 100 };
	uint64_t a, b;

	(void)unused;
	assert_int_equal(replay_check(&state, &config, 101, &a), DROP_NONE);
	assert_int_equal(replay_check(&state, &config, 101, &b), DROP_NONE);
	assert_int_equal(replay_commit(&state, &config, a), DROP_NONE);
	assert_int_equal(replay_commit(&state, &config, b), DROP_REPLAY_DUP);
	assert_int_equal(replay_check(&state, &config, 102, &a), DROP_NONE);
	assert_int_equal(replay_commit(&state, &config, 500), DROP_NONE);
	assert_int_equal(replay_commit(&state, &config, a), DROP_REPLAY_OLD);
}

static void test_window_off(void **unused)
{
	struct replay_config config = { .window = 0 };
	struct sa_state state = { 0 };
	uint64_t seq = 0;

	(void)unused;
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(replay_check(&state, &config, 7, &seq), DROP_NONE);
		assert_int_equal(seq, 7);
		assert_int_equal(replay_commit(&state, &config, seq), DROP_NONE);
	}
	config.esn = true;
	state.replay_top = 0x1fffffff0;
	assert_int_equal(replay_check(&state, &config, 5, &seq), DROP_NONE);
	assert_int_equal(seq, 0x200000005);
	assert_int_equal(replay_check(&state, &config, 0xf0000000, &seq), DROP_NONE);
	assert_int_equal(seq, 0x1f0000000);
}

static void commit_all(struct sa_state *state, const struct replay_config *config,
		       const uint64_t *numbers)
{
	for (; *numbers; numbers++)
		assert_int_equal(replay_commit(state, config, *numbers), DROP_NONE);
}

#define NUMBERS(...) ((const uint64_t[]){ __VA_ARGS__, 0 })

/* An SA that comes back: nothing of before is taken again, everything after it is. */
static void test_resume(void **unused)
{
	static const uint64_t tops[] = { 1, 62, 63, 64, 100, 127, 1000, 4095, 4096, 70000 };
	const struct replay_config config = { .window = 128 };

	(void)unused;
	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		struct sa_state state = { 0 };
		uint64_t top = tops[i], seq;

		replay_resume(&state, top);
		for (uint64_t old = 1; old <= top && old < 200; old++)
			assert_int_not_equal(replay_check(&state, &config, (uint32_t)old, &seq),
					     DROP_NONE);
		assert_int_not_equal(replay_check(&state, &config, (uint32_t)top, &seq), DROP_NONE);
		/* The last first: those before it come late, and are good all the same. */
		for (uint64_t ahead = 100; ahead; ahead--) {
			assert_int_equal(
				replay_check(&state, &config, (uint32_t)(top + ahead), &seq),
				DROP_NONE);
			assert_int_equal(replay_commit(&state, &config, seq), DROP_NONE);
		}
		assert_int_equal(state.lost, 0);
		seq = top + 100 + config.window;
		assert_int_equal(replay_commit(&state, &config, seq), DROP_NONE);
		assert_int_equal(state.lost, 0);
		assert_int_equal(replay_commit(&state, &config, seq + config.window),
				 DROP_NONE);
		assert_int_equal(state.lost, config.window - 1);
	}
}

static void test_lost(void **unused)
{
	const struct replay_config config = { .window = 64 }, off = { .window = 0 };
	struct sa_state state = { 0 };

	(void)unused;
	/* Late to the stream: 937 to 999 are in the window, but nobody waits for them. */
	commit_all(&state, &config, NUMBERS(1000, 998, 1100));
	assert_int_equal(state.lost, 1036 - 1000);	/* 1001 to 1036 */
	commit_all(&state, &config, NUMBERS(1101));
	assert_int_equal(state.lost, 37);
	commit_all(&state, &config, NUMBERS(1039, 1102));	/* 1038 leaves, 1039 is next */
	assert_int_equal(state.lost, 38);
	commit_all(&state, &config, NUMBERS(1103));
	assert_int_equal(state.lost, 38);
	/* Over more than the window, to a number whose left edge is just past the last one seen. */
	commit_all(&state, &config, NUMBERS(1103 + 64));
	assert_int_equal(state.lost, 38 + 60);	/* 1040 to 1099 */
	commit_all(&state, &config, NUMBERS(1167 + 100000));
	assert_int_equal(state.lost, 98 + 100000 - 1);
	/* Up to the last number there is. */
	state = (struct sa_state){ 0 };
	commit_all(&state, &config, NUMBERS(1, UINT64_MAX));
	assert_int_equal(state.lost, UINT64_MAX - 65);
	state = (struct sa_state){ 0 };
	commit_all(&state, &off, NUMBERS(1, 5000, 3, 90000));
	assert_int_equal(state.lost, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model_without_esn), cmocka_unit_test(test_model_with_esn),
		cmocka_unit_test(test_zero_is_refused),	  cmocka_unit_test(test_esn_ends),
		cmocka_unit_test(test_esn_wrap),	  cmocka_unit_test(test_twice_in_a_burst),
		cmocka_unit_test(test_window_off),	  cmocka_unit_test(test_lost),
		cmocka_unit_test(test_resume),
	};

	return cmocka_run_group_tests_name("replay", tests, NULL, NULL);
}
