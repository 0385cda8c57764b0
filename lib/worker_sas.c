// SPDX-License-Identifier: BSD-2-Clause
#include "worker_sas.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "esp.h"
#include "ip_layout.h"

#define VLAN_TAGS_MAX 2

int worker_sas_init(struct worker_sas *sas, uint32_t slots)
{
	uint32_t buckets = 64;

	while (buckets < slots)
		buckets *= 2;
	*sas = (struct worker_sas){ .slots = slots, .bucket_mask = buckets - 1 };
	sas->by_slot = calloc(slots, sizeof(*sas->by_slot));
	sas->buckets = calloc(buckets, sizeof(*sas->buckets));
	if (sas->by_slot && sas->buckets)
		return 0;
	free(sas->by_slot);
	free(sas->buckets);
	return -ENOMEM;
}

/* SPIs are chosen by the receiver, so they spread by themselves; this is for those that do not. */
static struct worker_sa **bucket_of(const struct worker_sas *sas, __be32 spi)
{
	return &sas->buckets[(spi * 0x9e3779b1u) >> 8 & sas->bucket_mask];
}

static void unlink_inbound(struct worker_sas *sas, const struct worker_sa *sa)
{
	struct worker_sa **at = bucket_of(sas, sa->esp.spi);

	while (*at && *at != sa)
		at = &(*at)->next;
	if (*at)
		*at = sa->next;
}

void worker_sas_remove(struct worker_sas *sas, uint32_t slot)
{
	struct worker_sa *sa = slot < sas->slots ? sas->by_slot[slot] : NULL;

	if (!sa)
		return;
	if (sa->esp.direction == SPD_IN)
		unlink_inbound(sas, sa);
	sas->by_slot[slot] = NULL;
	sas->last = NULL;
	sa_runtime_fini(&sa->esp);
	free(sa);
}

int worker_sas_add(struct worker_sas *sas, const struct worker_message *message,
		   const struct worker_config *config)
{
	struct worker_sa **bucket, *sa;
	int err;

	if (!message->slot || message->slot >= sas->slots)
		return -EINVAL;
	worker_sas_remove(sas, message->slot);
	sa = calloc(1, sizeof(*sa));
	if (!sa)
		return -ENOMEM;
	err = sa_runtime_init(&sa->esp, &message->sa, &config->states[message->slot],
			      config->engine);
	if (err) {
		free(sa);
		return err;
	}
	sa->esp.slot = message->slot;
	sa->esp.sa_gen = message->sa_gen;
	sa->inner_mtu = sa_inner_mtu(&sa->esp, config->mtu);
	sas->by_slot[message->slot] = sa;
	if (sa->esp.direction == SPD_IN) {
		bucket = bucket_of(sas, sa->esp.spi);
		sa->next = *bucket;
		*bucket = sa;
	}
	return 0;
}

struct worker_sa *worker_sas_by_tag(const struct worker_sas *sas, const struct host_tag *tag)
{
	uint32_t slot = load_be32(tag->slot);
	struct worker_sa *sa = slot < sas->slots ? sas->by_slot[slot] : NULL;

	return sa && sa->esp.sa_gen == tag->sa_gen && sa->esp.direction == SPD_OUT ? sa : NULL;
}

/* Ethernet and VLAN headers; 0 if the frame is too short for them. */
static uint16_t l2_length(const struct packet *packet)
{
	uint32_t len = ETH_HLEN;

	for (int i = 0; i < VLAN_TAGS_MAX && packet->len >= len; i++) {
		uint16_t type = load_be16(packet->data + len - 2);

		if (type != ETH_P_8021Q && type != ETH_P_8021AD)
			break;
		len += 4;
	}
	return packet->len >= len ? (uint16_t)len : 0;
}

struct outer {
	union wire_addr src, dst;
	__be32 spi;
	uint8_t family;
};

static bool same_sa(const struct worker_sa *sa, const struct outer *outer)
{
	return sa->esp.spi == outer->spi && sa->esp.family == outer->family &&
	       !memcmp(&sa->esp.dst, &outer->dst, sizeof(outer->dst));
}

static enum drop_reason read_outer(struct packet *packet, struct outer *ret_outer)
{
	struct outer outer = { 0 };
	struct ip_layout layout;
	enum drop_reason reason;

	packet->l2_len = l2_length(packet);
	if (!packet->l2_len)
		return DROP_MALFORMED;
	reason = ip_layout_parse(packet, &layout);
	if (reason == DROP_NONE)
		reason = ip_layout_find_upper(&layout);
	if (reason != DROP_NONE)
		return reason;
	if (layout.next != IPPROTO_ESP || layout.total < layout.upper_off + ESP_HEADER_LEN)
		return DROP_MALFORMED;
	packet->family = outer.family = layout.family;
	if (layout.family == FAMILY_V4) {
		memcpy(&outer.src, layout.ip + 12, 4);
		memcpy(&outer.dst, layout.ip + 16, 4);
	} else {
		memcpy(&outer.src, layout.ip + 8, 16);
		memcpy(&outer.dst, layout.ip + 24, 16);
	}
	memcpy(&outer.spi, layout.ip + layout.upper_off, sizeof(outer.spi));
	*ret_outer = outer;
	return DROP_NONE;
}

struct worker_sa *worker_sas_inbound(struct worker_sas *sas, struct packet *packet)
{
	struct worker_sa *sa = sas->last;
	enum drop_reason reason;
	struct outer outer;

	reason = read_outer(packet, &outer);
	if (reason != DROP_NONE) {
		packet_drop(packet, reason);
		return NULL;
	}
	if (!sa || !same_sa(sa, &outer)) {
		sa = *bucket_of(sas, outer.spi);
		while (sa && !same_sa(sa, &outer))
			sa = sa->next;
	}
	if (!sa) {
		packet_drop(packet, DROP_STALE_SA);
		return NULL;
	}
	/* XDP has checked this; the worker does not build on who put the packet into its ring. */
	if (memcmp(&sa->esp.src, &outer.src, sizeof(outer.src))) {
		packet_drop(packet, DROP_SA_SOURCE);
		return NULL;
	}
	sas->last = sa;
	return sa;
}
