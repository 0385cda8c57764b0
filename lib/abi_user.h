/* SPDX-License-Identifier: BSD-2-Clause */
/* bpf/abi.h as user space sees it. Included by: every header in lib/ that names an ABI type. */
#ifndef IPSECBPF_ABI_USER_H
#define IPSECBPF_ABI_USER_H

#include <stdint.h>

#include "../bpf/abi.h"
#include "../bpf/spd_cell.h"

#endif /* IPSECBPF_ABI_USER_H */
