/* SPDX-License-Identifier: BSD-2-Clause */
/* The generated skeleton of the socket hooks, without the warnings we ask of our own code. Included
 * by:
 * app_hooks.c. */
#ifndef IPSECBPF_BUILD_SOCKETS_SKELETON_H
#define IPSECBPF_BUILD_SOCKETS_SKELETON_H

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-qual"
#include "ipsecbpf_sockets.skel.h"
#pragma GCC diagnostic pop

#endif /* IPSECBPF_BUILD_SOCKETS_SKELETON_H */
