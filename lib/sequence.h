/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Outbound sequence numbers (RFC 4302 3.3.2, RFC 4303 3.3.3), on struct sa_state.
 *
 * Included by: esp_encap.c, ah_protect.c.
 * Threading:   the SA's owning worker thread; the supervisor raises seq_reserved meanwhile.
 */
#ifndef IPSECBPF_SEQUENCE_H
#define IPSECBPF_SEQUENCE_H

#include "sa_runtime.h"

/*
 * Takes a number for good: the shared state, which outlives this process, moves on before the
 * number is used, so that no crash can bring it back. DROP_NONE and the number in *ret_seq, or
 * DROP_SEQ_EXHAUSTED, DROP_SEQ_UNRESERVED.
 */
static inline enum drop_reason sequence_take(struct sa_runtime *sa, uint64_t *ret_seq)
{
	uint64_t seq = sa->state->seq_next;

	if (seq == 0)
		seq = 1;	/* the first packet carries 1 */
	if (seq > (sa->esn ? UINT64_MAX - 1 : UINT32_MAX))
		return DROP_SEQ_EXHAUSTED;
	if (seq >= __atomic_load_n(&sa->state->seq_reserved, __ATOMIC_ACQUIRE))
		return DROP_SEQ_UNRESERVED;
	__atomic_store_n(&sa->state->seq_next, seq + 1, __ATOMIC_RELEASE);
	*ret_seq = seq;
	return DROP_NONE;
}

#endif /* IPSECBPF_SEQUENCE_H */
