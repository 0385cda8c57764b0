// SPDX-License-Identifier: BSD-2-Clause
/*
 * One `waiting` per packet in fragments: which octets are there, in which buffer. The fragmentable
 * part lies at a fixed place of the buffer, and the first fragment's headers, whenever they come
 * and however long they are, right before it: nothing is ever moved. A packet that was dropped for
 * what its fragments said leaves its `waiting` as a tombstone, without a buffer.
 *
 * Invariants: waiting + whole packets out <= limits.packets; there are twice as many of struct
 * waiting, so whoever finds none free finds a tombstone to reuse.
 */
#include "reassembly.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "bytes.h"
#include "checksum.h"
#include "reassembly_bits.h"
#include "reassembly_piece.h"

#define SOURCES 64u		/* room is shared among that many classes of source addresses */

#define PART_AT (PACKET_HEADROOM + FRAGMENT_L2_MAX + FRAGMENT_HEADERS_MAX)
#define BUFFER_LEN (PART_AT + FRAGMENT_PART_MAX + PACKET_TAILROOM)

struct buffer {
	struct packet packet;	/* first: reassembly_release() gets its address */
	uint8_t *memory;	/* BUFFER_LEN octets */
	SLIST_ENTRY(buffer) free;
	struct reassembly_origin origin;
	bool spare;		/* for reassembly_buffer() */
	bool out;
};
SLIST_HEAD(buffers, buffer);

struct waiting {
	struct reassembly_key key;
	struct buffer *buffer;		/* NULL: a tombstone */
	LIST_ENTRY(waiting) chain;	/* in the hash table, unless free */
	TAILQ_ENTRY(waiting) order;	/* in one of the three lists */
	uint64_t deadline_ns;
	enum drop_reason reason;	/* tombstone: what becomes of later fragments */
	uint32_t source;		/* class of the source address */
	uint32_t fragments;
	uint32_t units;			/* that are there */
	uint32_t end;			/* of the furthest fragment */
	uint32_t total;			/* octets of the fragmentable part, 0: not known yet */
	uint32_t header_len;		/* of the first fragment, 0: not here yet */
	uint32_t next_off;
	uint32_t largest;		/* octets of IP in one fragment */
	uint16_t l2_len;
	uint8_t next;
	uint8_t ecn_seen;		/* bit by codepoint */
	uint64_t have[UNIT_WORDS];	/* by unit of 8 octets */
	uint64_t starts[UNIT_WORDS];	/* a fragment begins there */
};
TAILQ_HEAD(waitings, waiting);
LIST_HEAD(chain, waiting);

struct reassembly {
	struct reassembly_limits limits;
	struct waitings waiting;	/* oldest first */
	struct waitings tombstones;	/* first to die first */
	struct waitings free;
	struct buffers buffers, spares;
	struct chain *table;
	uint64_t table_mask;
	uint32_t held[SOURCES];		/* buffers of waiting packets, by source class */
	uint32_t overdue;		/* fragments given up in time's name, not reported yet */
	uint32_t buffer_count;
	struct waiting *all;
	struct buffer *all_buffers;
};

/* ---- memory ---- */

void reassembly_free(struct reassembly *reassembly)
{
	if (!reassembly)
		return;
	for (uint32_t i = 0; reassembly->all_buffers && i < reassembly->buffer_count; i++)
		free(reassembly->all_buffers[i].memory);
	free(reassembly->all_buffers);
	free(reassembly->all);
	free(reassembly->table);
	free(reassembly);
}

/* Pages that no fragment has been written to yet take no memory. */
static int new_buffers(struct reassembly *reassembly, uint32_t count)
{
	reassembly->all_buffers = calloc(count, sizeof(*reassembly->all_buffers));
	if (!reassembly->all_buffers)
		return -ENOMEM;
	reassembly->buffer_count = count;
	for (uint32_t i = 0; i < count; i++) {
		struct buffer *buffer = &reassembly->all_buffers[i];

		buffer->memory = malloc(BUFFER_LEN);
		if (!buffer->memory)
			return -ENOMEM;
		buffer->spare = i >= reassembly->limits.packets;
		SLIST_INSERT_HEAD(buffer->spare ? &reassembly->spares : &reassembly->buffers,
				  buffer, free);
	}
	return 0;
}

