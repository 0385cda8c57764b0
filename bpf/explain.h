/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Notes what became of a packet, for those who ask a private instance of the programs
 * (lib/oracle.h). In the attached programs the knob `explaining` is false, and the verifier removes
 * all of this: it costs no packet anything.
 * Called by: the hooks. Writes verdicts.
 */
#ifndef IPSECBPF_EXPLAIN_H
#define IPSECBPF_EXPLAIN_H

#include "maps.h"
#include "parse.h"

/* Functions of their own: what they need of the stack is not taken from the hooks'. */
static __noinline int note_sa(__u32 slot)
{
	struct packet_verdict *note;
	__u32 zero = 0;

	note = bpf_map_lookup_elem(&verdicts, &zero);
	if (note)
		note->slot = slot;
	return 0;
}

static __noinline int note_asked(__u32 serial)
{
	struct packet_verdict *note;
	__u32 zero = 0;

	note = bpf_map_lookup_elem(&verdicts, &zero);
	if (!note)
		return 0;
	note->asked = 1;
	note->serial = serial;
	return 0;
}

/* Whose the packet is said to be by those who ask. False: they leave it to the maps. */
static __noinline int asked_app(struct packet_info *info)
{
	const struct packet_verdict *note;
	__u32 zero = 0;

	note = bpf_map_lookup_elem(&verdicts, &zero);
	if (!note || note->app == APP_ASK_MAPS)
		return 0;
	info->app = note->app;
	return 1;
}

static __noinline int note_packet(const struct packet_info *info, const struct spd_verdict *verdict,
				  int action)
{
	struct packet_verdict *note;
	__u32 zero = 0;

	note = bpf_map_lookup_elem(&verdicts, &zero);
	if (!note || !info || !verdict)
		return 0;
	note->src = info->src;
	note->dst = info->dst;
	note->spi = info->proto != IPPROTO_UDP || info->esp_in_udp ? info->spi : 0;
	note->src_port = info->src_port;
	note->dst_port = info->dst_port;
	note->ethertype = info->ethertype;
	note->family = info->family;
	note->is_ip = info->is_ip;
	note->proto = info->proto;
	note->icmp_type = info->icmp_type;
	note->icmp_code = info->icmp_code;
	note->fragment = info->fragment;
	note->dscp = info->dscp;
	note->vlan = info->vlan;
	note->rule = verdict->rule;
	note->protect_id = verdict->protect_id;
	note->action = verdict->action;
	note->level = verdict->level;
	note->app = info->app;
	note->essential = verdict->essential;
	note->reason = action < 0 ? -action : DROP_NONE;
	return 0;
}

/* The SA that the packet names, or that is to protect it. */
static __always_inline void explain_sa(__u32 slot)
{
	if (explaining)
		note_sa(slot);
}

/* What the verdict says is policy's answer, by the generation of this serial. */
static __always_inline void explain_asked(__u32 serial)
{
	if (explaining)
		note_asked(serial);
}

static __always_inline bool explain_app(struct packet_info *info)
{
	return explaining && asked_app(info);
}

/* At the end of a hook. action: what its step returned, a drop reason if negative. */
static __always_inline void explain_packet(const struct packet_info *info,
					   const struct spd_verdict *verdict, int action)
{
	if (explaining)
		note_packet(info, verdict, action);
}

#endif /* IPSECBPF_EXPLAIN_H */
