// SPDX-License-Identifier: BSD-2-Clause
/*
 * Merges verified TCP segments under the rules of the kernel's GRO: only what segmentation would
 * give back as it was. Frames wait for the next packet of the same burst only.
 */
#include "coalesce.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "bytes.h"
#include "checksum.h"
#include "tcpip.h"

#define IP_TOTAL_MAX 65535u

enum kind {
	KIND_SEGMENT,		/* TCP in plain IP: may merge */
	KIND_RELATED,		/* may belong to a flow, but not in a shape that merges */
	KIND_OTHER,		/* surely not TCP: overtakes frames that are being built */
};

/* Where things are in a packet. Only kind and family are valid for KIND_OTHER. */
struct view {
	const uint8_t *data;
	uint32_t l3_off, l4_off, payload_off, payload_len;
	enum kind kind;
	enum ip_family family;
};

void coalesce_init(struct coalescer *coalescer, coalesce_emit emit, void *context)
{
	memset(coalescer, 0, sizeof(*coalescer));
	coalescer->emit = emit;
	coalescer->context = context;
	for (unsigned int i = 0; i < COALESCE_FLOWS; i++)
		coalescer->order[i] = (uint8_t)i;
}

/* ---- what a packet is ---- */

static uint32_t address_off(enum ip_family family)
{
	return family == FAMILY_V4 ? IPV4_SRC : IPV6_SRC;
}

static size_t address_pair_len(enum ip_family family)
{
	return family == FAMILY_V4 ? 2 * 4 : 2 * 16;
}

/* Checks that l4_off starts a TCP header and the packet ends with the IP packet. */
static enum kind view_tcp(struct view *view, const struct packet *packet, uint32_t ip_len)
{
	uint32_t l4_len, room;

	if (packet->len - view->l3_off != ip_len)
		return KIND_RELATED;
	room = packet->len - view->l4_off;
	if (room < TCP_LEN)
		return KIND_RELATED;
	l4_len = (view->data[view->l4_off + TCP_OFFSET] >> 4) * 4u;
	if (l4_len < TCP_LEN || l4_len > room)
		return KIND_RELATED;
	view->payload_off = view->l4_off + l4_len;
	view->payload_len = room - l4_len;
	return KIND_SEGMENT;
}

static enum kind view_ipv4(struct view *view, const struct packet *packet)
{
	const uint8_t *ip = view->data + view->l3_off;
	uint64_t sum = 0;

	if (packet->len - view->l3_off < IPV4_LEN)
		return KIND_OTHER;
	if (ip[IPV4_PROTOCOL] != IPPROTO_TCP)
		return KIND_OTHER;
	/* options (or a wrong version), fragments */
	if (ip[IPV4_VERSION_IHL] != 0x45 || load_be16(ip + IPV4_FRAGMENT) & IPV4_FRAGMENT_BITS)
		return KIND_RELATED;
	for (unsigned int i = 0; i < IPV4_LEN; i += 4)
		sum += load_raw32(ip + i);
	if (checksum_fold(sum))		/* merging would hide that it is wrong */
		return KIND_RELATED;
	view->l4_off = view->l3_off + IPV4_LEN;
	return view_tcp(view, packet, load_be16(ip + IPV4_TOTAL_LEN));
}

static enum kind view_ipv6(struct view *view, const struct packet *packet)
{
	const uint8_t *ip = view->data + view->l3_off;

	if (packet->len - view->l3_off < IPV6_LEN)
		return KIND_OTHER;
	switch (ip[IPV6_NEXT_HEADER]) {
	case IPPROTO_TCP:
		view->l4_off = view->l3_off + IPV6_LEN;
		return view_tcp(view, packet, IPV6_LEN + load_be16(ip + IPV6_PAYLOAD_LEN));
	case IPPROTO_UDP:
	case IPPROTO_ICMPV6:
		return KIND_OTHER;
	default:
		return KIND_RELATED;	/* TCP may come behind an extension header */
	}
}

static void view_packet(struct view *view, const struct packet *packet)
{
	*view = (struct view){ .data = packet->data, .l3_off = packet->l2_len };
	view->kind = KIND_OTHER;
	if (packet->l2_len < ETHERNET_LEN || packet->len < packet->l2_len)
		return;
	switch (load_be16(packet->data + packet->l2_len - 2)) {
	case ETH_P_IP:
		view->family = FAMILY_V4;
		view->kind = view_ipv4(view, packet);
		break;
	case ETH_P_IPV6:
		view->family = FAMILY_V6;
		view->kind = view_ipv6(view, packet);
		break;
	}
}

/* ---- may it join? ---- */

static enum ip_family frame_family(const struct coalesced *frame)
{
	return frame->l4_off - frame->l3_off == IPV4_LEN ? FAMILY_V4 : FAMILY_V6;
}

static bool same_addresses(const struct coalesced *frame, const struct view *view)
{
	uint32_t off = address_off(view->family);

	return frame_family(frame) == view->family &&
	       memcmp(frame->first->data + frame->l3_off + off, view->data + view->l3_off + off,
		      address_pair_len(view->family)) == 0;
}