static int new_tables(struct reassembly *reassembly)
{
	uint32_t count = 2 * reassembly->limits.packets, buckets = 1;

	while (buckets < count)
		buckets *= 2;
	reassembly->table_mask = buckets - 1;
	reassembly->table = calloc(buckets, sizeof(*reassembly->table));
	reassembly->all = calloc(count, sizeof(*reassembly->all));
	if (!reassembly->table || !reassembly->all)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		TAILQ_INSERT_TAIL(&reassembly->free, &reassembly->all[i], order);
	return 0;
}

struct reassembly *reassembly_new(const struct reassembly_limits *limits)
{
	struct reassembly *reassembly;

	if (!limits->packets || limits->packets > INT32_MAX / 2 || !limits->fragments) {
		errno = EINVAL;
		return NULL;
	}
	reassembly = calloc(1, sizeof(*reassembly));
	if (!reassembly)
		return NULL;
	reassembly->limits = *limits;
	TAILQ_INIT(&reassembly->waiting);
	TAILQ_INIT(&reassembly->tombstones);
	TAILQ_INIT(&reassembly->free);
	if (new_tables(reassembly) || new_buffers(reassembly, limits->packets + BURST)) {
		reassembly_free(reassembly);
		errno = ENOMEM;
		return NULL;
	}
	return reassembly;
}

static void put_buffer(struct reassembly *reassembly, struct buffer *buffer)
{
	SLIST_INSERT_HEAD(buffer->spare ? &reassembly->spares : &reassembly->buffers, buffer, free);
}

/* For the owner: `headers` octets are already there before the fragmentable part. */
static void hand_out(struct buffer *buffer, uint32_t headers, uint32_t len)
{
	uint32_t tailroom = BUFFER_LEN - (PART_AT - headers) - len;

	buffer->out = true;
	buffer->packet = (struct packet){
		.data = buffer->memory + PART_AT - headers,
		.len = len,
		.headroom = (uint16_t)(PART_AT - headers),
		.tailroom = (uint16_t)(tailroom < UINT16_MAX ? tailroom : UINT16_MAX),
	};
}

void reassembly_release(struct reassembly *reassembly, struct packet *whole)
{
	struct buffer *buffer = (struct buffer *)whole;

	if (!buffer->out)
		return;
	buffer->out = false;
	put_buffer(reassembly, buffer);
}

struct reassembly_origin reassembly_origin(const struct packet *whole)
{
	return ((const struct buffer *)whole)->origin;
}

struct packet *reassembly_buffer(struct reassembly *reassembly, uint32_t *ret_room)
{
	struct buffer *buffer = SLIST_FIRST(&reassembly->spares);

	if (!buffer)
		return NULL;
	SLIST_REMOVE_HEAD(&reassembly->spares, free);
	hand_out(buffer, PART_AT - PACKET_HEADROOM, 0);
	*ret_room = BUFFER_LEN - PACKET_HEADROOM - PACKET_TAILROOM;
	return &buffer->packet;
}

/* ---- packets in fragments ---- */

static uint64_t hash(const struct reassembly *reassembly, const void *octets, size_t len)
{
	uint64_t sum = reassembly->limits.seed ^ 0x9e3779b97f4a7c15ull, word;

	for (size_t i = 0; i < len; i += sizeof(word)) {
		memcpy(&word, (const uint8_t *)octets + i, sizeof(word));
		sum = (sum ^ word ^ reassembly->limits.seed) * 0xff51afd7ed558ccdull;
		sum ^= sum >> 32;
	}
	return sum;
}

static struct chain *bucket_of(struct reassembly *reassembly, const struct reassembly_key *key)
{
	return &reassembly->table[hash(reassembly, key, sizeof(*key)) & reassembly->table_mask];
}

static struct waiting *find(struct reassembly *reassembly, const struct reassembly_key *key)
{
	struct waiting *waiting;

	LIST_FOREACH(waiting, bucket_of(reassembly, key), chain) {
		if (!memcmp(&waiting->key, key, sizeof(*key)))
			return waiting;
	}
	return NULL;
}

/* The buffer leaves a packet that does not wait any more. */
static struct buffer *take_away_buffer(struct reassembly *reassembly, struct waiting *waiting)
{
	struct buffer *buffer = waiting->buffer;

	waiting->buffer = NULL;
	reassembly->held[waiting->source]--;
	TAILQ_REMOVE(&reassembly->waiting, waiting, order);
	return buffer;
}

