/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hook: XDP on the NIC, every packet that arrives. ESP of ours goes to the wire port after the
 * checks that need no key; clear text passes only if the inbound SPD says bypass.
 */
#ifndef IPSECBPF_XDP_INGRESS_H
#define IPSECBPF_XDP_INGRESS_H

#include "sad.h"
#include "spd.h"
#include "stats.h"

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

static __always_inline int to_wire_port(struct xdp_md *ctx)
{
	if (bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_DROP) != XDP_REDIRECT)
		return -DROP_WIRE_PORT;
	count(PASS_IN_ESP);
	return XDP_REDIRECT;
}

static __always_inline int clear_text(const struct control *ctl, const struct packet_info *info,
				      struct spd_verdict *verdict)
{
	int err = spd_decide(ctl, info, SPD_IN, 0, verdict);

	if (err)
		return err;
	if (verdict->action == SPD_BYPASS) {
		count(verdict->essential ? PASS_IN_ESSENTIAL : PASS_IN_BYPASS);
		return XDP_PASS;
	}
	if (info->is_ip && info->proto == IPPROTO_ESP)
		return -DROP_NO_SA_IN;
	return verdict->action == SPD_PROTECT ? -DROP_CLEAR_TEXT : -DROP_POLICY_DISCARD;
}

static __always_inline int ingress(struct xdp_md *ctx, const struct control *ctl,
				   struct packet_info *info, struct spd_verdict *verdict)
{
	struct cursor cursor = { (void *)(long)ctx->data, (void *)(long)ctx->data_end };
	struct sad_entry *sa;
	int err;

	err = parse_packet(&cursor, info);
	if (err)
		return err;
	if (!info->is_ip || info->proto != IPPROTO_ESP)
		return clear_text(ctl, info, verdict);
	if (info->fragment != FRAGMENT_NONE)
		return -DROP_ESP_FRAGMENT;
	sa = sad_lookup(info);
	if (!sa)
		return clear_text(ctl, info, verdict);	/* somebody else's ESP, if policy lets it */
	err = sad_check(sa, info);
	return err ? err : to_wire_port(ctx);
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
	if (action >= 0)
		return action;
	drop(&info, -action, SPD_IN, verdict.rule, ctx->data_end - ctx->data);
	return XDP_DROP;
}

#endif /* IPSECBPF_XDP_INGRESS_H */
