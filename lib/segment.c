// SPDX-License-Identifier: BSD-2-Clause
/*
 * Frames from the host port into packets for the wire. segment_start() validates and sums once what
 * every segment shares; segment_next() copies each payload octet once, summing as it goes.
 */
#include "segment.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "bytes.h"
#include "checksum.h"
#include "tcpip.h"

static enum drop_reason parse_ethernet(struct segment_iter *iter)
{
	const struct host_frame *frame = iter->frame;
	uint32_t off = ETHERNET_TYPE;
	unsigned int tags = 0;
	uint16_t type;

	if (frame->len < ETHERNET_LEN)
		return DROP_MALFORMED;
	type = load_be16(frame->data + off);
	while (type == ETH_P_8021Q || type == ETH_P_8021AD) {
		if (tags++ == VLAN_TAGS_MAX)
			return DROP_UNSUPPORTED;
		off += VLAN_TAG_LEN;
		if (frame->len < off + 2)
			return DROP_MALFORMED;
		type = load_be16(frame->data + off);
	}
	if (type != ETH_P_IP && type != ETH_P_IPV6)
		return DROP_UNSUPPORTED;
	iter->l2_len = (uint16_t)(off + 2);
	iter->family = type == ETH_P_IP ? FAMILY_V4 : FAMILY_V6;
	return DROP_NONE;
}

static enum drop_reason parse_ipv4(struct segment_iter *iter)
{
	const uint8_t *ip = iter->frame->data + iter->l2_len;
	uint32_t room = iter->frame->len - iter->l2_len;
	uint32_t total;

	if (room < IPV4_LEN || ip[IPV4_VERSION_IHL] >> 4 != 4)
		return DROP_MALFORMED;
	iter->l3_len = (uint16_t)((ip[IPV4_VERSION_IHL] & 0x0f) * 4);
	total = load_be16(ip + IPV4_TOTAL_LEN);
	if (iter->l3_len < IPV4_LEN || total < iter->l3_len || total > room)
		return DROP_MALFORMED;
	iter->end = iter->l2_len + total;
	iter->ip_id = load_be16(ip + IPV4_ID);
	iter->l4_proto = ip[IPV4_PROTOCOL];
	if (load_be16(ip + IPV4_FRAGMENT) & IPV4_FRAGMENT_BITS)
		iter->l4_proto = IPPROTO_FRAGMENT;
	return DROP_NONE;
}

/*
 * Steps over the extension headers that may stand before TCP. Stops at a fragment header, and at a
 * routing header with segments left: the address in the pseudo header is then not the one in the IP
 * header (RFC 8200 8.1), so such a packet is passed on but never cut.
 */
static enum drop_reason parse_extensions(struct segment_iter *iter, uint8_t next)
{
	const uint8_t *data = iter->frame->data;
	uint32_t off = iter->l2_len + IPV6_LEN;

	for (unsigned int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
			break;
		if (iter->end - off < 8 || iter->end - off < (data[off + 1] + 1u) * 8)
			return DROP_MALFORMED;
		if (next == IPPROTO_ROUTING && data[off + IPV6_ROUTING_LEFT] > 0)
			break;
		next = data[off];
		off += (data[off + 1] + 1u) * 8;
	}
	iter->l3_len = (uint16_t)(off - iter->l2_len);
	iter->l4_proto = next;
	return DROP_NONE;
}

static enum drop_reason parse_ipv6(struct segment_iter *iter)
{
	const uint8_t *ip = iter->frame->data + iter->l2_len;
	uint32_t room = iter->frame->len - iter->l2_len;
	uint32_t total;

	if (room < IPV6_LEN || ip[0] >> 4 != 6)
		return DROP_MALFORMED;
	total = IPV6_LEN + load_be16(ip + IPV6_PAYLOAD_LEN);
	if (total > room)
		return DROP_MALFORMED;
	iter->end = iter->l2_len + total;
	return parse_extensions(iter, ip[IPV6_NEXT_HEADER]);
}

static enum drop_reason parse_tcp(struct segment_iter *iter)
{
	uint32_t l4_off = iter->l2_len + iter->l3_len;
	const uint8_t *tcp = iter->frame->data + l4_off;

	if (iter->end - l4_off < TCP_LEN)
		return DROP_MALFORMED;
	iter->l4_len = (uint16_t)((tcp[TCP_OFFSET] >> 4) * 4);
	if (iter->l4_len < TCP_LEN || iter->end - l4_off < iter->l4_len)
		return DROP_MALFORMED;
	iter->payload_off = l4_off + iter->l4_len;
	return DROP_NONE;
}

static enum drop_reason parse(struct segment_iter *iter)
{
	enum drop_reason reason = parse_ethernet(iter);

	if (reason != DROP_NONE)
		return reason;
	reason = iter->family == FAMILY_V4 ? parse_ipv4(iter) : parse_ipv6(iter);
	if (reason != DROP_NONE)
		return reason;
	return iter->l4_proto == IPPROTO_TCP ? parse_tcp(iter) : DROP_NONE;
}

static bool needs_csum(const struct segment_iter *iter)
{
	return iter->frame->vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM;
}