static void forget_tombstone(struct reassembly *reassembly, struct waiting *tombstone)
{
	TAILQ_REMOVE(&reassembly->tombstones, tombstone, order);
	LIST_REMOVE(tombstone, chain);
	TAILQ_INSERT_HEAD(&reassembly->free, tombstone, order);
}

/* The packet is whole, or its time is over. */
static void forget_waiting(struct reassembly *reassembly, struct waiting *waiting)
{
	LIST_REMOVE(waiting, chain);
	TAILQ_INSERT_HEAD(&reassembly->free, waiting, order);
}

/* Drops what there is of a packet and leaves a tombstone. Returns how many fragments that were. */
static uint32_t bury(struct reassembly *reassembly, struct waiting *waiting,
		     enum drop_reason reason)
{
	put_buffer(reassembly, take_away_buffer(reassembly, waiting));
	waiting->reason = reason;
	TAILQ_INSERT_TAIL(&reassembly->tombstones, waiting, order);
	return waiting->fragments;
}

/* See the header for whose turn it is. Returns how many fragments gave way. */
static uint32_t make_room(struct reassembly *reassembly, uint32_t source)
{
	struct waiting *waiting;
	uint32_t most = source;

	for (uint32_t i = 0; i < SOURCES; i++) {
		if (reassembly->held[i] > reassembly->held[most])
			most = i;
	}
	TAILQ_FOREACH(waiting, &reassembly->waiting, order) {
		if (waiting->source == most)
			return bury(reassembly, waiting, DROP_REASSEMBLY_FULL);
	}
	return 0;
}

/* NULL: all buffers are out. */
static struct buffer *take_buffer(struct reassembly *reassembly, uint32_t source,
				  uint32_t *ret_gave_way)
{
	struct buffer *buffer;

	if (SLIST_EMPTY(&reassembly->buffers))
		*ret_gave_way = make_room(reassembly, source);
	buffer = SLIST_FIRST(&reassembly->buffers);
	if (buffer)
		SLIST_REMOVE_HEAD(&reassembly->buffers, free);
	return buffer;
}

static uint32_t source_of(const struct reassembly *reassembly, const struct reassembly_key *key)
{
	return (uint32_t)(hash(reassembly, key->src, sizeof(key->src)) >> 32) % SOURCES;
}

/* A struct waiting in the hash table and in no list yet, and without a buffer. */
static struct waiting *new_waiting(struct reassembly *reassembly, const struct reassembly_key *key,
				   uint64_t now_ns)
{
	struct waiting *waiting;

	if (TAILQ_EMPTY(&reassembly->free))
		forget_tombstone(reassembly, TAILQ_FIRST(&reassembly->tombstones));
	waiting = TAILQ_FIRST(&reassembly->free);
	TAILQ_REMOVE(&reassembly->free, waiting, order);
	*waiting = (struct waiting){
		.key = *key,
		.deadline_ns = now_ns + reassembly->limits.timeout_ns,
		.source = source_of(reassembly, key),
	};
	LIST_INSERT_HEAD(bucket_of(reassembly, key), waiting, chain);
	return waiting;
}

static struct waiting *open_packet(struct reassembly *reassembly, const struct reassembly_key *key,
				   uint64_t now_ns, uint32_t *ret_gave_way)
{
	uint32_t source = source_of(reassembly, key);
	struct buffer *buffer = take_buffer(reassembly, source, ret_gave_way);
	struct waiting *waiting;

	if (!buffer)
		return NULL;
	waiting = new_waiting(reassembly, key, now_ns);
	waiting->buffer = buffer;
	reassembly->held[source]++;
	TAILQ_INSERT_TAIL(&reassembly->waiting, waiting, order);
	return waiting;
}

/* The packet of a fragment, or NULL; none whose time is over. */
static struct waiting *find_in_time(struct reassembly *reassembly, const struct reassembly_key *key,
				    uint64_t now_ns)
{
	struct waiting *waiting = find(reassembly, key);

	if (!waiting || now_ns < waiting->deadline_ns)
		return waiting;
	if (!waiting->buffer) {
		forget_tombstone(reassembly, waiting);
		return NULL;
	}
	reassembly->overdue += waiting->fragments;
	put_buffer(reassembly, take_away_buffer(reassembly, waiting));
	forget_waiting(reassembly, waiting);
	return NULL;
}

/* ---- fragments ---- */

