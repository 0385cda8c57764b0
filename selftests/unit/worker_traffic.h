/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a host's stack sends, and a ledger of it: each packet must come out at the other host octet
 * for octet, and once at most. UDP packets are known again by the IPv4 identification or the IPv6
 * flow label; of TCP every octet of the stream is known by its sequence number. Included by:
 * test_worker_*.c (after worker_modes.h).
 */
#ifndef IPSECBPF_TEST_WORKER_TRAFFIC_H
#define IPSECBPF_TEST_WORKER_TRAFFIC_H

#include "frames.h"
#include "lib/checksum.h"
#include "lib/fragment.h"

#define LEDGER_MAX 65536
#define STREAM_MAX (1u << 22)
#define TCP_HEADER 32
#define STACK_FRAGMENT_ID 0x5a000000	/* and the packet's number: not what the worker counts */

struct entry {
	uint8_t *ip;
	uint32_t len;
	uint32_t slot;		/* of the SA that it is given to */
	uint32_t inner_mtu;	/* what the SA takes at once */
	uint32_t fragment_id;	/* IPv6: of the fragments; 0: not known yet */
	uint8_t *seen;		/* octets behind the IP header that came in fragments */
	uint32_t seen_count;
	unsigned int delivered;
	bool refused;		/* dropped before it was sent */
};

static struct entry ledger[LEDGER_MAX];
static uint32_t ledger_count = 1;		/* 0 is nobody's identification */
static uint8_t stream_seen[FAMILY_COUNT][STREAM_MAX];
static uint32_t stream_next[FAMILY_COUNT];
static uint32_t tcp_packets;			/* that were delivered, merged or not */
static uint32_t udp_frames, udp_fragments;	/* that were delivered, and those not whole */
static uint64_t traffic_random = 1;

/* A packet from the stack, before it is given to the worker. */
struct stack_packet {
	enum ip_family family;
	uint32_t payload;	/* octets of UDP or TCP payload */
	bool back;		/* from b to a */
	bool df;		/* IPv4 */
	bool partial;		/* the checksum is the worker's to finish */
	uint16_t gso_size;	/* TCP */
};

static inline void ledger_clear(void)
{
	for (uint32_t i = 0; i < ledger_count; i++) {
		free(ledger[i].ip);
		free(ledger[i].seen);
		ledger[i] = (struct entry){ 0 };
	}
	ledger_count = 1;
	for (unsigned int family = 0; family < FAMILY_COUNT; family++) {
		memset(stream_seen[family], 0, stream_next[family]);
		stream_next[family] = 0;
	}
	tcp_packets = udp_frames = udp_fragments = 0;
}

static inline uint8_t stream_octet(uint32_t at)
{
	return (uint8_t)((at * 2654435761u) >> 23);
}

static inline uint32_t ip_header_length(enum ip_family family)
{
	return family == FAMILY_V4 ? 20 : 40;
}

static inline uint32_t ip_pseudo(const uint8_t *ip, enum ip_family family, uint8_t proto,
				 uint32_t len)
{
	return family == FAMILY_V4 ? naive_pseudo(ip + 12, 8, proto, len)
				   : naive_pseudo(ip + 8, 32, proto, len);
}

static inline void write_ip(const struct stack_packet *packet, uint8_t *ip, uint8_t proto,
			    uint32_t len, uint32_t id)
{
	enum ip_family family = packet->family;
	union wire_addr src = end_address(family, packet->back ? 2 : 1);
	union wire_addr dst = end_address(family, packet->back ? 1 : 2);

	memset(ip, 0, ip_header_length(family));
	if (family == FAMILY_V4) {
		ip[0] = 0x45;
		put16(ip + 2, 20 + len);
		put16(ip + 4, id);
		ip[6] = packet->df ? 0x40 : 0;
		ip[8] = 64;
		ip[9] = proto;
		memcpy(ip + 12, src.b, 4);
		memcpy(ip + 16, dst.b, 4);
		put16(ip + 10, ~naive_add(0, ip, 20) & 0xffff);
		return;
	}
	put32(ip, 0x60000000 | id);
	put16(ip + 4, len);
	ip[6] = proto;
	ip[7] = 64;
	memcpy(ip + 8, src.b, 16);
	memcpy(ip + 24, dst.b, 16);
}