/* The pseudo header with `len`, from the addresses in the IP header. */
static uint64_t pseudo_sum(const struct segment_iter *iter, uint32_t len)
{
	const uint8_t *ip = iter->frame->data + iter->l2_len;

	if (iter->family == FAMILY_V4)
		return checksum_pseudo(0, FAMILY_V4, ip + IPV4_SRC, ip + IPV4_DST, IPPROTO_TCP,
				       len);
	return checksum_pseudo(0, FAMILY_V6, ip + IPV6_SRC, ip + IPV6_DST, IPPROTO_TCP, len);
}

/*
 * The pseudo header less its length. With NEEDS_CSUM the stack has left its sum in the checksum
 * field, which holds for source-routed packets too; the length is taken out of it again.
 */
static uint64_t pseudo_base(const struct segment_iter *iter)
{
	uint32_t l4_off = iter->l2_len + iter->l3_len;

	if (!needs_csum(iter))
		return pseudo_sum(iter, 0);
	return (uint64_t)load_raw16(iter->frame->data + l4_off + TCP_CHECKSUM) +
	       (uint16_t)~htobe16((uint16_t)(iter->end - l4_off));
}

/* Sums what all segments share, with the fields that differ taken as zero. */
static void sum_templates(struct segment_iter *iter)
{
	const uint8_t *ip = iter->frame->data + iter->l2_len;
	uint8_t tcp[TCP_LEN_MAX];

	memcpy(tcp, ip + iter->l3_len, iter->l4_len);
	memset(tcp + TCP_SEQ, 0, 4);
	store_raw16(tcp + TCP_OFFSET, 0);	/* with the flags */
	store_raw16(tcp + TCP_CHECKSUM, 0);
	store_raw16(tcp + TCP_URGENT, 0);
	iter->l4_sum = checksum_add(pseudo_base(iter), tcp, iter->l4_len);

	if (iter->family == FAMILY_V4)
		iter->ip_sum = checksum_add(load_raw16(ip), ip + IPV4_FRAGMENT, 4) +
			       checksum_add(0, ip + IPV4_SRC, iter->l3_len - IPV4_SRC);
}

/* The checksum field is either to be completed by us, or finished and right. */
static enum drop_reason check_tcp_csum(const struct segment_iter *iter)
{
	const struct virtio_net_hdr *vnet = &iter->frame->vnet;
	uint32_t l4_off = iter->l2_len + iter->l3_len;
	uint32_t len = iter->end - l4_off;

	if (needs_csum(iter))
		return vnet->csum_start == l4_off && vnet->csum_offset == TCP_CHECKSUM ?
			DROP_NONE : DROP_MALFORMED;
	if (vnet->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return DROP_NONE;	/* the field means nothing in a super-packet */
	return checksum_fold(checksum_add(pseudo_sum(iter, len), iter->frame->data + l4_off, len)) ?
		DROP_MALFORMED : DROP_NONE;
}

/* segment_start() for TCP to be cut: into gso_size octets at most, or what fits if that is 0. */
static enum drop_reason start_split(struct segment_iter *iter, uint32_t gso_size)
{
	uint8_t flags = iter->frame->data[iter->l2_len + iter->l3_len + TCP_FLAGS];
	uint32_t headers = (uint32_t)iter->l3_len + iter->l4_len;
	enum drop_reason reason;

	/* A SYN takes a sequence number, and neither can be repeated on each segment. */
	if (headers >= iter->ip_max || flags & (TCP_F_SYN | TCP_F_RST))
		return DROP_TOO_BIG;
	reason = check_tcp_csum(iter);
	if (reason != DROP_NONE)
		return reason;
	iter->mss = iter->ip_max - headers;
	if (gso_size && gso_size < iter->mss)
		iter->mss = gso_size;
	iter->tcp_split = true;
	sum_templates(iter);
	return DROP_NONE;
}

/* segment_start() for a packet that goes as it is: the checksum's place must lie in its payload. */
static enum drop_reason start_whole(const struct segment_iter *iter)
{
	const struct virtio_net_hdr *vnet = &iter->frame->vnet;
	uint32_t l3_min = iter->family == FAMILY_V4 ? iter->l3_len : IPV6_LEN;

