/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Between the files of the SAD: sad.c adds and removes SAs, sad_check.c says
 * which it must not, sad_publish.c says what of them the BPF
 * maps show, sad_life.c lets them age and take over from each other, sad_list.c tells of them.
 *
 * Included by: sad*.c only. Threading: the supervisor's thread.
 */
#ifndef IPSECBPF_SAD_INTERNAL_H
#define IPSECBPF_SAD_INTERNAL_H

#include "sad.h"

/* "SA dst 10.9.0.2 proto esp spi 0x00001001" */
void sad_sa_name(const struct sa_config *sa, char *out, size_t out_len);

/* The slot of an SA; 0: there is none. */
uint32_t sad_find(const struct sad *sad, const struct ipsecbpf_sa_id *id);
struct ipsecbpf_sa_id sad_id(const struct sa_config *config);

/*
 * May these SAs be added; those that are there already are none of them. All refusals are reported.
 * 0 or -errno (-EEXIST, -EDQUOT, -ENOSPC, -ENOMEM).
 */
int sad_check_apply(const struct sad *sad, const struct sa_config *configs, size_t count,
		    uint32_t *ret_add, struct ipsecbpf_report *report);

/* And by a rotation: it brings new SAs, and one at a time between the same two (-EBUSY). */
int sad_check_rotate(const struct sad *sad, const struct sa_config *configs, size_t count,
		     struct ipsecbpf_report *report);

/* Takes an SA out of the maps, the worker and the SAD; `change` and `why` are told of it. */
void sad_remove(struct sad *sad, uint32_t slot, enum sa_change change, enum sa_cause why);

/*
 * Shows an SA to the hooks: 0 or -errno, after which sad_withdraw() undoes what was done.
 * sad_withdraw() marks it unused.
 */
int sad_publish(struct sad *sad, uint32_t slot);
void sad_withdraw(struct sad *sad, uint32_t slot);

/* Points the policy's (peer, protection) at the SA to be used now, for both families. 0, -errno. */
int sad_publish_outbound(const struct sad *sad, uint32_t protect_id);

/* The outbound SA of a (peer, protection) for packets of this family; 0: none. */
uint32_t sad_best_outbound(const struct sad *sad, uint32_t protect_id, enum ip_family family);

/* Is there an SA that waits to take over for this (peer, protection) and family? */
bool sad_rotating(const struct sad *sad, uint32_t protect_id, uint8_t family);

/* Keeps an event for whoever asks; in the system log too if it is more than coming and going. */
void sad_tell(struct sad *sad, uint32_t slot, enum sa_change change, enum sa_cause why);

/* Seconds since the SA was added. */
uint64_t sad_age(const struct sad *sad, uint32_t slot, uint64_t now_ns);

#endif /* IPSECBPF_SAD_INTERNAL_H */