static inline void write_tag(const struct mode *mode, const struct stack_packet *packet,
			     uint8_t *ethernet)
{
	struct host_tag tag = { .magic = HOST_TAG_SA, .sa_gen = 1 };

	put32(tag.slot, inner_slot(mode, packet->back, packet->family));
	memcpy(ethernet, "\x02\x00\x00\x00\x00\x63", 6);
	memcpy(ethernet + 6, &tag, sizeof(tag));
	put16(ethernet + 12, packet->family == FAMILY_V4 ? 0x0800 : 0x86dd);
}

static inline struct entry *ledger_add(const uint8_t *ip, uint32_t len, uint32_t slot)
{
	struct entry *entry = &ledger[ledger_count];

	assert_true(ledger_count < LEDGER_MAX);
	ledger_count++;
	*entry = (struct entry){ .ip = malloc(len), .len = len, .slot = slot };
	assert_non_null(entry->ip);
	memcpy(entry->ip, ip, len);
	return entry;
}

/* As the stack does it with what is larger than the NIC's MTU. */
static inline void push_fragments(struct test_host *host, uint8_t *frame, uint32_t len, uint32_t id)
{
	static uint8_t out[2048];
	const struct packet packet = { .data = frame, .len = len, .l2_len = 14,
				       .state = PACKET_CLEAR };
	struct packet piece = { .data = out };
	struct fragment_iter iter;

	assert_int_equal(fragment_start(&iter, &packet, TEST_MTU, id), DROP_NONE);
	while (fragment_next(&iter, &piece, sizeof(out)))
		octets_push(&host->host_in, piece.data, piece.len);
}

/* Gives a UDP packet to the sender's worker; in fragments if it is larger than the NIC's MTU. */
static inline struct entry *send_udp(const struct mode *mode, const struct stack_packet *packet)
{
	static uint8_t frame[FRAME_MAX];
	struct test_host *host = packet->back ? &b : &a;
	uint32_t header = ip_header_length(packet->family), len = 8 + packet->payload;
	uint8_t *ip = frame + 14, *udp = ip + header;
	struct entry *entry;
	struct octets *octets;
	uint32_t pseudo, sum;

	write_tag(mode, packet, frame);
	write_ip(packet, ip, IPPROTO_UDP, len, ledger_count);
	put16(udp, 1000);
	put16(udp + 2, 2000);
	put16(udp + 4, len);
	put16(udp + 6, 0);
	fill_random(&traffic_random, udp + 8, packet->payload);
	if (packet->payload >= sizeof(clear_mark))
		memcpy(udp + 8, clear_mark, sizeof(clear_mark));
	pseudo = ip_pseudo(ip, packet->family, IPPROTO_UDP, len);
	sum = ~naive_add(pseudo, udp, len) & 0xffff;
	put16(udp + 6, sum ? sum : 0xffff);
	entry = ledger_add(ip, header + len, inner_slot(mode, packet->back, packet->family));
	entry->inner_mtu = worker_sas_inner_mtu(&host->worker.sas,
						host->worker.sas.by_slot[entry->slot],
						host->worker.now_ns);
	if (header + len > TEST_MTU && !packet->df) {
		entry->fragment_id = STACK_FRAGMENT_ID + ledger_count;
		push_fragments(host, frame, 14 + header + len, entry->fragment_id);
		return entry;
	}
	octets = octets_new(frame, 14 + header + len);
	if (packet->partial) {
		put16(octets->data + 14 + header + 6, pseudo);
		octets->vnet = (struct virtio_net_hdr){ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
							.csum_start = (uint16_t)(14 + header),
							.csum_offset = 6 };
	}
	STAILQ_INSERT_TAIL(&host->host_in, octets, next);
	return entry;
}

