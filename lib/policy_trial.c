// SPDX-License-Identifier: BSD-2-Clause
#include "policy_trial.h"

#include <bpf/bpf.h>
#include <errno.h>

#include "clock.h"
#include "control.h"

#define NS_PER_S 1000000000ull

static uint64_t active_word(const struct pins *pins)
{
	return __atomic_load_n(&pins->control->active, __ATOMIC_ACQUIRE);
}

uint32_t policy_generation(const struct pins *pins)
{
	return (uint32_t)GENERATION_AT(active_word(pins), clock_ns());
}

/* Each policy's text is in a map of its own, and the kernel counts maps. */
uint32_t policy_identity(const struct pins *pins)
{
	uint32_t generation = policy_generation(pins), id;

	return bpf_map_lookup_elem(pins->policy_text_fd, &generation, &id) ? 0 : id;
}

uint64_t policy_trial_deadline(const struct pins *pins)
{
	return ACTIVE_DEADLINE(active_word(pins));
}

int64_t policy_trial_left(const struct pins *pins)
{
	uint64_t deadline = policy_trial_deadline(pins), now = clock_ns();

	return deadline > now ? (int64_t)((deadline - now + NS_PER_S - 1) / NS_PER_S) : -1;
}

void policy_flip(const struct pins *pins, uint32_t generation, uint32_t trial_seconds)
{
	uint64_t word = generation;

	if (trial_seconds)
		word |= ACTIVE_DEADLINE(clock_ns() + trial_seconds * NS_PER_S);
	__atomic_store_n(&pins->control->active, word, __ATOMIC_RELEASE);
	if (pins->control->state == ATTACH_BLOCKED)
		__atomic_store_n(&pins->control->state, ATTACH_RUNNING, __ATOMIC_RELEASE);
	else if (pins->control->state == ATTACH_CLOSED)
		policy_reopen(pins);
}

int policy_reopen(const struct pins *pins)
{
	uint32_t closed = ATTACH_CLOSED, open = ATTACH_RUNNING;
	int err = control_order(&pins->paths, CONTROL_STATUS, NULL);

	if (err == -ECONNREFUSED)
		open = ATTACH_GUARD;
	else if (err)
		return err;
	__atomic_compare_exchange_n(&pins->control->state, &closed, open, false, __ATOMIC_ACQ_REL,
				    __ATOMIC_ACQUIRE);
	return 0;
}

static bool exchange(const struct pins *pins, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(&pins->control->active, &from, to, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

int policy_trial_end(const struct pins *pins, bool keep)
{
	uint64_t word = active_word(pins), generation = word & 1;

	if (ACTIVE_DEADLINE(word) <= clock_ns() ||
	    !exchange(pins, word, keep ? generation : !generation))
		return -ENOENT;
	return 0;
}

bool policy_trial_settle(const struct pins *pins)
{
	uint64_t word = active_word(pins), now = clock_ns();

	return ACTIVE_DEADLINE(word) && ACTIVE_DEADLINE(word) <= now &&
	       exchange(pins, word, GENERATION_AT(word, now));
}