	if (!needs_csum(iter))
		return DROP_NONE;
	if (vnet->csum_start < iter->l2_len + l3_min ||
	    (uint32_t)vnet->csum_start + vnet->csum_offset + 2 > iter->end)
		return DROP_MALFORMED;
	return DROP_NONE;
}

enum drop_reason segment_start(struct segment_iter *iter, const struct host_frame *frame,
			       uint32_t ip_max)
{
	enum drop_reason reason;
	uint8_t gso = frame->vnet.gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;
	uint8_t family;

	*iter = (struct segment_iter){ .frame = frame, .ip_max = ip_max };
	reason = parse(iter);
	if (reason != DROP_NONE)
		return reason;
	if (gso == VIRTIO_NET_HDR_GSO_NONE) {
		if (iter->end - iter->l2_len <= ip_max)
			return start_whole(iter);
		return iter->l4_proto == IPPROTO_TCP ? start_split(iter, 0) : DROP_TOO_BIG;
	}
	if (gso != VIRTIO_NET_HDR_GSO_TCPV4 && gso != VIRTIO_NET_HDR_GSO_TCPV6)
		return DROP_UNSUPPORTED;
	if (iter->l4_proto != IPPROTO_TCP)
		return DROP_UNSUPPORTED;
	family = gso == VIRTIO_NET_HDR_GSO_TCPV4 ? FAMILY_V4 : FAMILY_V6;
	if (iter->family != family || !frame->vnet.gso_size)
		return DROP_MALFORMED;
	return start_split(iter, frame->vnet.gso_size);
}

/* The whole packet, its checksum completed as the stack asked (any protocol, any place). */
static void emit_whole(const struct segment_iter *iter, uint8_t *out)
{
	const struct virtio_net_hdr *vnet = &iter->frame->vnet;
	const uint8_t *data = iter->frame->data;
	uint32_t start = vnet->csum_start;
	uint16_t csum;

	if (!needs_csum(iter)) {
		memcpy(out, data, iter->end);
		return;
	}
	memcpy(out, data, start);
	csum = checksum_fold(checksum_copy(0, out + start, data + start, iter->end - start));
	/* Zero says "no checksum" in UDP (RFC 768); elsewhere both values mean the same. */
	store_raw16(out + start + vnet->csum_offset, csum ? csum : 0xffff);
}

static void emit_ip(struct segment_iter *iter, uint8_t *ip, uint32_t ip_len)
{
	uint64_t sum = iter->ip_sum;

	if (iter->family == FAMILY_V6) {
		store_be16(ip + IPV6_PAYLOAD_LEN, (uint16_t)(ip_len - IPV6_LEN));
		return;
	}
	store_be16(ip + IPV4_TOTAL_LEN, (uint16_t)ip_len);
	store_be16(ip + IPV4_ID, iter->ip_id++);
	sum += load_raw16(ip + IPV4_TOTAL_LEN);
	sum += load_raw16(ip + IPV4_ID);
	store_raw16(ip + IPV4_CHECKSUM, checksum_fold(sum));
}

/* Fields of a segment's TCP header; `sum` is that of the shared fields and of the payload. */
static void emit_tcp(const struct segment_iter *iter, uint8_t *tcp, uint32_t payload, uint64_t sum)
{
	bool last = iter->payload_off + iter->next + payload == iter->end;
	uint16_t urgent = load_be16(tcp + TCP_URGENT);

	store_be32(tcp + TCP_SEQ, load_be32(tcp + TCP_SEQ) + iter->next);
	if (!last)
		tcp[TCP_FLAGS] &= (uint8_t)~(TCP_F_FIN | TCP_F_PSH);
	if (iter->next)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_F_CWR;
	if (tcp[TCP_FLAGS] & TCP_F_URG && iter->next) {	/* the pointer counts from this segment */
		if (urgent < iter->next)
			tcp[TCP_FLAGS] &= (uint8_t)~TCP_F_URG;
		urgent = urgent < iter->next ? 0 : (uint16_t)(urgent - iter->next);
		store_be16(tcp + TCP_URGENT, urgent);
	}
	sum += load_raw32(tcp + TCP_SEQ);
	sum += load_raw16(tcp + TCP_OFFSET);
	sum += load_raw16(tcp + TCP_URGENT);
	sum += htobe16((uint16_t)(iter->l4_len + payload));
	store_raw16(tcp + TCP_CHECKSUM, checksum_fold(sum));
}

static void emit_segment(struct segment_iter *iter, uint8_t *out, uint32_t payload)
{
	const uint8_t *data = iter->frame->data;
	uint32_t off = iter->payload_off;
	uint64_t sum;

	memcpy(out, data, off);
	sum = checksum_copy(iter->l4_sum, out + off, data + off + iter->next, payload);
	emit_ip(iter, out + iter->l2_len, (uint32_t)iter->l3_len + iter->l4_len + payload);
	emit_tcp(iter, out + iter->l2_len + iter->l3_len, payload, sum);
	iter->next += payload;
	iter->done = off + iter->next == iter->end;
}

bool segment_next(struct segment_iter *iter, struct packet *packet, uint32_t room)
{
	uint32_t payload = iter->mss, len = iter->end;

	if (iter->done)
		return false;
	if (iter->tcp_split) {
		if (payload > iter->end - iter->payload_off - iter->next)
			payload = iter->end - iter->payload_off - iter->next;
		len = iter->payload_off + payload;
	}
	packet->len = len;
	packet->l2_len = iter->l2_len;
	packet->family = iter->family;
	packet->state = PACKET_CLEAR;
	packet->drop = DROP_NONE;
	if (len > room) {
		iter->done = true;
		packet->len = 0;
		packet_drop(packet, DROP_TOO_BIG);
		return true;
	}
	if (iter->tcp_split) {
		emit_segment(iter, packet->data, payload);
	} else {
		emit_whole(iter, packet->data);
		iter->done = true;
	}
	return true;
}
