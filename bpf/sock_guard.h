/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hook: what is about to be delivered to a socket. By now its owner is certain, not only likely:
 * what reached a socket of an application must be what that application's policy lets in. Protected
 * packets bear the mark that tc_host_port gives to what an SA has verified; and that they were
 * verified for this application is so if those who verified them knew it for the receiver.
 *
 * Sockets of no application share ports with those that are, or have one after them: what was let
 * in as an application's has to be what the host's rules let in, too.
 */
#ifndef IPSECBPF_SOCK_GUARD_H
#define IPSECBPF_SOCK_GUARD_H

#include "optional.h"
#include "sock_hooks.h"

#define LOOPBACK_IFINDEX 1

/* What a step says; negative: a drop reason. */
enum guard_step { GUARD_ASK, GUARD_PASS };

/* What policy is asked. */
struct guard_question {
	struct spd_query query;
	__u32 tree;		/* SPD_TREE() */
	__u32 pad;
};

/*
 * Steps that need the packet's headers read them for themselves, each in a function of its own:
 * what a program and its functions, one within the other, may have on the stack would not do for
 * the headers and the search.
 */
static __always_inline int guard_parse(const struct __sk_buff *skb, struct packet_info *info)
{
	struct cursor cursor = {
		.pos = (void *)(long)skb->data,		/* the network header */
		.end = (void *)(long)skb->data_end,
	};

	__builtin_memset(info, 0, sizeof(*info));
	info->ethertype = skb->protocol;
	info->len = skb->len;
	return parse_network(&cursor, info);
}

/* Never left this host. */
static __always_inline bool is_from_here(const struct __sk_buff *skb, const struct packet_info *info)
{
	if (skb->ifindex != LOOPBACK_IFINDEX)
		return false;
	return is_loopback_address(&info->src, info->family) || is_own_source(info);
}

/* The question, or GUARD_PASS if it need not be asked. */
__noinline int guard_look(struct __sk_buff *skb, __u32 generation, struct guard_question *question)
{
	const union spd_cell *chunk = spd_first_chunk(generation);
	struct packet_info info;
	enum spd_shows shows;
	int err;

	if (!question || !chunk)
		return -DROP_INTERNAL;
	err = guard_parse(skb, &info);
	if (err)
		return err;
	if (is_from_here(skb, &info) || is_essential(&info, chunk->head.essential, SPD_WAY_IN))
		return GUARD_PASS;
	shows = what_shows(&info);
	query_fill(&question->query, &info, SPD_WAY_IN, shows);
	question->tree = SPD_TREE(SPD_WAY_IN, info.family & 1, shows);
	return GUARD_ASK;
}

/*
 * What an application's rules say (0: nobody's), or else the host's, which hold on the NIC only; by
 * the policy that said whose the socket is. GUARD_ASK and *verdict, GUARD_PASS, or a negative drop
 * reason.
 */
static __always_inline int guard_search(const struct __sk_buff *skb,
					const struct guard_question *question,
					const struct sock_owner *owner, __u32 app,
					struct spd_verdict *verdict)
{
	int err = 0;

	if (app)
		err = spd_search(&question->query, owner->generation, question->tree, app, verdict);
	if (!err && (!app || verdict->rule == SPD_RULE_DEFAULT)) {
		if (skb->ifindex != nic_ifindex)
			return GUARD_PASS;
		err = spd_search(&question->query, owner->generation, question->tree, 0, verdict);
	}
	if (!err && verdict->serial != APP_RESOLVED_SERIAL(owner->resolved))
		err = -DROP_INTERNAL;
	return err ? err : GUARD_ASK;
}

/* Whose rules have let it in, on the NIC? 0: the host's. */
__noinline int guard_admitted(struct __sk_buff *skb, __u32 generation)
{
	struct packet_info info;

	if (skb->ifindex != nic_ifindex || guard_parse(skb, &info))
		return 0;
	app_of_packet(&info, generation, SPD_WAY_IN);
	return info.app;
}

static __always_inline bool is_verified(const struct __sk_buff *skb)
{
	return (skb->mark & mark_mask) == mark_value && skb->ifindex == nic_ifindex;
}

/* Has the socket sent there in the clear lately? */
static __always_inline bool was_asked(struct app_asked *asked, const struct packet_info *info)
{
	__u64 now = bpf_ktime_get_ns();
	const __u32 *src = info->src.w;
	bool found = false;

	bpf_spin_lock(&asked->lock);
#pragma clang loop unroll(disable)
	for (int i = 0; i < APP_ASKED; i++) {
		const __u32 *addr = asked->to[i].addr.w;

		/* It may have asked again since `now`. */
		found |= asked->to[i].ns && (__s64)(now - asked->to[i].ns) < (__s64)APP_ASKED_NS &&
			 asked->to[i].port == info->src_port &&
			 asked->to[i].family == info->family &&
			 !((addr[0] ^ src[0]) | (addr[1] ^ src[1]) | (addr[2] ^ src[2]) |
			   (addr[3] ^ src[3]));
	}
	bpf_spin_unlock(&asked->lock);
	return found;
}

