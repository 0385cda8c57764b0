/* SPDX-License-Identifier: BSD-2-Clause */
/* Included by: sa_apply.c, attach.c. */
#ifndef IPSECBPF_SA_APPLY_H
#define IPSECBPF_SA_APPLY_H

#include "ipsecbpf.h"
#include "pin.h"

/* As ipsecbpf_sa_apply(), on open pins, the lock being held by the caller. */
int sa_install(const struct pins *pins, const struct sa_file *file, uint32_t flags,
	       struct ipsecbpf_sa_result *ret_result, struct ipsecbpf_report *report);

#endif /* IPSECBPF_SA_APPLY_H */