/* The same fragment again, octet for octet (RFC 8200 4.5 allows to drop it alone). */
static bool is_duplicate(const struct waiting *waiting, const struct reassembly_piece *piece)
{
	uint32_t from = piece->off / FRAGMENT_UNIT, to = fragment_units(piece->end);
	bool last = waiting->total && to == fragment_units(waiting->total);

	if (!bit_is_set(waiting->starts, from) || bits_any(waiting->starts, from + 1, to) ||
	    !bits_all(waiting->have, from, to))
		return false;
	if (bit_is_set(waiting->have, to) && !bit_is_set(waiting->starts, to))
		return false;		/* the one that is here goes on */
	if (last ? piece->more || piece->end != waiting->total : !piece->more)
		return false;
	if (!piece->off && piece->next != waiting->next)
		return false;
	return !memcmp(waiting->buffer->memory + PART_AT + piece->off, piece->data, piece->len);
}

/* What contradicts the fragments that are here (RFC 5722, and the same for IPv4). */
static bool contradicts(const struct reassembly *reassembly, const struct waiting *waiting,
			const struct reassembly_piece *piece)
{
	uint32_t end = piece->end > waiting->end ? piece->end : waiting->end;
	uint32_t header_len = piece->off ? waiting->header_len : piece->header_len;
	uint8_t ecn = (uint8_t)(waiting->ecn_seen | 1u << piece->ecn);

	if (bits_any(waiting->have, piece->off / FRAGMENT_UNIT, fragment_units(piece->end)))
		return true;
	if (waiting->total ? !piece->more || piece->end > waiting->total :
			     !piece->more && piece->end < waiting->end)
		return true;
	if (header_len + end > reassembly_piece_max(piece))
		return true;
	if (ecn & 1u << IP_ECN_CE && ecn & 1u)
		return true;
	return waiting->fragments == reassembly->limits.fragments;
}

static void keep(struct waiting *waiting, const struct reassembly_piece *piece)
{
	uint32_t from = piece->off / FRAGMENT_UNIT, to = fragment_units(piece->end);
	uint8_t *part = waiting->buffer->memory + PART_AT;
	uint32_t octets = reassembly_piece_octets(piece);

	memcpy(part + piece->off, piece->data, piece->len);
	if (octets > waiting->largest)
		waiting->largest = octets;
	bits_set(waiting->have, from, to);
	bits_set(waiting->starts, from, from + 1);
	waiting->units += to - from;
	waiting->fragments++;
	waiting->ecn_seen |= (uint8_t)(1u << piece->ecn);
	if (piece->end > waiting->end)
		waiting->end = piece->end;
	if (!piece->more)
		waiting->total = piece->end;
	if (!piece->off) {
		uint32_t headers = piece->packet->l2_len + piece->header_len;

		memcpy(part - headers, piece->packet->data, headers);
		waiting->header_len = piece->header_len;
		waiting->l2_len = piece->packet->l2_len;
		waiting->next_off = piece->next_off;
		waiting->next = piece->next;
	}
}

static bool is_complete(const struct waiting *waiting)
{
	return waiting->total && waiting->units == fragment_units(waiting->total);
}

/* Makes the first fragment's header that of the whole packet. */
static void finish_header(const struct waiting *waiting, uint8_t *ip)
{
	uint32_t total = waiting->header_len + waiting->total;
	bool congested = waiting->ecn_seen & 1u << IP_ECN_CE;

	if (waiting->key.family == FAMILY_V4) {
		store_be16(ip + IPV4_TOTAL_LEN, (uint16_t)total);
		store_be16(ip + IPV4_FRAGMENT, 0);
		if (congested)
			ip[IPV4_TOS] |= IP_ECN_CE;
		checksum_ipv4(ip, waiting->header_len);
		return;
	}
	store_be16(ip + IPV6_PAYLOAD_LEN, (uint16_t)(total - IPV6_LEN));
	ip[waiting->next_off] = waiting->next;
	if (congested)
		ip[1] |= IP_ECN_CE << 4;
}

static struct packet *finish(struct waiting *waiting, struct buffer *buffer,
			     const struct packet *last)
{
	uint32_t headers = waiting->l2_len + waiting->header_len;
	struct packet *whole = &buffer->packet;

	hand_out(buffer, headers, headers + waiting->total);
	buffer->origin = (struct reassembly_origin){ waiting->largest, waiting->key.id };
	whole->l2_len = waiting->l2_len;
	whole->state = last->state;
	whole->family = waiting->key.family;
	whole->inner_family = last->inner_family;
	finish_header(waiting, whole->data + whole->l2_len);
	return whole;
}