/*
 * May a packet come in the clear, its protection being optional, as far as xdp_ingress could not
 * tell? A socket that chose its port is spoken to by anybody, and a TCP connection is its own
 * answer.
 * GUARD_PASS, or a negative drop reason.
 */
__noinline int guard_clear(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	const struct app_socket *socket;
	struct packet_info info;
	struct app_asked *asked;

	if (!sk || guard_parse(skb, &info) || is_group_address(&info.dst, info.family) ||
	    !is_own_address(&info.dst, info.family))
		return -DROP_UNVERIFIED;
	socket = bpf_sk_storage_get(&app_sockets, sk, 0, 0);
	if (info.proto == IPPROTO_TCP || (socket && (socket->flags & APP_SOCKET_SERVER)))
		return GUARD_PASS;
	asked = bpf_sk_storage_get(&app_asked, sk, 0, 0);
	return asked && was_asked(asked, &info) ? GUARD_PASS : -DROP_UNASKED;
}

__noinline int guard_drop(struct __sk_buff *skb, __u32 reason, __u32 rule)
{
	struct packet_info info;

	guard_parse(skb, &info);
	report_drop(&info, reason, SPD_IN, rule, skb->len);
	return refuse(reason);
}

/*
 * It is to be protected. Has an SA verified it, for the application whose the socket is? For the
 * socket of none it was verified by the rules of the application that it was taken for: those have
 * to ask for the same SAs. GUARD_PASS, or a negative drop reason.
 */
static __always_inline int guard_protected(struct __sk_buff *skb, const struct control *ctl,
					   const struct guard_question *question,
					   const struct sock_owner *owner, __u32 admitted,
					   const struct spd_verdict *verdict)
{
	struct spd_verdict other = {};
	int step;

	if (owner->app) {
		if (is_verified(skb) && admitted == owner->app)
			return GUARD_PASS;
		if (!optional_is_open(ctl, verdict))
			return -DROP_UNVERIFIED;
		step = guard_clear(skb);
		/* xdp_ingress has counted what it let in for this application, and nothing else. */
		if (step == GUARD_PASS && admitted != owner->app &&
		    !optional_within_rate(owner->generation, owner->app))
			step = -DROP_OPTIONAL_RATE;
		return step;
	}
	if (!is_verified(skb) || guard_search(skb, question, owner, admitted, &other) != GUARD_ASK)
		return -DROP_UNVERIFIED;
	return other.action == SPD_PROTECT && other.protect_id == verdict->protect_id ?
		       GUARD_PASS : -DROP_UNVERIFIED;
}

/* GUARD_PASS, or a negative drop reason. */
static __always_inline int guard(struct __sk_buff *skb, const struct control *ctl,
				 const struct sock_owner *owner, struct spd_verdict *verdict)
{
	struct guard_question question = {};
	__u32 admitted = 0;
	int step;

	if (!owner->app) {
		admitted = guard_admitted(skb, owner->generation);
		if (!admitted)
			return GUARD_PASS;
	}
	step = guard_look(skb, owner->generation, &question);
	if (step == GUARD_ASK)
		step = guard_search(skb, &question, owner, owner->app, verdict);
	if (step != GUARD_ASK)
		return step;
	if (verdict->action == SPD_BYPASS)
		return GUARD_PASS;
	if (verdict->action != SPD_PROTECT)
		return -DROP_POLICY_DISCARD;
	if (owner->app)
		admitted = guard_admitted(skb, owner->generation);
	return guard_protected(skb, ctl, &question, owner, admitted, verdict);
}

SEC("cgroup_skb/ingress")
int sock_guard(struct __sk_buff *skb)
{
	struct spd_verdict verdict = { .rule = SPD_RULE_DEFAULT };
	struct app_socket *socket;
	struct bpf_sock *sk = skb->sk;
	struct sock_owner owner = {};
	struct control *ctl;
	__u32 zero = 0;
	int step;

	socket = sk ? bpf_sk_storage_get(&app_sockets, sk, NULL, 0) : NULL;
	ctl = bpf_map_lookup_elem(&control, &zero);
	if (!socket || !ctl)
		return SOCK_ALLOW;
	/* Of a policy without applications nothing is resolved. */
	if (!owner_of(socket, &owner) && !owner.resolved)
		return SOCK_ALLOW;
	step = guard(skb, ctl, &owner, &verdict);
	return step == GUARD_PASS ? SOCK_ALLOW : guard_drop(skb, -step, verdict.rule);
}

#endif /* IPSECBPF_SOCK_GUARD_H */