/* A TCP super-packet, next in the stream of its family (from a only). */
static inline void send_tcp(const struct mode *mode, const struct stack_packet *packet)
{
	static uint8_t frame[FRAME_MAX];
	enum ip_family family = packet->family;
	uint32_t header = ip_header_length(family), len = TCP_HEADER + packet->payload;
	uint8_t *ip = frame + 14, *tcp = ip + header;
	uint32_t seq = stream_next[family];
	struct octets *octets;

	assert_true(seq + packet->payload <= STREAM_MAX);
	write_tag(mode, packet, frame);
	write_ip(packet, ip, IPPROTO_TCP, len, 0);
	memset(tcp, 1, TCP_HEADER);
	put16(tcp, 1000);
	put16(tcp + 2, 2000);
	put32(tcp + 4, seq);
	put32(tcp + 8, 77);
	tcp[12] = TCP_HEADER / 4 << 4;
	tcp[13] = TCP_F_ACK;
	put16(tcp + 16, ip_pseudo(ip, family, IPPROTO_TCP, len));
	put16(tcp + 18, 0);
	for (uint32_t i = 0; i < packet->payload; i++)
		tcp[TCP_HEADER + i] = stream_octet(seq + i);
	stream_next[family] += packet->payload;
	octets = octets_new(frame, 14 + header + len);
	octets->vnet = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = (uint16_t)(14 + header),
		.csum_offset = 16, .gso_size = packet->gso_size,
		.gso_type = packet->gso_size == 0 ? VIRTIO_NET_HDR_GSO_NONE :
			    family == FAMILY_V4 ? VIRTIO_NET_HDR_GSO_TCPV4 :
						  VIRTIO_NET_HDR_GSO_TCPV6,
	};
	STAILQ_INSERT_TAIL(&a.host_in, octets, next);
}

/* ---- what comes out ------------------------------------------------------------------------ */

static inline void took_udp(const struct octets *octets, uint32_t id, uint32_t slot)
{
	struct entry *entry = &ledger[id];

	assert_true(id > 0 && id < ledger_count);
	assert_int_equal(octets->len - 14, entry->len);
	assert_memory_equal(octets->data + 14, entry->ip, entry->len);
	assert_int_equal(slot, entry->slot);
	assert_int_equal(octets->vnet.flags, 0);
	assert_int_equal(octets->vnet.gso_type, 0);
	assert_false(entry->refused);
	assert_null(entry->seen);
	udp_frames++;
	entry->delivered++;
	assert_int_equal(entry->delivered, 1);
}

static inline bool is_fragment(const uint8_t *ip)
{
	return ip[0] >> 4 == 4 ? load_be16(ip + 6) & IPV4_FRAGMENT_BITS : ip[6] == IPPROTO_FRAGMENT;
}

/* Where a fragment's octets are from, counted behind the IP header. */
static inline uint32_t fragment_offset(const uint8_t *ip)
{
	return ip[0] >> 4 == 4 ? (load_be16(ip + 6) & 0x1fffu) * 8
			       : load_be16(ip + 42) & 0xfff8u;
}

/* But for what makes it a fragment, its header is the packet's. */
static inline void check_fragment_header(const uint8_t *ip, uint32_t len, struct entry *entry)
{
	if (ip[0] >> 4 == 4) {
		assert_int_equal(load_be16(ip + 2), len);
		assert_memory_equal(ip, entry->ip, 2);
		assert_memory_equal(ip + 4, entry->ip + 4, 2);
		assert_int_equal(load_be16(ip + 6) & 0xc000, 0);	/* reserved, DF */
		assert_memory_equal(ip + 8, entry->ip + 8, 2);
		assert_memory_equal(ip + 12, entry->ip + 12, 8);
		assert_int_equal(naive_add(0, ip, 20), 0xffff);
		return;
	}
	assert_int_equal(load_be16(ip + 4) + 40, len);
	assert_memory_equal(ip, entry->ip, 4);
	assert_memory_equal(ip + 7, entry->ip + 7, 33);
	assert_int_equal(ip[40], entry->ip[6]);
	if (!entry->fragment_id)
		entry->fragment_id = load_be32(ip + 44);
	assert_int_equal(load_be32(ip + 44), entry->fragment_id);
}

