/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hook: XDP on the NIC, every packet that arrives. ESP and AH of ours, their fragments, and news of
 * the path MTU of our SAs go to the wire port after the checks that need no key; clear text passes
 * only if the inbound SPD says bypass.
 */
#ifndef IPSECBPF_XDP_INGRESS_H
#define IPSECBPF_XDP_INGRESS_H

#include "explain.h"
#include "optional.h"
#include "own_address.h"
#include "quote.h"
#include "sad.h"
#include "spd.h"
#include "stats.h"
#include "tc_fragments.h"

static __always_inline bool same_mac(const __u8 *a, const volatile __u8 *b)
{
	for (int i = 0; i < ETH_ALEN; i++)
		if (a[i] != b[i])
			return false;
	return true;
}

/*
 * Generic XDP sees the packets that tc_host_port re-enters. They carry a secret destination address
 * that never leaves this host; put the NIC's own back and let them through.
 */
static __always_inline bool is_reentry(struct xdp_md *ctx, const struct control *ctl)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if (!xdp_generic || (void *)(eth + 1) > (void *)(long)ctx->data_end ||
	    !same_mac(eth->h_dest, reentry_mac))
		return false;
	__builtin_memcpy(eth->h_dest, ctl->nic_mac, ETH_ALEN);
	return true;
}

/* What a step returns for a packet that is not the worker's. No verdict of ours is XDP_ABORTED. */
#define XDP_STEP_CLEAR_TEXT XDP_ABORTED

static __always_inline int to_wire_port(struct xdp_md *ctx, enum pass_counter counter)
{
	if (bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP) != XDP_REDIRECT)
		return -DROP_WIRE_PORT;
	count(counter);
	return XDP_REDIRECT;
}

static __always_inline bool is_ipsec(const struct packet_info *info)
{
	return info->proto == IPPROTO_ESP || info->proto == IPPROTO_AH;
}

/* Does the packet name an SA, if it is one of ours? Port 0 would name those that are not in UDP. */
static __always_inline bool names_sa(const struct packet_info *info, __u32 udp_sas)
{
	if (info->proto == IPPROTO_UDP)
		return udp_sas && info->spi && info->dst_port;
	return is_ipsec(info) && info->fragment == FRAGMENT_NONE;
}

static __always_inline int by_sa(struct xdp_md *ctx, struct packet_info *info,
				 const struct sad_entry *sa)
{
	int err;

	explain_sa(sa->slot);
	info->esp_in_udp = info->proto == IPPROTO_UDP;
	err = sad_check(sa, info);
	if (err)
		return err;
	if (info->fragment != FRAGMENT_NONE)
		return sad_expect_fragments(info) ? to_wire_port(ctx, PASS_IN_FRAGMENT)
						  : -DROP_INTERNAL;
	return to_wire_port(ctx, info->esp_in_udp		 ? PASS_IN_UDP_ESP :
				 info->proto == IPPROTO_ESP ? PASS_IN_ESP : PASS_IN_AH);
}

/*
 * The worker's part of what arrives: an XDP action, a negative drop reason, or XDP_STEP_CLEAR_TEXT
 * (somebody else's ESP too: policy may let it pass). A fragment of ESP or AH is known by its
 * addresses, as only the first one has the SPI; one of ESP in UDP by having come after its first.
 *
 * A forged source goes before all else, essential traffic included; what tc_host_port re-enters has
 * gone by. Where the source is an SA's it is the peer's, which saves that look-up where most
 * packets go.
 *
 * `end`: offset of the octet after the headers that were read. `udp_sas`: see struct control. Not
 * inlined: the verifier then sees these steps once, not again for each way through the headers.
 */