/* RFC 6946: an atomic fragment is its own packet, and none of anything that waits. */
static enum drop_reason add_atomic(struct reassembly *reassembly,
				   const struct reassembly_piece *piece,
				   struct packet **ret_whole, uint32_t *ret_dropped)
{
	struct waiting alone = { .key = piece->key };

	alone.buffer = take_buffer(reassembly, source_of(reassembly, &piece->key), ret_dropped);
	if (!alone.buffer) {
		*ret_dropped = 1;
		return DROP_REASSEMBLY_FULL;
	}
	keep(&alone, piece);
	*ret_whole = finish(&alone, alone.buffer, piece->packet);
	return DROP_NONE;
}

/* The packet of a fragment that cannot be true: `waiting`, or NULL if nothing is here of it. */
static enum drop_reason drop_all(struct reassembly *reassembly, struct waiting *waiting,
				 const struct reassembly_piece *piece, uint64_t now_ns,
				 uint32_t *ret_dropped)
{
	*ret_dropped = 1;
	if (waiting) {
		*ret_dropped += bury(reassembly, waiting, DROP_REASSEMBLY);
		return DROP_REASSEMBLY;
	}
	waiting = new_waiting(reassembly, &piece->key, now_ns);
	waiting->reason = DROP_REASSEMBLY;
	TAILQ_INSERT_TAIL(&reassembly->tombstones, waiting, order);
	return DROP_REASSEMBLY;
}

enum drop_reason reassembly_add(struct reassembly *reassembly, const struct packet *fragment,
				uint32_t scope, uint64_t now_ns, struct packet **ret_whole,
				uint32_t *ret_dropped)
{
	struct reassembly_piece piece;
	enum drop_reason reason = reassembly_piece_parse(fragment, scope, &piece);
	struct waiting *waiting;

	*ret_whole = NULL;
	*ret_dropped = 1;
	if (reason != DROP_NONE)
		return reason;
	reason = reassembly_piece_check(&piece);
	if (reason == DROP_MALFORMED || reason == DROP_UNSUPPORTED)
		return reason;
	if (!piece.off && !piece.more) {
		if (reason == DROP_NONE)
			*ret_dropped = 0;
		return reason ? reason : add_atomic(reassembly, &piece, ret_whole, ret_dropped);
	}
	waiting = find_in_time(reassembly, &piece.key, now_ns);
	if (waiting && !waiting->buffer)
		return waiting->reason;
	if (reason != DROP_NONE)
		return drop_all(reassembly, waiting, &piece, now_ns, ret_dropped);
	*ret_dropped = 0;
	if (!waiting)
		waiting = open_packet(reassembly, &piece.key, now_ns, ret_dropped);
	if (!waiting) {
		*ret_dropped = 1;
		return DROP_REASSEMBLY_FULL;
	}
	if (is_duplicate(waiting, &piece)) {
		*ret_dropped = 1;
		return DROP_FRAGMENT_DUP;
	}
	if (contradicts(reassembly, waiting, &piece))
		return drop_all(reassembly, waiting, &piece, now_ns, ret_dropped);
	keep(waiting, &piece);
	if (is_complete(waiting)) {
		*ret_whole = finish(waiting, take_away_buffer(reassembly, waiting), fragment);
		forget_waiting(reassembly, waiting);
	}
	return DROP_NONE;
}

uint32_t reassembly_expire(struct reassembly *reassembly, uint64_t now_ns)
{
	uint32_t dropped = reassembly->overdue;
	struct waiting *waiting;

	reassembly->overdue = 0;
	while ((waiting = TAILQ_FIRST(&reassembly->waiting)) && now_ns >= waiting->deadline_ns) {
		dropped += waiting->fragments;
		put_buffer(reassembly, take_away_buffer(reassembly, waiting));
		forget_waiting(reassembly, waiting);
	}
	return dropped;
}

uint64_t reassembly_next_ns(const struct reassembly *reassembly)
{
	const struct waiting *oldest = TAILQ_FIRST(&reassembly->waiting);

	if (reassembly->overdue)
		return 0;
	return oldest ? oldest->deadline_ns : UINT64_MAX;
}