/* A part of a packet: it fits what the SA takes, and each octet comes once. */
static inline void took_fragment(const struct octets *octets, uint32_t id, uint32_t slot)
{
	const uint8_t *ip = octets->data + 14;
	bool v4 = ip[0] >> 4 == 4, more = v4 ? ip[6] & 0x20 : ip[43] & 1;
	uint32_t header = v4 ? 20 : 48, from = fragment_offset(ip);
	uint32_t payload = octets->len - 14 - header;
	struct entry *entry = &ledger[id];
	uint32_t end = entry->len - (v4 ? 20 : 40);

	assert_true(id > 0 && id < ledger_count);
	assert_int_equal(slot, entry->slot);
	assert_int_equal(octets->vnet.flags | octets->vnet.gso_type, 0);
	assert_false(entry->refused || entry->delivered);
	check_fragment_header(ip, octets->len - 14, entry);
	assert_true(octets->len - 14 <= entry->inner_mtu);
	assert_true(entry->len > entry->inner_mtu || entry->fragment_id);
	assert_true(payload > 0 && from + payload <= end);
	assert_true(more ? payload % 8 == 0 && from + payload < end : from + payload == end);
	assert_memory_equal(ip + header, entry->ip + entry->len - end + from, payload);
	if (!entry->seen)
		assert_non_null(entry->seen = calloc(1, end));
	for (uint32_t i = from; i < from + payload; i++)
		assert_int_equal(entry->seen[i]++, 0);
	entry->seen_count += payload;
	entry->delivered = entry->seen_count == end;
	udp_frames++;
	udp_fragments++;
}

static inline void took_tcp(const struct octets *octets, enum ip_family family)
{
	const uint8_t *ip = octets->data + 14, *tcp = ip + ip_header_length(family);
	uint32_t len = octets->len - 14 - ip_header_length(family);
	uint32_t payload = len - TCP_HEADER, seq = load_be32(tcp + 4);
	uint32_t sum = ip_pseudo(ip, family, IPPROTO_TCP, len);

	if (family == FAMILY_V4)
		assert_int_equal(naive_add(0, ip, 20), 0xffff);
	if (octets->vnet.gso_type) {
		assert_int_equal(load_be16(tcp + 16), sum);
		tcp_packets += (payload + octets->vnet.gso_size - 1) / octets->vnet.gso_size;
	} else {
		assert_int_equal(naive_add(sum, tcp, len), 0xffff);
		tcp_packets++;
	}
	assert_true(payload > 0 && seq + payload <= stream_next[family]);
	for (uint32_t i = 0; i < payload; i++) {
		assert_int_equal(tcp[TCP_HEADER + i], stream_octet(seq + i));
		assert_int_equal(stream_seen[family][seq + i]++, 0);
	}
}

/* Takes one frame that a worker has written to its host; false if it is a packet-too-big message
 * of the worker's own. */
static inline bool took(const struct octets *octets)
{
	const uint8_t *ip = octets->data + 14;
	enum ip_family family = ip[0] >> 4 == 4 ? FAMILY_V4 : FAMILY_V6;
	struct host_tag tag;
	uint8_t proto = family == FAMILY_V4 ? ip[9] : ip[6];

	memcpy(&tag, octets->data, sizeof(tag));
	assert_int_equal(load_be16(ip - 2), family == FAMILY_V4 ? 0x0800 : 0x86dd);
	if (tag.magic == HOST_TAG_LOCAL_ICMP) {
		assert_int_equal(proto, family == FAMILY_V4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
		return false;
	}
	assert_int_equal(tag.magic, HOST_TAG_SA);
	assert_int_equal(tag.sa_gen, 1);
	if (is_fragment(ip))
		took_fragment(octets, family == FAMILY_V4 ? load_be16(ip + 4) :
			      load_be32(ip) & 0xfffff, load_be32(tag.slot));
	else if (proto == IPPROTO_TCP)
		took_tcp(octets, family);
	else
		took_udp(octets, family == FAMILY_V4 ? load_be16(ip + 4) :
			 load_be32(ip) & 0xfffff, load_be32(tag.slot));
	return true;
}

/* All that a host was given; returns how many packet-too-big messages were among it. */
static inline uint32_t take_delivered(struct test_host *host)
{
	struct octets *octets;
	uint32_t messages = 0;

	while ((octets = octets_pop(&host->host_out))) {
		messages += !took(octets);
		free(octets);
	}
	return messages;
}

/* UDP packets that came out. */
static inline uint32_t ledger_delivered(void)
{
	uint32_t count = 0;

	for (uint32_t i = 1; i < ledger_count; i++)
		count += ledger[i].delivered;
	return count;
}

#endif /* IPSECBPF_TEST_WORKER_TRAFFIC_H */
