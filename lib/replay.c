// SPDX-License-Identifier: BSD-2-Clause
/*
 * The bitmap of RFC 6479: a ring of 64-bit words indexed by sequence number, one word longer than
 * the largest window, so that moving the window clears whole words and never shifts bits. Every
 * window size uses the whole ring; the size only decides what counts as old.
 */
#include "replay.h"

#include <string.h>

#define WORD_BITS 64

/*
 * With anti-replay off there is no window to infer the high half from. The nearest number wins,
 * which tolerates any reordering that could be told apart at all.
 */
#define INFERENCE_WINDOW (1u << 31)

/* RFC 4303 A2.2: the high half that puts seq_lo closest to the window (Tl, Th there). */
static bool infer_esn(uint64_t top, uint32_t window, uint32_t seq_lo, uint64_t *ret_seq)
{
	uint32_t top_lo = (uint32_t)top, top_hi = (uint32_t)(top >> 32);
	uint32_t bottom = top_lo - (window - 1);	/* modulo 2^32, as the RFC has it */
	uint32_t seq_hi = top_hi;

	if (top_lo >= window - 1) {			/* case A: the window lies in one subspace */
		if (seq_lo < bottom && ++seq_hi == 0)
			return false;			/* past 2^64 - 1 */
	} else if (seq_lo >= bottom) {			/* case B: it began in the one before */
		if (seq_hi-- == 0)
			return false;			/* before the SA's first packet */
	}
	*ret_seq = (uint64_t)seq_hi << 32 | seq_lo;
	return true;
}

static unsigned int word_of(uint64_t seq)
{
	return (unsigned int)(seq / WORD_BITS % REPLAY_WORDS);
}

static uint64_t bit_of(uint64_t seq)
{
	return UINT64_C(1) << (seq % WORD_BITS);
}

static enum drop_reason judge(const struct sa_state *state, uint32_t window, uint64_t seq)
{
	if (seq > state->replay_top)
		return DROP_NONE;
	if (state->replay_top - seq >= window)
		return DROP_REPLAY_OLD;
	return state->replay_bitmap[word_of(seq)] & bit_of(seq) ? DROP_REPLAY_DUP : DROP_NONE;
}

enum drop_reason replay_check(const struct sa_state *state, const struct replay_config *config,
			      uint32_t seq_lo, uint64_t *ret_seq)
{
	uint32_t window = config->window ? config->window : INFERENCE_WINDOW;
	enum drop_reason verdict = DROP_NONE;
	uint64_t seq = seq_lo;

	if (config->esn && !infer_esn(state->replay_top, window, seq_lo, &seq))
		return DROP_REPLAY_OLD;
	if (seq == 0)
		return DROP_REPLAY_OLD;
	if (config->window)
		verdict = judge(state, window, seq);
	if (verdict == DROP_NONE)
		*ret_seq = seq;
	return verdict;
}

/* How many of the numbers in from..to, all within the ring, have not come? */
static uint64_t missing(const struct sa_state *state, uint64_t from, uint64_t to)
{
	uint64_t count = 0;

	for (uint64_t word = from / WORD_BITS; word <= to / WORD_BITS; word++) {
		uint64_t unseen = ~state->replay_bitmap[word % REPLAY_WORDS];

		if (word == from / WORD_BITS)
			unseen &= UINT64_MAX << from % WORD_BITS;
		if (word == to / WORD_BITS)
			unseen &= UINT64_MAX >> (WORD_BITS - 1 - to % WORD_BITS);
		count += (uint64_t)__builtin_popcountll(unseen);
	}
	return count;
}

/*
 * How many numbers are lost as the right edge moves to seq: those that leave the window at the left
 * unreceived and, where it leaps ahead, those it passes over without ever having held them.
 * replay_first lies at or before the right edge.
 */
static uint64_t lost_by_advance(const struct sa_state *state, uint32_t window, uint64_t seq)
{
	uint64_t top = state->replay_top;
	uint64_t from = top >= window ? top - window + 1 : 1;	/* left edge */
	uint64_t to = seq >= window ? seq - window : 0;		/* the last to leave */

	if (from < state->replay_first)
		from = state->replay_first;
	if (to < from)
		return 0;
	if (to <= top)
		return missing(state, from, to);
	return missing(state, from, top) + (to - top);
}

/*
 * Moves the right edge to seq: the words in between belong to numbers not yet received. The state
 * outlives a killed worker, so the order matters: the edge first, then the clearing, then (in the
 * caller) the bit. Cut short anywhere, it forgets no delivered packet; at worst stale bits refuse
 * a few good ones. BPF reads the edge without a lock: one store, never torn.
 */
static void advance(struct sa_state *state, uint64_t seq)
{
	uint64_t from = state->replay_top / WORD_BITS, words = seq / WORD_BITS - from;

	__atomic_store_n(&state->replay_top, seq, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (words > REPLAY_WORDS)
		words = REPLAY_WORDS;
	for (uint64_t i = 1; i <= words; i++)
		state->replay_bitmap[(from + i) % REPLAY_WORDS] = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

enum drop_reason replay_commit(struct sa_state *state, const struct replay_config *config,
			       uint64_t seq)
{
	enum drop_reason verdict;
	uint64_t lost = 0;

	if (config->window) {
		verdict = judge(state, config->window, seq);
		if (verdict != DROP_NONE)
			return verdict;
	}
	if (seq > state->replay_top) {
		if (config->window && state->replay_first)
			lost = lost_by_advance(state, config->window, seq);
		advance(state, seq);
		state->lost += lost;
	}
	state->replay_bitmap[word_of(seq)] |= bit_of(seq);
	if (!state->replay_first)
		state->replay_first = seq;
	return DROP_NONE;
}

void replay_resume(struct sa_state *state, uint64_t top)
{
	memset(state->replay_bitmap, 0xff, sizeof(state->replay_bitmap));
	state->replay_bitmap[word_of(top)] = UINT64_MAX >> (WORD_BITS - 1 - top % WORD_BITS);
	state->replay_first = top;
	state->replay_top = top;
}