static bool same_flow(const struct coalesced *frame, const struct view *view)
{
	const uint8_t *ports = frame->first->data + frame->l4_off;

	return load_raw32(ports) == load_raw32(view->data + view->l4_off) &&
	       same_addresses(frame, view);
}

static bool same_ipv4(const struct coalesced *frame, const uint8_t *head, const uint8_t *ip)
{
	uint16_t fragment = load_be16(ip + IPV4_FRAGMENT);

	if (head[IPV4_TOS] != ip[IPV4_TOS] || head[IPV4_TTL] != ip[IPV4_TTL] ||
	    load_be16(head + IPV4_FRAGMENT) != fragment)
		return false;
	/* With DF the identification has no meaning (RFC 6864 4.1); else it must count on. */
	return fragment & IPV4_DF ||
	       load_be16(ip + IPV4_ID) == (uint16_t)(load_be16(head + IPV4_ID) + frame->packets);
}

/* Version, traffic class and flow label are the first four octets. */
static bool same_ipv6(const uint8_t *head, const uint8_t *ip)
{
	return load_raw32(head) == load_raw32(ip) && head[IPV6_HOP_LIMIT] == ip[IPV6_HOP_LIMIT];
}

/* Acknowledgement, header length, window, urgent pointer and options. Flags: see is_data(). */
static bool same_tcp(const uint8_t *head, const uint8_t *tcp, uint32_t len)
{
	return load_raw32(head + TCP_ACK_SEQ) == load_raw32(tcp + TCP_ACK_SEQ) &&
	       head[TCP_OFFSET] == tcp[TCP_OFFSET] &&
	       load_raw16(head + TCP_WINDOW) == load_raw16(tcp + TCP_WINDOW) &&
	       load_raw16(head + TCP_URGENT) == load_raw16(tcp + TCP_URGENT) &&
	       memcmp(head + TCP_LEN, tcp + TCP_LEN, len - TCP_LEN) == 0;
}

/* A segment that can be part of a merged frame at all: plain data. */
static bool is_data(const struct view *view)
{
	uint8_t flags = view->data[view->l4_off + TCP_FLAGS];

	return view->payload_len && (flags & ~TCP_F_PSH) == TCP_F_ACK;
}

/* Of a data segment and a frame of the same flow: does it follow on, and look the same? */
static bool can_join(const struct coalesced *frame, const struct view *view)
{
	const uint8_t *head = frame->first->data;
	const uint8_t *data = view->data;
	uint32_t ip_len = frame->payload_off - frame->l3_off + frame->payload_len;

	if (frame->closed || frame->packets == COALESCE_PIECES || view->payload_len > frame->mss ||
	    ip_len + view->payload_len > IP_TOTAL_MAX)
		return false;
	if (view->payload_off != frame->payload_off ||
	    load_be32(data + view->l4_off + TCP_SEQ) != frame->next_seq ||
	    memcmp(head, data, view->l3_off) != 0)
		return false;
	if (!same_tcp(head + frame->l4_off, data + view->l4_off, view->payload_off - view->l4_off))
		return false;
	return view->family == FAMILY_V4 ?
		same_ipv4(frame, head + frame->l3_off, data + view->l3_off) :
		same_ipv6(head + frame->l3_off, data + view->l3_off);
}

/* ---- frames ---- */

/* Makes the first packet's headers describe the whole frame, as the kernel's GRO leaves it. */
static void finish_headers(struct coalesced *frame)
{
	uint8_t *ip = frame->first->data + frame->l3_off;
	uint8_t *tcp = frame->first->data + frame->l4_off;
	enum ip_family family = frame_family(frame);
	uint32_t tcp_len = frame->payload_off - frame->l4_off + frame->payload_len;
	const uint8_t *addresses = ip + address_off(family);
	uint64_t pseudo;

	if (family == FAMILY_V4) {
		store_be16(ip + IPV4_TOTAL_LEN, (uint16_t)(IPV4_LEN + tcp_len));
		checksum_ipv4(ip, IPV4_LEN);
	} else {
		store_be16(ip + IPV6_PAYLOAD_LEN, (uint16_t)tcp_len);
	}
	pseudo = checksum_pseudo(0, family, addresses, addresses + address_pair_len(family) / 2,
				 IPPROTO_TCP, tcp_len);
	store_raw16(tcp + TCP_CHECKSUM, (uint16_t)~checksum_fold(pseudo));
	frame->vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = family == FAMILY_V4 ? VIRTIO_NET_HDR_GSO_TCPV4 :
						  VIRTIO_NET_HDR_GSO_TCPV6,
		.hdr_len = (uint16_t)frame->payload_off,
		.gso_size = (uint16_t)frame->mss,
		.csum_start = (uint16_t)frame->l4_off,
		.csum_offset = TCP_CHECKSUM,
	};
}

