/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hook: what becomes of TCP sockets. Connections of applications are noted while they last, and
 * listeners as endpoints; a connection that is closed stays known for a while (APP_CLOSED_NS), since
 * its last packets have no socket any more.
 */
#ifndef IPSECBPF_SOCK_OPS_H
#define IPSECBPF_SOCK_OPS_H

#include "sock_hooks.h"

/* Nobody asks whose the packets are: they do not come to the NIC. */
static __always_inline bool never_leaves(const struct app_flow_key *flow)
{
	return is_here(&flow->local, flow->family) && is_here(&flow->remote, flow->family);
}

/*
 * A connection that begins. The socket of an accepted one came with a copy of all that is noted of
 * its listener, whose endpoints are not its own. One for which there is no room is known by its
 * socket, and by its listener while there is one, until tc_egress finds room for it.
 */
static __always_inline void connection_note(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct app_socket *socket = bpf_sk_storage_get(&app_sockets, sk, NULL, 0);
	struct app_flow_terms terms;
	struct sock_owner owner;
	struct app_flow_key key;

	if (!socket || !owner_of(socket, &owner) ||
	    owner_terms(&terms, &owner, bpf_get_socket_cookie(ctx)))
		return;
	if (!app_socket_claim(socket, terms.cookie))
		return;
	terms.tracked = 1;
	flow_key(&key, sk);
	if (never_leaves(&key)) {
		socket->noted = terms.cookie;
		return;
	}
	if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		terms.flows_max = APP_FLOWS_ACCEPTED(terms.flows_max);
	if (app_flow_add(&key, &socket->who, &terms))
		refuse(DROP_APP_FULL);
	else
		socket->flow = key;
	socket->noted = terms.cookie;
	bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void listener_note(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct app_socket *socket = bpf_sk_storage_get(&app_sockets, sk, NULL, 0);
	struct app_flow_terms terms;
	struct sock_owner owner;
	struct bound bound;

	if (!socket || !owner_of(socket, &owner) ||
	    owner_terms(&terms, &owner, bpf_get_socket_cookie(ctx)))
		return;
	bound_of(&bound, sk);
	if (endpoints_note(socket, &bound, sk, &terms))
		refuse(DROP_APP_FULL);
}

static __always_inline void connection_closed(struct bpf_sock_ops *ctx, struct bpf_sock *sk)
{
	struct app_socket *socket = bpf_sk_storage_get(&app_sockets, sk, NULL, 0);
	__u64 cookie = bpf_get_socket_cookie(ctx);

	if (socket && socket->noted == cookie && socket->flow.family != FAMILY_COUNT)
		app_flow_close(&socket->flow, cookie);
}

/* Of what the kernel asks and tells here, about a dozen times for each connection. */
static __always_inline bool matters(const struct bpf_sock_ops *ctx)
{
	__u32 op = ctx->op;

	return op == BPF_SOCK_OPS_TCP_CONNECT_CB || op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB ||
	       op == BPF_SOCK_OPS_TCP_LISTEN_CB ||
	       (op == BPF_SOCK_OPS_STATE_CB && ctx->args[1] == BPF_TCP_CLOSE);
}

SEC("sockops")
int sock_ops(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk;

	if (!matters(ctx))
		return SOCK_ALLOW;
	sk = ctx->sk;
	if (!sk || !is_ours(ctx))
		return SOCK_ALLOW;
	switch (ctx->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		connection_note(ctx, sk);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		listener_note(ctx, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		connection_closed(ctx, sk);
		break;
	}
	return SOCK_ALLOW;
}

#endif /* IPSECBPF_SOCK_OPS_H */