__noinline int secured(struct xdp_md *ctx, struct packet_info *info, __u32 end, __u32 udp_sas)
{
	struct sad_entry *sa = NULL;

	if (!info)
		return -DROP_INTERNAL;
	if (names_sa(info, udp_sas))
		sa = sad_lookup(info);
	else if (is_ipsec(info) && sad_knows_peer(info))
		return to_wire_port(ctx, PASS_IN_FRAGMENT);
	else if (info->fragment == FRAGMENT_LATER && info->proto == IPPROTO_UDP && udp_sas &&
		 sad_expects_fragment(info))
		return to_wire_port(ctx, PASS_IN_FRAGMENT);
	if (!(sa && sad_source_is_peer(sa, info)) && is_own_source(info))
		return -DROP_OWN_SOURCE;
	if (sa)
		return by_sa(ctx, info, sa);
	if (info->fragment == FRAGMENT_FIRST && info->proto == IPPROTO_UDP && udp_sas)
		sad_forget_fragments(info);
	if (is_too_big(info) && quotes_our_sa(ctx, info, end))
		return to_wire_port(ctx, PASS_IN_PTB);
	return XDP_STEP_CLEAR_TEXT;
}

/* What policy says of clear text: the counter of what passes, or a negative drop reason. */
static __always_inline int clear_verdict(const struct control *ctl, struct packet_info *info,
					 const struct spd_head *head, __u32 generation,
					 struct spd_verdict *verdict)
{
	int err = spd_judge(info, head, generation, SPD_WAY_IN, verdict);

	if (err)
		return err;
	if (verdict->action == SPD_BYPASS)
		return verdict->essential ? PASS_IN_ESSENTIAL : PASS_IN_BYPASS;
	if (info->is_ip && is_ipsec(info))
		return -DROP_NO_SA_IN;
	if (verdict->action != SPD_PROTECT)
		return -DROP_POLICY_DISCARD;
	err = optional_in(ctl, info, generation, verdict);
	return err ? err : PASS_IN_OPTIONAL;
}

static __always_inline int clear_text(const struct control *ctl, struct packet_info *info,
				      struct spd_verdict *verdict)
{
	__u32 generation = generation_in_force(ctl);
	const struct spd_head *head = spd_head_of(generation);
	bool apps = policy_has_apps(head);
	int passed, err = 0;

	if (apps)
		app_of_packet(info, generation, SPD_WAY_IN);
	passed = clear_verdict(ctl, info, head, generation, verdict);
	if (passed < 0)
		return passed;
	if (is_closed(ctl, verdict))
		return -DROP_NO_POLICY;
	if (apps && info->fragment != FRAGMENT_NONE)
		err = clear_fragment(info, spd_serial(head), verdict);
	if (err)
		return err;
	count(passed);
	return XDP_PASS;
}

static __always_inline int ingress(struct xdp_md *ctx, const struct control *ctl,
				   struct packet_info *info, struct spd_verdict *verdict)
{
	struct cursor cursor = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	int action;

	action = parse_packet(&cursor, info);
	if (action)
		return action;
	info->len = ctx->data_end - ctx->data;
	if (info->is_ip)
		action = secured(ctx, info, cursor.pos - (void *)(long)ctx->data, ctl->udp_sas);
	return action == XDP_STEP_CLEAR_TEXT ? clear_text(ctl, info, verdict) : action;
}

SEC("xdp")
int xdp_ingress(struct xdp_md *ctx)
{
	struct spd_verdict verdict = { .rule = SPD_RULE_DEFAULT };
	struct packet_info info = {};
	struct control *ctl;
	__u32 zero = 0;
	int action;

	ctl = bpf_map_lookup_elem(&control, &zero);
	if (!ctl)
		return XDP_DROP;
	if (is_reentry(ctx, ctl))
		return XDP_PASS;
	action = ingress(ctx, ctl, &info, &verdict);
	explain_packet(&info, &verdict, action);
	if (action >= 0)
		return action;
	drop(&info, -action, SPD_IN, verdict.rule, ctx->data_end - ctx->data);
	return XDP_DROP;
}

#endif /* IPSECBPF_XDP_INGRESS_H */