/* Emits the frame at `age` (0: the oldest) and gives its place back. */
static void emit_frame(struct coalescer *coalescer, unsigned int age)
{
	uint8_t index = coalescer->order[age];
	struct coalesced *frame = &coalescer->frames[index];

	if (frame->packets > 1)
		finish_headers(frame);
	coalescer->emit(coalescer->context, frame);
	coalescer->count--;
	memmove(&coalescer->order[age], &coalescer->order[age + 1], coalescer->count - age);
	coalescer->order[coalescer->count] = index;
	frame->first = NULL;
}

/* Makes `frame` one of this packet only. */
static void fill_frame(struct coalesced *frame, struct packet *packet, const struct view *view)
{
	frame->vnet = (struct virtio_net_hdr){ 0 };
	frame->iov[0] = (struct iovec){ &frame->vnet, sizeof(frame->vnet) };
	frame->iov[1] = (struct iovec){ packet->data, packet->len };
	frame->iov_count = 2;
	frame->packets = 1;
	frame->first = packet;
	frame->closed = 0;
	frame->l3_off = view->l3_off;
	frame->l4_off = view->l4_off;
	frame->payload_off = view->payload_off;
	frame->payload_len = view->payload_len;
	frame->mss = view->payload_len;
	frame->next_seq = 0;
}

/* A free frame; the oldest is emitted if there is none. */
static struct coalesced *take_frame(struct coalescer *coalescer)
{
	if (coalescer->count == COALESCE_FLOWS)
		emit_frame(coalescer, 0);
	return &coalescer->frames[coalescer->order[coalescer->count++]];
}

/* A packet that leaves at once. */
static void emit_alone(struct coalescer *coalescer, struct packet *packet, const struct view *view,
		       uint32_t slot, uint8_t sa_gen)
{
	struct coalesced *frame = &coalescer->alone;

	fill_frame(frame, packet, view);
	frame->slot = slot;
	frame->sa_gen = sa_gen;
	frame->closed = 1;
	coalescer->emit(coalescer->context, frame);
	frame->first = NULL;
}

/* Notes what the segment just put into the frame means for the next one. */
static void advance(struct coalesced *frame, const struct view *view)
{
	const uint8_t *tcp = view->data + view->l4_off;
	uint8_t psh = tcp[TCP_FLAGS] & TCP_F_PSH;

	frame->next_seq = load_be32(tcp + TCP_SEQ) + view->payload_len;
	frame->first->data[frame->l4_off + TCP_FLAGS] |= psh;
	frame->closed = psh || view->payload_len < frame->mss;
}

static void join(struct coalesced *frame, const struct packet *packet, const struct view *view)
{
	frame->iov[frame->iov_count++] =
		(struct iovec){ packet->data + view->payload_off, view->payload_len };
	frame->packets++;
	frame->payload_len += view->payload_len;
	advance(frame, view);
}

/* The age of the flow's frame, or -1. At most one frame of a flow is being built. */
static int find_flow(const struct coalescer *coalescer, const struct view *view)
{
	for (unsigned int age = 0; age < coalescer->count; age++)
		if (same_flow(&coalescer->frames[coalescer->order[age]], view))
			return (int)age;
	return -1;
}

/* Ports of a fragment or behind an extension header are not looked for: all flows between the
 * two addresses go first. */
static void emit_related(struct coalescer *coalescer, const struct view *view)
{
	unsigned int age = 0;

	while (age < coalescer->count)
		if (same_addresses(&coalescer->frames[coalescer->order[age]], view))
			emit_frame(coalescer, age);
		else
			age++;
}

static void add_segment(struct coalescer *coalescer, struct packet *packet,
			const struct view *view, uint32_t slot, uint8_t sa_gen)
{
	int age = find_flow(coalescer, view);
	struct coalesced *frame;

	if (age >= 0) {
		frame = &coalescer->frames[coalescer->order[age]];
		if (frame->slot == slot && frame->sa_gen == sa_gen && is_data(view) &&
		    can_join(frame, view)) {
			join(frame, packet, view);
			if (frame->closed)
				emit_frame(coalescer, (unsigned int)age);
			return;
		}
		emit_frame(coalescer, (unsigned int)age);
	}
	if (!is_data(view)) {
		emit_alone(coalescer, packet, view, slot, sa_gen);
		return;
	}
	frame = take_frame(coalescer);
	fill_frame(frame, packet, view);
	frame->slot = slot;
	frame->sa_gen = sa_gen;
	advance(frame, view);
	if (frame->closed)
		emit_frame(coalescer, coalescer->count - 1);
}

void coalesce_add(struct coalescer *coalescer, struct packet *packet, uint32_t slot, uint8_t sa_gen)
{
	struct view view;

	view_packet(&view, packet);
	if (view.kind == KIND_SEGMENT) {
		add_segment(coalescer, packet, &view, slot, sa_gen);
		return;
	}
	if (view.kind == KIND_RELATED)
		emit_related(coalescer, &view);
	emit_alone(coalescer, packet, &view, slot, sa_gen);
}

void coalesce_flush(struct coalescer *coalescer)
{
	while (coalescer->count)
		emit_frame(coalescer, 0);
}
