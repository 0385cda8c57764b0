/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Anti-replay (RFC 4303 3.4.3 and Appendix A; window as in RFC 6479), on struct sa_state.
 *
 * Included by: esp_decap.c, ah_verify.c, sad.c. Called in this order only: replay_check() before the ICV
 * is verified, replay_commit() after it held. Checking is pure; nothing unauthenticated changes state.
 * Threading: the SA's owning worker thread only.
 */
#ifndef IPSECBPF_REPLAY_H
#define IPSECBPF_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "abi_user.h"

struct replay_config {
	uint32_t window;	/* packets, 0 (off) to REPLAY_WINDOW_MAX */
	bool esn;
};

/*
 * May a packet with this sequence number (low 32 bits, host order) still be accepted?
 * Returns DROP_NONE and the full number in *ret_seq, or DROP_REPLAY_OLD / DROP_REPLAY_DUP.
 * Sequence number 0 is never valid (RFC 4303 3.3.3). With window 0 only the ESN is inferred.
 */
enum drop_reason replay_check(const struct sa_state *state, const struct replay_config *config,
			      uint32_t seq_lo, uint64_t *ret_seq);

/*
 * Marks `seq` (from replay_check) as received. A burst may hold the same number twice: both pass
 * the check before either commits, so commit itself refuses the second with DROP_REPLAY_DUP
 * (or DROP_REPLAY_OLD if the window has moved past it meanwhile).
 *
 * Counts in state->lost what the window leaves behind without it having come. Numbers before the
 * first that came are not missed: who begins to listen late has lost nothing. No window, no count.
 */
enum drop_reason replay_commit(struct sa_state *state, const struct replay_config *config,
			       uint64_t seq);

/*
 * For an SA that is installed again: all up to `top`, its right edge before, counts as received,
 * nothing above it.
 */
void replay_resume(struct sa_state *state, uint64_t top);

#endif /* IPSECBPF_REPLAY_H */
